"""``python -m benchmarks``: zoo's speed against its peers and the bare arithmetic, tables and a figure.

Writes ``results/benchmarks/peers/``: ``cases.json``, whose rows hold the hardware, load, versions, date and
command of their measurement, ``table.md``, ``best.md``, ``aims.md`` and ``figure.svg``. A run replaces only
the rows that it measured, and names each ratio that is more than a tenth below the last one of the same
machine kind. ``--quick`` measures each comparison for one second and writes nothing. Peers that nothing else
needs are in the extra ``benchmarks`` (``make peers``).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import math
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parent))

import measured
import table as tables
import torch
from cases import CASES, PACKAGES, comparisons
from common import processor
from measured import Machine, Row
from report import figure, interval_text, save, table
from suite import rows

DISTRIBUTIONS = {"lucidrains": "denoising-diffusion-pytorch"}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}\n")


def count(text: str) -> int:
    """Return the whole number that ``text`` gives; refuse what is below 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1; got {text}.")
    return int(text)


def duration(text: str) -> float:
    """Return the number of seconds that ``text`` gives; refuse what is not above 0 or infinite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0; got {text}.")
    return value


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; none: all")
    parser.add_argument("--peers", help="comma-separated; none: all")
    parser.add_argument(
        "--batch",
        type=count,
        action="append",
        help="batch size in place of a case's own; others are not written",
    )
    parser.add_argument(
        "--compile", action="store_true", help="also zoo as training.compile=true compiles it"
    )
    parser.add_argument("--seconds", type=duration, default=12.0, help="of each comparison (default 12)")
    parser.add_argument("--threads", type=count, default=cores(), help="of torch (default: all usable cores)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of the processor, with --threads 1; nothing is written"
    )
    parser.add_argument("--quick", action="store_true", help="one second of each, nothing written")
    chosen = parser.parse_args(given)
    if wrong := [name for name in chosen.cases if name not in CASES]:
        parser.error(f"unknown case {', '.join(wrong)}; choose from {', '.join(CASES)}.")
    chosen.cases = list(dict.fromkeys(chosen.cases)) or list(CASES)
    chosen.peers = chosen.peers.split(",") if chosen.peers else None
    if chosen.peers and (wrong := [name for name in chosen.peers if name not in PACKAGES]):
        parser.error(f"unknown peer {', '.join(wrong)}; choose from {', '.join(PACKAGES)}.")
    if chosen.cpu_time and chosen.threads != 1:
        parser.error("--cpu-time adds the times of all threads; give --threads 1 too.")
    if chosen.quick:
        chosen.seconds = 1.0
    return chosen


def version(peer: str) -> str | None:
    """Return the version of a peer; None for zoo, the bare arithmetic and what is not installed."""
    if peer not in PACKAGES:
        return None
    try:
        return importlib.metadata.version(DISTRIBUTIONS.get(peer, PACKAGES[peer]))
    except importlib.metadata.PackageNotFoundError:
        return None


def conditions(chosen: argparse.Namespace) -> Callable[[str], Row]:
    """Return the function from a peer to the conditions under which a row of it is measured now."""
    fixed = {
        "cpu": processor(),
        "cores": os.cpu_count() or 1,
        "threads": chosen.threads,
        "torch": torch.__version__,
        "seconds": chosen.seconds,
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
    }

    def now(peer: str) -> Row:
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
        return fixed | {"version": version(peer), "load": load, "date": today}

    return now


def measure(
    name: str, batch: int, chosen: argparse.Namespace, now: Callable[[str], Row]
) -> tuple[list[Row], list[Row]]:
    """Measure a case at a batch size; return its rows, and a row for each peer that is missing."""
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    found: list[Row] = []
    made = comparisons(name, batch, chosen.peers, chosen.compile)
    missing = [
        {"case": name, "batch": batch, "peer": who, "reason": reason} | now(who)
        for who, reason in made[0].missing.items()
    ]
    for row in missing:
        print(f"{name}, batch {batch}: {row['peer']} is not measured: {row['reason']}", flush=True)
    for comparison in made:
        for row in rows(comparison, chosen.seconds, clock):
            found.append(row | now(row["peer"]))
            print(
                f"{name:9} {row['task']:8} batch {batch:5}  zoo {row['zoo_ms']:9.3f} ms  "
                f"{row['peer']:13} {interval_text(row)}",
                flush=True,
            )
    return found, missing


def expect(sizes: list[tuple[str, int]], before: list[Row], chosen: argparse.Namespace) -> str:
    """Return the sentence on how long the run will take."""
    known: dict[tuple[str, int], set[str]] = {}
    for row in before:
        known.setdefault((row["case"], row["batch"]), set()).add(row["task"])
    every = [
        (name, task, batch)
        for name, batch in sizes
        for task in known.get((name, batch)) or ("train", "sample", "density")
    ]
    here = Machine(processor(), os.cpu_count() or 1, chosen.threads)
    seconds, unknown = measured.expected_seconds(every, before, here, chosen.seconds)
    doubt = f"; {unknown} of its {len(every)} comparisons were never measured" if unknown else ""
    more = ", and the time to compile" if chosen.compile else ""
    return f"This will take about {max(1, round(seconds / 60))} min{more}{doubt}."


def main() -> None:
    chosen = arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(chosen.threads)
    path = tables.RESULTS / "peers" / "cases.json"
    before = measured.load(path)
    sizes = [(name, batch) for name in chosen.cases for batch in chosen.batch or CASES[name][1]]
    print(expect(sizes, before[0], chosen), flush=True)
    looks = chosen.quick or chosen.cpu_time
    now = conditions(chosen)
    done: list[Row] = []
    absent: list[Row] = []
    for name, batch in sizes:
        found, missing = measure(name, batch, chosen, now)
        done += found
        absent += missing
        if not looks:  # after each size, so that an interrupted run keeps what it has
            write(path, before, done, absent)
    print(table(done, absent), end="")
    if looks:
        return
    for line in measured.regressions(before[0], done):
        print(f"slower than before: {line}")
    print(path)


def write(path: Path, before: tuple[list[Row], list[Row]], done: list[Row], absent: list[Row]) -> None:
    """Write the file, its tables and the figure, without rows of batch sizes that are not a case's own."""
    own, lacking = ([row for row in part if row["batch"] in CASES[row["case"]][1]] for part in (done, absent))
    after = measured.merged(before[0], own, CASES)
    measured.save(path, after, measured.still_missing(after, before[1], lacking))
    tables.rewrite()
    save(figure(after), path.with_name("figure.svg"))


if __name__ == "__main__":
    main()
