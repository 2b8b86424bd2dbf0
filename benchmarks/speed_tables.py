"""The tables of docs/speed.md, which say what was measured beside what was aimed at.

Every number comes from a file that a benchmark wrote; what has no file yet is called not measured. The aims
are data here, so that a table says itself whether one is reached or missed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from leads import LEADS

RESULTS = Path(__file__).resolve().parents[1] / "results" / "benchmarks"
LOOP_AIM = 1.1  # an update of zoo train by one of a bare loop, at most
BEYOND_TORCH_AIM = 2.0  # seconds to a run's first update besides those of importing torch
PASSES = {"density": "density", "train": "training step", "sample": "sampling"}
TABULAR, IMAGES = ("realnvp", "nsf", "maf"), ("glow",)
# Times of the best peer by zoo's on a GPU, at least, in the fastest mode that zoo offers.
GPU_AIMS: dict[tuple[str, str], float] = {
    **{(case, task): 5.0 for case in TABULAR for task in PASSES},
    ("maf", "sample"): 20.0,
    **{(case, task): 1.5 for case in IMAGES for task in PASSES},
}
GPU_PARTS = ("gpu_speed_eager", "gpu_speed_compiled")
NOT_MEASURED = "not measured"
Row = dict[str, Any]


def loaded(name: str, folder: Path | None = None) -> Row | None:
    """Return the file of a benchmark; None if there is none."""
    path = (folder or RESULTS) / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def machine(record: Row) -> str:
    """Return the machine, its load and the date of a benchmark's file."""
    hardware = record["hardware"]
    where = (
        hardware.get("accelerator") or f"{hardware['cpu']}, {hardware['threads']} of {hardware['cpus']} cores"
    )
    return f"{where} | {hardware['load']} | {record['date']}"


def reached(value: bool) -> str:
    """Return what a table says of an aim."""
    return "reached" if value else "**missed**"


