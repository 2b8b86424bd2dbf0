"""Time and memory against dimension, depth, width, batch and evaluations, as fitted exponents, beside peers.

Density, training step and sampling are those of cases.py, and all contestants take turns. Memory is the most
that the graphs of a training step hold, counted in bytes as memory.py does. An exponent is the slope of a
straight line through the logarithms of the three largest settings, where fixed costs matter least, with the
standard error of the line through all of them. The knee is the smallest batch with nine tenths of the largest
throughput. Writes ``results/benchmarks/peers/growth.json``, ``growth.md`` and ``growth.svg``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import cases
import torch
from common import write
from memory import Held
from suite import ZOO, Job, rounds
from table import RESULTS

import zoo

FOLDER = RESULTS / "peers"
LEAN = "zoo, memory_efficient"
Make = Callable[[int], dict[str, cases.Make]]


def glow(steps: int) -> dict[str, cases.Make]:
    """Glow of one level on small images, kept and recomputed, beside normflows."""
    made = cases.glow(16, levels=1, steps=steps, width=64)
    spec = zoo.DataSpec((3, 32, 32))
    x = torch.randn(16, 3, 32, 32)
    lean = zoo.build("glow", spec, levels=1, steps=steps, width=64, blocks=0, memory_efficient=True)
    return {ZOO: made[ZOO], LEAN: lambda: cases.ours(lean).jobs(x), "normflows": made["normflows"]}


def diffusion(steps: int) -> dict[str, cases.Make]:
    """Sampling of a diffusion model by its number of evaluations."""
    from zoo.models.diffusion import Sampler

    spec = zoo.DataSpec((1, 8, 8), levels=17)
    model = zoo.build("diffusion", spec, sampler=Sampler(method="ddim", steps=steps)).eval()
    return {ZOO: lambda: {"sample": Job(lambda: model.sample(16, seed=0))}}


def only(made: dict[str, cases.Make], *names: str) -> dict[str, cases.Make]:
    return {name: make for name, make in made.items() if name in (ZOO, *names)}


PEERS, ALL = ("nflows", "normflows"), ("density", "train", "sample")
# case and axis: settings, the contestants of a setting, tasks
AXES: dict[tuple[str, str], tuple[tuple[int, ...], Make, tuple[str, ...]]] = {
    ("realnvp", "dimensions"): (
        (16, 64, 256, 1024),
        lambda n: only(cases.realnvp(256, dim=n), *PEERS),
        ALL,
    ),
    ("realnvp", "depth"): (
        (4, 8, 16, 32),
        lambda n: only(cases.realnvp(256, layers=n), *PEERS),
        ALL,
    ),
    ("realnvp", "width"): (
        (64, 128, 256, 512, 1024),
        lambda n: only(cases.realnvp(256, width=n), *PEERS),
        ALL,
    ),
    ("realnvp", "batch"): (
        (1, 4, 16, 64, 256, 1024, 4096),
        lambda n: only(cases.realnvp(n), *PEERS),
        ALL,
    ),
    ("maf", "dimensions"): (
        (16, 32, 64, 128),
        lambda n: only(cases.maf(64, dim=n, width=256), *PEERS),
        ALL,
    ),
    ("maf", "batch"): (
        (1, 4, 16, 64, 256, 1024),
        lambda n: only(cases.maf(n), *PEERS),
        ("density", "train"),
    ),
    ("glow", "depth"): ((2, 4, 8, 16, 32), glow, ("train",)),
    ("diffusion", "evaluations"): ((5, 10, 20, 40), diffusion, ("sample",)),
}


def held_mib(job: Job) -> float:
    """Return the most MiB that the graphs of a training step hold, without its parameters."""
    assert job.module is not None
    held = Held(job.module)
    with torch.autograd.graph.saved_tensors_hooks(held.pack, lambda handle: handle.tensor):
        job.run()
    return held.most / 2**20


def exponent(settings: list[int], values: list[float]) -> tuple[float, float]:
    """Return the slope of the logarithms of the three largest settings, and the whole line's error.

    >>> exponent([1, 2, 4, 8], [3.0, 12.0, 48.0, 192.0])
    (2.0, 0.0)
    """
    xs, ys = ([math.log(v) for v in vs] for vs in (settings, values))
    slope, _ = statistics.linear_regression(xs[-3:], ys[-3:])
    if len(xs) < 3:
        return round(slope, 2), math.nan
    line, base = statistics.linear_regression(xs, ys)
    rest = sum((y - base - line * x) ** 2 for x, y in zip(xs, ys, strict=True)) / (len(xs) - 2)
    spread = sum((x - statistics.fmean(xs)) ** 2 for x in xs)
    return round(slope, 2), round(math.sqrt(rest / spread), 2)


def knee(batches: list[int], seconds: list[float], share: float = 0.9) -> int:
    """Return the smallest batch whose throughput is at least ``share`` of the largest.

    >>> knee([1, 10, 100, 1000], [1.0, 1.0, 2.0, 20.0])
    100
    """
    rates = [batch / second for batch, second in zip(batches, seconds, strict=True)]
    return next(b for b, rate in zip(batches, rates, strict=True) if rate >= share * max(rates))


def measured(
    case: str, axis: str, seconds: float, clock: Callable[[], float], most: int | None
) -> list[dict[str, Any]]:
    """Return a row for each setting, task and contestant of an axis."""
    settings, make, tasks = AXES[case, axis]
    found = []
    for setting in settings[:most]:
        torch.manual_seed(0)
        jobs = {}
        for who, build in make(setting).items():
            try:
                jobs[who] = build()
            except ImportError as error:
                print(f"{case}: {who} is not measured: {error}", flush=True)
        for task in tasks:
            times = rounds({who: done[task] for who, done in jobs.items() if task in done}, seconds, clock)
            for who, values in times.items():
                row = {"case": case, "axis": axis, "setting": setting, "task": task, "who": who}
                row["seconds"] = float(f"{statistics.median(values):.4g}")
                if task == "train":
                    row["held_mib"] = round(held_mib(jobs[who][task]), 3)
                found.append(row)
                print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return found


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the exponents of time and memory, and the knee, of each case, axis, task and contestant."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["case"], row["axis"], row["task"], row["who"]), []).append(row)
    lines = []
    for (case, axis, task, who), group in groups.items():
        settings, times = [row["setting"] for row in group], [row["seconds"] for row in group]
        line: dict[str, Any] = {"case": case, "axis": axis, "task": task, "who": who, "largest": settings[-1]}
        line["time"] = exponent(settings, times)
        if task == "train":
            line["memory"] = exponent(settings, [row["held_mib"] for row in group])
        if axis == "batch":
            line["knee"] = knee(settings, times)
            line["rate"] = float(f"{max(s / t for s, t in zip(settings, times, strict=True)):.3g}")
        lines.append(line)
    return lines


def table(lines: list[dict[str, Any]]) -> str:
    """Return the exponents as Markdown."""
    text = [
        "| case | axis, to | task | contestant | exponent of time | of memory | knee | examples/s at most |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for line in lines:
        time_, memory = line["time"], line.get("memory")
        rate = f"{line['rate']:,.0f}" if "rate" in line else "–"
        of_memory = f"{memory[0]:.2f} ± {memory[1]:.2f}" if memory else "–"
        text.append(
            f"| {line['case']} | {line['axis']}, {line['largest']} | {line['task']} | {line['who']} | "
            f"{time_[0]:.2f} ± {time_[1]:.2f} | {of_memory} | {line.get('knee', '–')} | {rate} |"
        )
    return "\n".join(text) + "\n"


def figure(rows: list[dict[str, Any]]) -> Any:
    """Return a figure: a row of panels for each axis, with time by task and the memory of training."""
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys((row["case"], row["axis"]) for row in rows))
    panels = ["density", "train", "sample", "memory"]
    names = sorted({row["who"] for row in rows}, key=lambda name: (name != ZOO, name))
    picture = Figure(figsize=(11, 2.1 * len(axes)), layout="constrained")
    grid = picture.subplots(len(axes), len(panels), squeeze=False)
    for line, (case, axis) in zip(grid, axes, strict=True):
        for place, panel in zip(line, panels, strict=True):
            value = "held_mib" if panel == "memory" else "seconds"
            task = "train" if panel == "memory" else panel
            chosen = [row for row in rows if (row["case"], row["axis"], row["task"]) == (case, axis, task)]
            if not chosen:
                place.axis("off")
                continue
            for name in names:
                own = [row for row in chosen if row["who"] == name]
                if own:
                    points = [row["setting"] for row in own], [row[value] for row in own]
                    place.loglog(*points, "o-", color=f"C{names.index(name)}", label=name, markersize=3)
            place.set_title(f"{case}: {panel}, {'MiB' if panel == 'memory' else 's'}", fontsize=8)
            place.set_xlabel(axis, fontsize=8)
            place.tick_params(labelsize=7)
    handles = {h.get_label(): h for line in grid for a in line for h in a.get_lines()}
    picture.legend(handles.values(), handles.keys(), fontsize=8, loc="outside lower center", ncols=len(names))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "cases", nargs="*", help=f"of {', '.join(dict.fromkeys(c for c, _ in AXES))}; none: all"
    )
    parser.add_argument("--seconds", type=float, default=1.5, help="of each setting and task")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cpu-time", action="store_true", help="with --threads 1; nothing is written")
    parser.add_argument(
        "--quick", action="store_true", help="the three smallest settings; nothing is written"
    )
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    rows: list[dict[str, Any]] = []
    for case, axis in AXES:
        if not chosen.cases or case in chosen.cases:
            rows += measured(
                case, axis, 0.2 if chosen.quick else chosen.seconds, clock, 3 if chosen.quick else None
            )
    lines = summary(rows)
    print(table(lines), end="")
    if chosen.quick or chosen.cpu_time or chosen.cases:
        return
    about = "seconds and MiB by setting; exponents of the three largest"
    path = write("peers/growth", rows, command="python benchmarks/growth.py", about=about, exponents=lines)
    (FOLDER / "growth.md").write_text(table(lines))
    figure(json.loads(path.read_text())["rows"]).savefig(FOLDER / "growth.svg", metadata={"Date": None})
    print(path)


if __name__ == "__main__":
    main()
