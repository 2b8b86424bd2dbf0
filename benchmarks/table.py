"""Write results/benchmarks/table.md from the JSON files beside it: comparisons, hardware and date.

Four more tables are written too: jacobi.md (sequential and Jacobi sampling) and, of the whole models that
``python -m benchmarks`` measured, peers/table.md (all peers), peers/best.md (the fastest one) and
peers/aims.md (what was to be reached). Those of docs/speed.md are made by speed_tables.py.

``x by y`` is the time of x divided by the time of y (or bytes, if stated): above 1, y takes less. Of several
settings the least and the most are shown. Every number comes from the file that the benchmark of its name
wrote, and each benchmark that writes its file makes the tables anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import measured
import report
import speed_tables

RESULTS = Path(__file__).resolve().parents[1] / "results" / "benchmarks"


class Line(NamedTuple):
    """A line of the table: its title, the value of a row or a quotient of two, and the rows with it.

    A line that is not ``needed`` may be missing from a file, which an older version of its benchmark wrote.
    """

    compared: str
    value: str
    rows: dict[str, Any] = {}  # noqa: RUF012
    needed: bool = True


COMMITTED = {"claims": "results/claims/records.tar.xz", "toys": "results/toys/records.tar.xz"}
PEERS = ("nflows", "normflows", "zuko")
TASKS = {"density": "density", "train": "training step", "sample": "sampling"}
LINES = {
    "compare_records": [
        Line("seconds of zoo compare, 10,000 records", "compare_terminal_seconds", {"count": 10_000}),
        Line("the same with -o DIR: pages, tables, figures", "compare_files_seconds", {"count": 10_000}),
        Line("seconds of planning a sweep of 10,000 jobs", "plan_seconds", {"count": 10_000}),
        Line(
            "the same, the sweep toys: nearly every job of choices of its own",
            "plan_seconds",
            {"sweep": "toys"},
        ),
    ],
    "dashboard": [
        Line("megabytes of the page of 2,000 records", "megabytes", {"records": 2000}),
        Line("seconds to build it", "build_seconds", {"records": 2000}),
        Line("milliseconds to its first paint, in headless Chromium", "first_paint_ms", {"records": 2000}),
        *(
            Line(f"{words} of the {name} as committed", value, {"source": source}, needed=False)
            for name, source in COMMITTED.items()
            for words, value in (
                ("seconds of zoo compare -o", "compare_seconds"),
                ("megabytes of the page", "megabytes"),
            )
        ),
    ],
    "continuous": [
        Line(f"FFJORD, {TASKS[job]}, {peer} by zoo", "1/closed_by_this", {"job": job, "trace": peer})
        for job in ("density", "train")
        for peer in ("zuko", "torchdiffeq")
    ],
    "coupling": [
        Line(f"coupling flows, {what}, {peer} by zoo", "1/ratio", {"task": task, "peer": peer})
        for task, what in TASKS.items()
        for peer in PEERS
    ],
    "ddp": [
        Line("buckets of gradients of an update by two processes", "buckets"),
        Line("such an update, all gradients in one bucket by zoo's buckets", "one_over_zoo"),
        Line("share of the averaging that the backward pass hides", "hidden_share"),
        Line("relative error of averaged gradients", "gradient_error"),
    ],
    "gpu_compile": [
        Line("density and gradient of flows, plain by compiled, float32", "speedup_float32"),
        Line("the same, bfloat16", "speedup_bfloat16"),
        Line("relative error of the compiled gradients, float32", "compiled_gradient_error_float32"),
    ],
    "gpu_memory": [
        Line("memory of training Glow, kept by recomputed", "plain_mib/memory_efficient_mib"),
        Line("training step of the same, recomputed by kept", "time_ratio"),
        Line("relative error of the gradients, float64", "gradient_error_float64"),
        Line("the same, float32", "gradient_error_float32"),
    ],
    "gpu_sampling": [
        Line(
            f"sampling a masked autoregressive layer of {dim}, {peer} by zoo", f"ratios.{peer}", {"dim": dim}
        )
        for dim in (43, 784)
        for peer in PEERS
    ],
    "loop_overhead": [
        Line("an update of zoo train by one of a bare loop", "ratio"),
        Line("the same, the bare loop with zoo's noise", "ratio_to_keyed"),
    ],
    "ideas": [Line("the same work without an idea of docs/speed.md by with it", "off_over_on")],
    "jacobi_sampling": [
        Line(
            f"sampling a trained MAF of {dim} dimensions, steps by passes of Jacobi iteration",
            "sequential_steps/jacobi_passes",
            {"dim": dim},
        )
        for dim in (64, 256, 1024)
    ]
    + [
        Line(f"the same, seconds, batch {batch}", "sequential_by_jacobi", {"batch": batch})
        for batch in (1, 64)
    ],
    "maf_sampling": [
        *(Line(f"sampling a masked autoregressive layer, {peer} by zoo", f"ratios.{peer}") for peer in PEERS),
        *(
            Line(f"the same of {dim} dimensions, one at a time, {peer} by zoo", f"ratios.{peer}", rows)
            for dim in (43, 784)
            for rows in [{"dim": dim, "batch": 1}]
            for peer in PEERS
        ),
    ],
    "memory": [
        Line("bytes held by graphs of Glow, kept by recomputed", "plain_mib/memory_efficient_mib"),
        Line("training step of the same, recomputed by kept", "time_ratio"),
        Line("relative error of the gradients, float64, worst of seeds", "gradient_error_float64_worst"),
        Line("the same, float32", "gradient_error_float32_worst"),
        Line("the same of the kept graph itself, against float64", "plain_float32_against_float64_worst"),
    ],
    "pixelcnn_sampling": [Line("sampling, a whole pass for each pixel by a walk that recalls", "factor")],
    "quickstart": [
        *(
            Line(f"seconds of make quickstart in a fresh clone: {what}", "seconds", {"what": what})
            for what in ("set-up", "first row", "first picture", "total")
        ),
        Line("worst relative error of the time left that it announces", "worst_error", {"what": "time left"}),
    ],
    "residual_exact": [
        Line(
            f"exact log-determinant of a residual block, {TASKS[job]}, differentiated by carried along",
            "ratio",
            {"job": job},
        )
        for job in ("density", "train")
    ],
    "residual_memory": [
        Line("bytes held by graphs of a residual flow, kept by recomputed", "plain_mib/memory_efficient_mib"),
        Line("training step of the same, recomputed by kept", "time_ratio"),
    ],
    "startup": [
        *(
            Line(f"seconds of {command}", "seconds", {"command": command})
            for command in ("zoo --help", "import torch")
        ),
        *(
            Line(
                f"seconds of zoo {command}, {count} records",
                "seconds",
                {"command": f"zoo {command}, {count} records"},
                needed=False,
            )
            for command in ("compare", "claims")
            for count in (9, 20)
        ),
        Line(
            "seconds from zoo train to its first update", "seconds", {"command": "first update"}, needed=False
        ),
        Line("seconds that a job adds to a sweep", "seconds", {"command": "sweep job"}, needed=False),
    ],
    "tarflow_sampling": [
        Line("inverse of a block, every token from the start by cached", "naive_over_cached")
    ],
}
RATIOS = ("ratio", "factor", "_over_")  # names of the values shown of a benchmark without lines


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a row with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def comparisons(name: str, record: dict[str, Any]) -> dict[str, list[float]]:
    """Return each comparison of a benchmark, with the values over its settings.

    Raises:
        SystemExit: a value that the table shows is missing.
    """
    values: dict[str, list[float]] = {}
    for row in record["rows"]:
        known = dict(numbers(row)) | {"1": 1.0}
        for line in LINES.get(name, []):
            parts = line.value.split("/")
            if all(row.get(key) == value for key, value in line.rows.items()) and known.keys() >= set(parts):
                value = known[parts[0]] / math.prod(known[part] for part in parts[1:])
                values.setdefault(line.compared, []).append(value)
        if name not in LINES:
            for path in known:
                if any(word in path for word in RATIOS):
                    about = f"{record['about'].rstrip('.')}: " if record.get("about") else ""
                    values.setdefault(about + path, []).append(known[path])
    missing = [line.compared for line in LINES.get(name, []) if line.needed and line.compared not in values]
    if missing or not values:
        raise SystemExit(
            f"{name}.json has no {missing or 'ratio'}; "
            "run the benchmark again, or correct its lines in benchmarks/table.py."
        )
    return values


def table() -> str:
    """Return the table as Markdown."""
    text = ["| benchmark | compared | least | most | hardware | date |", "|---|---|---:|---:|---|---|"]
    for file in sorted(RESULTS.glob("*.json")):
        record = json.loads(file.read_text())
        hardware = record["hardware"]
        where = hardware.get("accelerator") or (
            f"{hardware.get('cpu', hardware['machine'])}, {hardware['threads']} of {hardware['cpus']} cores"
        )
        for compared, values in comparisons(file.stem, record).items():
            extremes = f"{min(values):.3g} | {max(values):.3g}"
            text.append(f"| {file.stem} | {compared} | {extremes} | {where} | {record.get('date', '')} |")
    return "\n".join(text) + "\n"


def jacobi() -> str:
    """Return the Markdown table of sequential and Jacobi sampling; ranges are those of the seeds."""
    groups: dict[tuple[int, int, float], list[dict[str, Any]]] = {}
    for row in json.loads((RESULTS / "jacobi_sampling.json").read_text())["rows"]:
        groups.setdefault((row["dim"], row["batch"], row["tolerance"]), []).append(row)
    text = [
        "| dimensions | batch | tolerance | sequential steps | Jacobi passes | sequential time by Jacobi's "
        "| largest difference |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (dim, batch, tolerance), rows in groups.items():
        steps, passes, ratio = (
            spread([row[key] for row in rows])
            for key in ("sequential_steps", "jacobi_passes", "sequential_by_jacobi")
        )
        most = max(row["largest_difference"] for row in rows)
        text.append(f"| {dim} | {batch} | {tolerance:g} | {steps} | {passes} | {ratio} | {most:.1g} |")
    return "\n".join(text) + "\n"


def of_peers(name: str) -> str:
    """Return a Markdown table of the comparisons with peers: table, best or aims."""
    rows, missing = measured.load(RESULTS / "peers" / "cases.json")
    return {
        "table": lambda: report.table(rows, missing),
        "best": lambda: report.best(rows),
        "aims": lambda: report.aims(rows),
    }[name]()


def spread(values: list[float]) -> str:
    """Return the least and the most, to three digits; one number if they are equal.

    >>> spread([1280, 1280]), spread([0.786, 0.9612])
    ('1280', '0.786 to 0.961')
    """
    ends = [
        f"{value:.3g}" if isinstance(value, float) else f"{value}" for value in (min(values), max(values))
    ]
    return " to ".join(dict.fromkeys(ends))


TABLES: dict[str, Callable[[], str]] = {
    "table.md": table,
    "jacobi.md": jacobi,
    **{f"peers/{name}.md": partial(of_peers, name) for name in ("table", "best", "aims")},
    **speed_tables.TABLES,
}


def rewrite() -> None:
    """Make every table anew from the files of the benchmarks."""
    for name, made in TABLES.items():
        (RESULTS / name).parent.mkdir(exist_ok=True)
        (RESULTS / name).write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
    print(table(), end="")
