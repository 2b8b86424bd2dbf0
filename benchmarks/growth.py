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
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import cases
import torch
from common import write
from memory import Held
from report import save
from suite import ZOO, Job, rounds
from table import RESULTS

import zoo

FOLDER = RESULTS / "peers"
LEAN = "zoo, memory_efficient"
WORDS = {"density": "density", "train": "training step", "sample": "sampling", "memory": "memory of training"}
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


def table(record: dict[str, Any]) -> str:
    """Return the exponents of time and memory, and the throughput at the knee, as Markdown."""
    lines = record["exponents"]
    names = contestants(lines)
    text = [
        conditions(record),
        "",
        f"| case | axis, up to | of | {' | '.join(names)} |",
        f"|---|---|---|{'---:|' * len(names)}",
    ]
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in lines:
        axis = f"{line['axis']}, {line['largest']:,}"
        groups.setdefault((line["case"], axis, WORDS[line["task"]]), {})[line["who"]] = line["time"]
    for line in lines:
        if "memory" in line:
            key = (line["case"], f"{line['axis']}, {line['largest']:,}", WORDS["memory"])
            groups.setdefault(key, {})[line["who"]] = line["memory"]
    for key, found in sorted(groups.items(), key=lambda group: group[0][:2]):
        cells = [f"{found[name][0]:.2f} ± {found[name][1]:.2f}" if name in found else "–" for name in names]
        text.append(f"| {' | '.join([*key, *cells])} |")
    text += ["", f"| case | of | {' | '.join(names)} |", f"|---|---|{'---:|' * len(names)}"]
    knees: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        if "knee" in line:
            cell = f"{line['rate']:,.0f} (batch {line['knee']:,})"
            knees.setdefault((line["case"], WORDS[line["task"]]), {})[line["who"]] = cell
    text += [
        f"| {' | '.join([*key, *(found.get(name, '–') for name in names)])} |" for key, found in knees.items()
    ]
    return "\n".join(text) + "\n"


def contestants(rows: list[dict[str, Any]]) -> list[str]:
    """Return the names of the contestants, zoo's first."""
    return sorted({row["who"] for row in rows}, key=lambda name: (not name.startswith(ZOO), name))


def conditions(record: dict[str, Any]) -> str:
    """Return the sentence on the machine, its load, the version of torch and the date."""
    hardware = record["hardware"]
    threads = (
        f"{hardware['threads']} thread{'s' if hardware['threads'] > 1 else ''} of {hardware['cpus']} cores"
    )
    torch_ = f"torch {record['versions']['torch']}"
    return f"{hardware['cpu']}, {threads}; load {hardware['load']:g}; {torch_}; measured {record['date']}."


def figure(record: dict[str, Any]) -> Any:
    """Return a figure: a row of panels for each axis, with time by task and the memory of training."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    rows = record["rows"]
    axes = list(dict.fromkeys((row["case"], row["axis"]) for row in rows))
    panels = ["density", "train", "sample", "memory"]
    names = contestants(rows)
    picture = Figure(figsize=(11, 2.2 * len(axes)), layout="constrained")
    grid = picture.subplots(len(axes), len(panels), squeeze=False)
    plain = FuncFormatter(lambda value, _: f"{value:,.4g}")
    for line, (case, axis) in zip(grid, axes, strict=True):
        for place, panel in zip(line, panels, strict=True):
            value, scale = ("held_mib", 1) if panel == "memory" else ("seconds", 1e3)
            task = "train" if panel == "memory" else panel
            chosen = [row for row in rows if (row["case"], row["axis"], row["task"]) == (case, axis, task)]
            if not chosen:
                place.axis("off")
                continue
            for index, name in enumerate(names):
                own = [row for row in chosen if row["who"] == name]
                if own:
                    points = [row["setting"] for row in own], [scale * row[value] for row in own]
                    style = f"{'osD^'[index % 4]}-"
                    place.loglog(*points, style, color=f"C{index}", label=name, markersize=3, linewidth=1)
            settings = sorted({row["setting"] for row in chosen})
            place.xaxis.set_major_locator(FixedLocator(settings[:: 2 if len(settings) > 5 else 1]))
            place.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
            for side in (place.xaxis, place.yaxis):
                side.set_major_formatter(plain)
                side.set_minor_locator(NullLocator())
            place.grid(color="0.9")
            place.set_title(f"{case}: {WORDS[panel]}, {'MiB' if panel == 'memory' else 'ms'}", fontsize=8)
            place.set_xlabel(axis, fontsize=8)
            place.tick_params(labelsize=7)
    handles = {h.get_label(): h for line in grid for a in line for h in a.get_lines()}
    picture.legend(handles.values(), handles.keys(), fontsize=8, loc="outside upper center", ncols=len(names))
    picture.supxlabel(conditions(record), fontsize=8)
    return picture


def show() -> None:
    """Make the table and the figure from the file of the last measurement."""
    record = json.loads((FOLDER / "growth.json").read_text(encoding="utf-8"))
    (FOLDER / "growth.md").write_text(table(record), encoding="utf-8")
    save(figure(record), FOLDER / "growth.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    known = dict.fromkeys(case for case, _ in AXES)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(known)}; none: all")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each setting and task")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cpu-time", action="store_true", help="with --threads 1; nothing is written")
    parser.add_argument(
        "--quick", action="store_true", help="the three smallest settings; nothing is written"
    )
    chosen = parser.parse_args()
    if strange := [case for case in chosen.cases if case not in known]:
        parser.error(f"there is no case {strange[0]}; there are: {', '.join(known)}")
    warnings.simplefilter("ignore")
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    rows: list[dict[str, Any]] = []
    for case, axis in AXES:
        if not chosen.cases or case in chosen.cases:
            rows += measured(
                case, axis, 0.2 if chosen.quick else chosen.seconds, clock, 3 if chosen.quick else None
            )
    if chosen.quick or chosen.cpu_time or chosen.cases:
        for line in summary(rows):
            print("  ".join(f"{key} {value}" for key, value in line.items()))
        return
    about = "seconds and MiB by setting; exponents of the three largest"
    command = f"python benchmarks/growth.py {' '.join(sys.argv[1:])}".rstrip()
    path = write("peers/growth", rows, command=command, about=about, exponents=summary(rows))
    show()
    print(path)


if __name__ == "__main__":
    main()
