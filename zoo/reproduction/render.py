"""A reproduction as files: Markdown, LaTeX, HTML, CSV, JSON and a figure, all from the same rows."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import zoo
from zoo.comparison.figures.style import INK, STYLE, canvas, plain_text, save_png, save_svg
from zoo.comparison.page import pictures
from zoo.comparison.render import md, tex
from zoo.comparison.templates import environment, shell
from zoo.record import write_atomic
from zoo.reproduction import costs
from zoo.reproduction.check import keep
from zoo.reproduction.overview import command
from zoo.reproduction.reproduce import Report
from zoo.reproduction.runs import pack
from zoo.reproduction.texts import (
    DEFINITIONS,
    FLOOR,
    counted,
    error_kind,
    floors,
    foot,
    number,
    published,
    source_text,
    witnesses,
    z_text,
)
from zoo.reproduction.verdict import Result

HEADINGS = (
    "row", "column", "published", "ours", "z", "status", "± is", "test points", "refits", "seeds", "kind",
    "source", "others", "cost",
)  # fmt: skip
NUMBERS = ("published", "ours", "z", "test points", "refits", "seeds")  # set flush right


def row(result: Result) -> list[str]:
    """Return the texts of a cell, one for each of :data:`HEADINGS`."""
    cell, ours = result.cell, result.ours
    have = ours is not None and ours.value is not None
    return [
        cell.row,
        cell.column,
        published(cell),
        number(ours.value, ours.test or ours.refit) if ours and have else "—",
        z_text(result),
        result.label,
        error_kind(cell),
        f"{ours.test:.2g}" if ours and ours.test else "",
        f"{ours.refit:.2g}" if ours and ours.refit is not None and ours.runs else "",
        str(len(ours.seeds)) if ours and ours.runs else "",
        ours.kind if ours else "",
        f"{cell.source} [{cell.grade}]",
        witnesses(cell),
        cost_text(result),
    ]


def rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the texts of all rows, without the columns that are empty everywhere.

    The cells come first, then the floors: what the metric gives for two real samples.
    """
    texts = [row(result) for result in report.results]
    for column, floor in floors(report).items():
        facts = {
            "row": FLOOR, "column": column, "ours": number(floor.value, floor.deviation),
            "refits": f"{floor.deviation:.2g}", "status": "floor",
        }  # fmt: skip
        texts.append([facts.get(heading, "") for heading in HEADINGS])
    used = [index for index in range(len(HEADINGS)) if any(line[index] for line in texts)]
    return [HEADINGS[index] for index in used], [[line[index] for index in used] for line in texts]


def cost_text(result: Result) -> str:
    """Return what our runs of a cell took, and on what."""
    runs = list(result.ours.runs) if result.ours else []
    spent = [run.record.cost.train_seconds for run in runs if run.record.cost.train_seconds]
    if not spent:
        return ""
    hardware = runs[0].record.provenance.hardware
    where = hardware.accelerator or (
        f"{counted(hardware.threads, 'thread') if hardware.threads else '? threads'} of "
        f"{hardware.cpu or 'a processor'}"
    )
    updates = [run.record.cost.updates for run in runs if run.record.cost.updates]
    several = len(runs) > 1
    count = f", {sum(updates) / len(updates):,.0f} updates" if updates else ""
    each = " a run" if several and updates else ""
    return f"{costs.hours(sum(spent) / 3600)} h{' in all' if several else ''}{count}{each}, {where}"


def markdown(report: Report) -> str:
    """Return the table in GitHub's Markdown, with its foot and its sources."""
    table = report.table
    lines = [f"**{md(table.title)}**", "", f"{md(table.paper)}.", ""]
    headings, texts = rows(report)
    lines.append("| " + " | ".join(headings) + " |")
    lines.append("|" + "|".join("---:" if heading in NUMBERS else "---" for heading in headings) + "|")
    lines += ["| " + " | ".join(map(md, text)) + " |" for text in texts]
    lines += ["", *(f"- {md(line)}" for line in notes(report))]
    lines += ["", "Sources:", "", *(f"- {md(text)}" for text in sources(report))]
    return "\n".join(lines) + "\n"


