"""The overview of all tables as files: every cell with its status, its cost and its command."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from zoo.comparison.render import md
from zoo.record import write_atomic
from zoo.reproduction import costs
from zoo.reproduction.overview import Line, ready_cells
from zoo.reproduction.render import values
from zoo.reproduction.texts import ours, published, suspect_text, witnesses, z_text
from zoo.reproduction.verdict import AGREEING, VERDICTS, Result


def write_overview(lines: Sequence[Line], out: Path) -> None:
    """Write the files of all tables.

    They are ``overview.md`` (a line for each table), ``verdicts.md`` (cells with ours), ``reasons.md`` (what
    does not agree) and ``cells.csv`` (all cells).
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "overview.md": overview_markdown(lines),
        "verdicts.md": verdicts_markdown(lines),
        "reasons.md": reasons_markdown(lines),
        "cells.csv": cells_csv(lines),
    }.items():
        write_atomic(out / name, text)


def overview_markdown(lines: Sequence[Line]) -> str:
    """Return a line for each table: its cells, their verdicts, and the cost of those that zoo could run."""
    head = "| table | paper | cells | run | verdicts | ready | device-hours | core-hours |"
    rows = [head, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for line in lines:
        report = line.report
        numbers = [
            str(len(report.results)),
            str(line.run),
            str(line.verdicts),
            str(line.ready),
            "" if line.device_hours is None else costs.hours(line.device_hours),
            "" if line.core_hours is None else costs.hours(line.core_hours),
        ]
        rows.append(f"| {md(report.table.name)} | {md(report.table.title)} | {' | '.join(numbers)} |")
    return "\n".join(rows) + "\n"


def verdicts_markdown(lines: Sequence[Line]) -> str:
    """Return a line for each cell with a value of ours: verdicts first, in the order of the tables."""
    results = [(line, result) for line in lines for result in line.report.results if result.ours is not None]
    results.sort(key=lambda pair: pair[1].status not in VERDICTS)
    rows = [
        "| table | cell | published | ours | z | status | others |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for line, result in results:
        texts = [
            line.report.table.name,
            result.cell.name.replace("/", ", "),
            published(result.cell),
            ours(result),
            z_text(result),
            result.label,
            witnesses(result.cell),
        ]
        rows.append("| " + " | ".join(map(md, texts)) + " |")
    return "\n".join(rows) + "\n"


def reasons_markdown(lines: Sequence[Line]) -> str:
    """Return, table by table, the cells that do not agree with the paper, and the causes considered."""
    text = []
    for line in lines:
        unlike = [
            result
            for result in line.report.results
            if result.ours is not None and result.status not in (*AGREEING, "published value unverified")
        ]
        if not unlike:
            continue
        table = line.report.table
        text.append(f"- **{md(table.title)}**; its page: `results/papers/{table.name}/table.md`")
        by_label: dict[str, list[str]] = {}
        for result in unlike:
            label = result.label + (f" ({result.reason})" if result.status not in VERDICTS else "")
            by_label.setdefault(label, []).append(result.cell.name.replace("/", ", "))
        text += [f"    - {md(label)}: {md('; '.join(cells))}" for label, cells in by_label.items()]
        columns = {result.cell.column for result in unlike}
        suspects = [suspect for suspect in table.suspects if columns & set(suspect.columns)]
        text += [f"    - {md(suspect_text(suspect))}" for suspect in suspects]
        if not suspects:
            text.append("    - The table names no suspect.")
    return "\n".join(text) + "\n" if text else "Every cell that was run agrees.\n"


def cells_csv(lines: Sequence[Line]) -> str:
    """Return a line for each cell of each table, with cost and command of those that are not run."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["table", "row", "column", "published", "source", "grade", "ours", "status", "label", "seeds",
         "flops", "device_hours", "core_hours", "command"]
    )  # fmt: skip
    for line in lines:
        ready = {result.cell.name for result in ready_cells(line.report.results, line.report.table)}
        for result in line.report.results:
            facts = values(line.report, result)
            names = ("table", "row", "column", "published", "source", "grade", "ours", "status", "label")
            writer.writerow([facts[name] for name in names] + _cost(line, result, result.cell.name in ready))
    return stream.getvalue()


def _cost(line: Line, result: Result, ready: bool) -> list[object]:
    """Return seeds, operations, device-hours and core-hours of all runs of a cell, and its command."""
    table = line.report.table
    if not ready or result.cell.recipe is None:
        return [""] * 5
    recipe, counted = table.recipes[result.cell.recipe], costs.cost(table, result.cell.recipe)
    runs = len(recipe.seeds)
    flops, device = "", ""
    if counted is not None:
        flops, device = f"{counted.flops * runs:.3g}", f"{counted.device_hours * runs:.3g}"
    core = "" if recipe.hours is None else f"{recipe.hours * runs:.3g}"
    return [runs, flops, device, core, values(line.report, result)["command"]]