def made(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; columns whose head begins with a number sign are aligned to the right."""
    heads = list(head)
    lines = [
        f"| {' | '.join(cell.lstrip('#') for cell in heads)} |",
        f"|{'|'.join('---:' if cell.startswith('#') else '---' for cell in heads)}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def loop() -> str:
    """Return the table of the loop of zoo train by a bare loop."""
    record = loaded("loop_overhead")
    rows = [] if record is None else [
        (
            row["case"], f"{row['ratio']:.3f}", f"{row['ratio_to_keyed']:.3f}", f"{LOOP_AIM}",
            reached(row["ratio"] < LOOP_AIM), machine(record),
        )
        for row in record["rows"]
    ]  # fmt: skip
    head = ("case", "#update by a bare loop's", "#by a bare loop's with zoo's noise", "#aim, below", "")
    return made((*head, "machine", "#load", "date"), rows)


def ddp() -> str:
    """Return the table of gradients averaged in buckets by two processes."""
    record = loaded("ddp")
    if record is None:
        return "Not measured.\n"
    rows = [
        (
            row["model"], str(row["batch"]), str(row["buckets"]),
            *(f"{row[f'{name}_ms']:.4g}" for name in ("zoo", "one", "none")),
            f"{100 * row['hidden_share']:.0f} % ({100 * min(row['hidden_share_of_rounds']):.0f} to "
            f"{100 * max(row['hidden_share_of_rounds']):.0f})",
            f"{row['gradient_error']:.1g}", machine(record),
        )
        for row in record["rows"]
    ]  # fmt: skip
    head = ("model", "#batch", "#buckets", "#ms an update", "#all in one bucket", "#no averaging")
    return made((*head, "#of averaging hidden (rounds)", "#error", "machine", "#load", "date"), rows)


def startup() -> str:
    """Return the table of the commands' seconds and of those to a run's first update."""
    record = loaded("startup")
    if record is None:
        return "Not measured.\n"
    rows, seconds = [], {row["command"]: row["seconds"] for row in record["rows"]}
    for name, value in seconds.items():
        aim = next(row["aim_seconds"] for row in record["rows"] if row["command"] == name)
        rows.append(_timed(name, value, aim, record))
        if name == "first update":
            beyond = value - seconds["import torch"]
            rows.append(_timed("the same, besides importing torch", beyond, BEYOND_TORCH_AIM, record))
    return made(("", "#seconds", "#aim, below", "", "machine", "#load", "date"), rows)


def _timed(what: str, seconds: float, aim: float | None, record: Row) -> tuple[str, ...]:
    """Return a row of seconds with their aim, if there is one."""
    verdict = ("–", "–") if aim is None else (f"{aim:g}", reached(seconds < aim))
    return (what, f"{seconds:.2f}", *verdict, machine(record))


def quickstart() -> str:
    """Return the table of the quickstart in a fresh clone."""
    record = loaded("quickstart")
    if record is None:
        return "Not measured.\n"
    rows = []
    for row in record["rows"]:
        if row["what"] == "time left":
            value, aim = f"{100 * row['worst_error']:+.0f} %", f"±{100 * row['aim_error']:.0f} %"
            what = "worst error of the announced time left"
        else:
            value, aim = (
                f"{row['seconds']:.0f} s",
                f"{row['aim_seconds']:.0f} s" if row["aim_seconds"] else "–",
            )
            what = f"{row['what']}, with set-up" if row["what"] != "set-up" else row["what"]
        verdict = "–" if row["reached"] is None else reached(row["reached"])
        rows.append((what, value, aim, verdict, machine(record)))
    return made(("", "#measured", "#aim", "", "machine", "#load", "date"), rows)


def gpu_aims(measured: Iterable[Row]) -> str:
    """Return the table of the aims on a GPU: the least over batches, each in its best mode and precision."""
    lines = []
    rows = [row for row in measured if row.get("ratios")]
    for (case, task), aim in GPU_AIMS.items():
        best: dict[int, tuple[float, Row]] = {}
        for row in rows:
            if (row["case"], row["task"]) == (case, task):
                least = min(row["ratios"].values())
                best[row["batch"]] = max(best.get(row["batch"], (0.0, row)), (least, row), key=lambda x: x[0])
        about = (case, PASSES[task], f"{aim:g}")
        if not best:
            lines.append((*about, "–", NOT_MEASURED, "–", "–"))
            continue
        value, row = min(best.values(), key=lambda x: x[0])
        how = f"{row['mode']}, {row['precision']}, batch {row['batch']}"
        lines.append((*about, f"{value:.3g}", reached(value >= aim), how, f"{row['device']}, {row['date']}"))
    return made(("case", "task", "#aim", "#best peer by zoo", "", "measured with", "device"), lines)


def gpu() -> str:
    """Return the tables of the GPU: the aims, and the sampling of one layer that was recorded before."""
    rows = [row for part in GPU_PARTS for row in (loaded(part) or {"rows": []})["rows"]]
    before, lines = loaded("gpu_sampling"), []
    aim = GPU_AIMS["maf", "sample"]
    for row in [] if before is None else before["rows"]:
        least, most = min(row["ratios"].values()), max(row["ratios"].values())
        about = (str(row["dim"]), str(row["batch"]), f"{least} to {most}", f"{aim:g}")
        lines.append((*about, reached(least >= aim), machine(before)))
    head = ("#dimensions", "#batch", "#peers by zoo", "#aim", "", "machine", "#load", "date")
    title = "Sampling of one masked autoregressive layer, recorded before:"
    return f"{gpu_aims(rows)}\n{title}\n\n{made(head, lines)}"


def ideas() -> str:
    """Return the tables of the ideas: measured without and with, and told by a commit."""
    record = loaded("ideas")
    if record is None:
        return "Not measured.\n"
    rows = []
    gaining = {row["idea"] for row in record["rows"] if row["says"] == "less time"}
    for row in record["rows"]:
        low, high = row["interval"]
        elsewhere = row["says"] != "less time" and row["idea"] in gaining
        fate = f"{row['fate']}: it gives elsewhere" if elsewhere else row["fate"]
        ratio = f"{row['off_over_on']:.2f} ({low:.2f}–{high:.2f})"
        about = (row["idea"], row["case"], PASSES[row["task"]], str(row["batch"]))
        rows.append((*about, ratio, row["says"], fate))
    head = ("idea", "case", "task", "#batch", "#time without by with (95 %)", "gives", "")
    told = [(f"`{row['commit']}`", row["message"], "kept") for row in record["commits"]]
    title = "What went into the code at many places, in the words of its commit:"
    return f"{made(head, rows)}\n{title}\n\n{made(('commit', 'message', ''), told)}"


def leads() -> str:
    """Return the table of the leads of prototypes, and what became of each."""
    rows = ((lead.words, lead.fate, lead.where or "–") for lead in LEADS)
    return made(("lead", "what became of it", "where"), rows)


TABLES: dict[str, Callable[[], str]] = {
    f"speed/{name}.md": table
    for name, table in {
        "loop": loop, "ddp": ddp, "startup": startup, "quickstart": quickstart, "gpu": gpu,
        "ideas": ideas, "leads": leads,
    }.items()
}  # fmt: skip