def notes(report: Report) -> list[str]:
    """Return the sentences below a table."""
    table = report.table
    texts = {
        "Data": table.data,
        "Protocol": table.protocol,
        "Note": table.note,
        "The paper's cost": table.cost,
    }
    about = [f"{name}: {text.rstrip('.')}." for name, text in texts.items() if text]
    margins: dict[str, list[str]] = {}
    for name, column in table.columns.items():
        margins.setdefault(f"±{column.margin:g} ({column.margin_from})", []).append(name)
    about.append(
        "Margins, fixed before any run: "
        + "; ".join(f"{text} for {', '.join(columns)}" for text, columns in margins.items())
        + "."
    )
    return [*foot(report).lines(), *about, *DEFINITIONS]


def sources(report: Report) -> list[str]:
    """Return the sources of a table, a text each."""
    return [f"{key}: {source_text(source)}" for key, source in report.table.sources.items()]


def latex(report: Report) -> str:
    """Return the table as a ``tabular`` for the package booktabs, its foot in small print."""
    headings, texts = rows(report)
    lines = [
        f"% {' '.join(report.table.paper.split())}",
        rf"\begin{{tabular}}{{{''.join('r' if heading in NUMBERS else 'l' for heading in headings)}}}",
        r"\toprule",
        " & ".join(map(tex, headings)) + r" \\",
        r"\midrule",
        *(" & ".join(map(tex, text)) + r" \\" for text in texts),
    ]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return (
        "\n".join(
            lines + [rf"\par\noindent{{\footnotesize {tex(line)}\par}}" for line in foot(report).lines()]
        )
        + "\n"
    )


def values(report: Report, result: Result) -> dict[str, Any]:
    """Return a cell as plain values, not rounded, by name."""
    cell, ours, difference = result.cell, result.ours, result.difference
    runs = list(ours.runs) if ours else []
    spent = [run.record.cost.train_seconds for run in runs if run.record.cost.train_seconds]
    updates = [run.record.cost.updates for run in runs if run.record.cost.updates]
    return {
        "table": report.table.name,
        "row": cell.row,
        "column": cell.column,
        "unit": result.column.unit,
        "better": result.column.better,
        "published": cell.value,
        "published_error": cell.error,
        "error_kind": cell.error_kind if cell.error is not None else None,
        "error_runs": cell.error_runs,
        "source": cell.source,
        "grade": cell.grade,
        "error_grade": cell.error_grade or cell.grade,
        "ours": ours.value if ours else None,
        "test_error": ours.test if ours else None,
        "refit_deviation": ours.refit if ours else None,
        "seeds": {str(seed): value for seed, value in ours.seeds.items()} if ours else {},
        "failed": {str(seed): how for seed, how in ours.failed.items()} if ours else {},
        "n": ours.n if ours else None,
        "kind": ours.kind if ours else None,
        "difference": difference.value if difference else None,
        "combined_error": difference.error if difference else None,
        "z": difference.z if difference and math.isfinite(difference.z) else None,
        "interval_low": difference.interval[0] if difference else None,
        "interval_high": difference.interval[1] if difference else None,
        "margin": result.column.margin,
        "status": result.status,
        "label": result.label,
        "reason": result.reason,
        "refit_from": result.refit_from,
        "deviations": [deviation.what for deviation in result.deviations],
        "train_seconds": sum(spent) if spent else None,
        "updates": sum(updates) / len(updates) if updates else None,
        "readings": [
            {
                "what": reading.what,
                "divide_by": reading.divide_by,
                "ours": other.ours.value if other.ours else None,
                "z": other.difference.z if other.difference and math.isfinite(other.difference.z) else None,
                "status": other.status,
            }
            for reading, other in result.readings
        ],
        "note": cell.note,
        "selected_on_test": cell.selected_on_test,
        "needs": result.reason if result.status == "not run" else "",
        "command": command(result, report.table) if cell.recipe else None,
    }


def csv_text(report: Report) -> str:
    """Return a line for each cell, with values that are not rounded."""
    stream = io.StringIO()
    lines = [values(report, result) for result in report.results]
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _flat(value) for key, value in line.items()} for line in lines)
    return stream.getvalue()


def _flat(value: Any) -> Any:
    if isinstance(value, dict):
        return " ".join(
            f"{key}:{inner!r}" if isinstance(inner, float) else f"{key}:{inner}"
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return "; ".join(map(_flat, value))
    return repr(value) if isinstance(value, float) else value


def json_text(report: Report) -> str:
    """Return the table with its cells, its foot and where its numbers come from, as JSON."""
    end = foot(report)
    runs = [run.record for run in report.runs]
    content = {
        "table": report.table.name,
        "title": report.table.title,
        "paper": report.table.paper,
        "zoo": zoo.__version__,
        "git_commits": sorted({run.provenance.git_commit for run in runs if run.provenance.git_commit}),
        "data": {
            name: sorted(
                {
                    run.provenance.data.fingerprint
                    for run in runs
                    if run.data == name and run.provenance.data and run.provenance.data.fingerprint
                }
            )
            for name in dict.fromkeys(run.data for run in runs)
        },
        "floors": {name: vars(floor) for name, floor in floors(report).items()},
        "suspects": [suspect.model_dump() for suspect in report.table.suspects],
        "fingerprints": {key: vars(value) for key, value in report.fingerprints.items()},
        "statuses": end.counts,
        "beyond_two": end.beyond,
        "expected_beyond_two": end.expected,
        "chi2": end.chi2,
        "notes": end.notes,
        "sources": {
            key: source.model_dump(exclude_none=True) for key, source in report.table.sources.items()
        },
        "cells": [values(report, result) for result in report.results],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def figure(report: Report) -> Any:
    """Return a figure of the difference in combined errors of each cell; None without a verdict."""
    results = [result for result in report.results if result.difference is not None]
    if not results:
        return None
    drawing = canvas(6.4, 1.5 + 0.24 * len(results))
    axes = drawing.subplots()
    axes.axvspan(-2, 2, color="#999999", alpha=0.2, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    limit = max(
        4.0, min(12.0, max(abs(result.difference.z) for result in results if result.difference) * 1.1)
    )
    for place, result in enumerate(results):
        assert result.difference is not None
        z = max(-limit, min(limit, result.difference.z))
        colour = {"replicated": "#009E73", "within error": "#56B4E9"}.get(result.status, "#D55E00")
        beyond = abs(result.difference.z) > limit
        marker = (">" if z > 0 else "<") if beyond else "o"
        axes.plot([0, z], [place, place], color=colour, linewidth=1.2)
        axes.plot(z, place, marker, color=colour, markersize=5)
        if beyond:
            text = f"{result.difference.z:+.0f}"
            axes.annotate(text, (z, place), (0, 5), textcoords="offset points", fontsize=7, ha="center")
    axes.set_yticks(
        range(len(results)), [plain_text(result.cell.name.replace("/", ", ")) for result in results]
    )
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_xlim(-limit * 1.05, limit * 1.05)
    axes.set_xlabel(
        "(ours − published) / combined error; grey: within two; an arrow: beyond the axis\n"
        "green: replicated; blue: within error; orange: differs"
    )
    axes.set_title(plain_text(report.table.title), loc="left")
    return drawing


def draw(report: Report, out: Path) -> dict[str, Path]:
    """Write the figure as PNG and SVG; return the PNG by its name, or nothing without a verdict."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        drawing = figure(report)
        if drawing is None:
            return {}
        png = out / "differences.png"
        save_png(drawing, png, 150)
        save_svg(drawing, png.with_suffix(".svg"))
    return {"Difference in combined errors, cell by cell": png}


def page(report: Report, drawn: dict[str, Path]) -> str:
    """Return the table as an HTML page that fetches nothing."""
    headings, texts = rows(report)
    facts: list[tuple[str, str]] = [
        (result.status, values(report, result)["command"] or "") for result in report.results
    ]
    facts += [("floor", "")] * (len(texts) - len(facts))
    template = environment(Path(__file__).parent).get_template("page.html")
    body = template.render(
        table=report.table,
        headings=headings,
        numbers=NUMBERS,
        rows=list(zip(texts, facts, strict=True)),
        notes=notes(report),
        sources=sources(report),
        figures=pictures(drawn),
    )
    return shell(report.table.title, body.removesuffix("\n"))


def write(report: Report, out: Path, archive: bool = False) -> None:
    """Write the table as ``table.{md,tex,csv,json}`` and ``index.html``, and the figure, into a directory.

    Args:
        report: the table.
        out: the directory.
        archive: whether to pack the records into one file, beside the fits in closed form: from them the
            report can be made again.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "table.md": markdown(report),
        "table.tex": latex(report),
        "table.csv": csv_text(report),
        "table.json": json_text(report),
    }.items():
        write_atomic(out / name, text)
    write_atomic(out / "index.html", page(report, draw(report, out)))
    if archive:
        runs = {id(run): run for result in report.results if result.ours for run in result.ours.runs}
        pack([*runs.values()], out)
        keep(report.fingerprints, out)
