"""``python -m benchmarks``: zoo's speed against its peers and the bare arithmetic, a table and a figure.

Writes ``results/benchmarks/peers/`` (``cases.json``, ``table.md``, ``figure.svg``) with versions, hardware
and load, and names each ratio that is more than a tenth below the last result of the same processor and
torch. With cases given, only their rows are measured and replaced. ``--quick`` measures each comparison for
one second and writes nothing. Peers that nothing else needs are in the extra ``benchmarks`` (``make peers``).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from cases import CASES, PACKAGES, comparisons
from common import write
from suite import figure, regressions, rows, table
from table import RESULTS

FOLDER = RESULTS / "peers"
DISTRIBUTIONS = {"lucidrains": "denoising-diffusion-pytorch"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; none: all")
    parser.add_argument("--only", action="append", default=[], metavar="CASE", help="the same as CASE")
    parser.add_argument("--peers", help="comma-separated; none: all")
    parser.add_argument("--batch", type=int, action="append", help="batch sizes, in place of a case's own")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each comparison (default 12)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="of torch (default: all cores)"
    )
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of the processor, with --threads 1; nothing is written"
    )
    parser.add_argument("--quick", action="store_true", help="one second of each, nothing written")
    chosen = parser.parse_args()
    chosen.cases += chosen.only
    if wrong := [name for name in chosen.cases if name not in CASES]:
        parser.error(f"unknown case {', '.join(wrong)}; choose from {', '.join(CASES)}")
    chosen.peers = chosen.peers.split(",") if chosen.peers else None
    if chosen.peers and (wrong := [name for name in chosen.peers if name not in PACKAGES]):
        parser.error(f"unknown peer {', '.join(wrong)}; choose from {', '.join(PACKAGES)}")
    return chosen


def versions() -> dict[str, str]:
    """Return the versions of the installed peers."""
    found = {}
    for name, package in PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(DISTRIBUTIONS.get(name, package))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def last() -> dict[str, Any]:
    """Return the last result; empty if there is none."""
    path = FOLDER / "cases.json"
    return json.loads(path.read_text()) if path.exists() else {}


def measure(name: str, chosen: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure a case; return its rows, and a row for each peer that is missing with the reason."""
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    measured: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for batch in chosen.batch or CASES[name][1]:
        made = comparisons(name, batch, chosen.peers)
        for who, reason in made[0].missing.items():
            absent = {"case": name, "peer": who, "reason": reason}
            if absent not in missing:
                missing.append(absent)
                print(f"{name}: {who} is not measured: {reason}", flush=True)
        for comparison in made:
            for row in rows(comparison, 1.0 if chosen.quick else chosen.seconds, clock):
                measured.append(row | {"date": today})
                low, high = row["interval"]
                print(
                    f"{name:9} {row['task']:8} batch {batch:5}  zoo {row['zoo_ms']:9.3f} ms  "
                    f"{row['peer']:11} {row['ratio']:7.2f} ({low:.2f}-{high:.2f})",
                    flush=True,
                )
    return measured, missing


def save(before: dict[str, Any], done: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]) -> Path:
    """Write the result, in which the cases that are done replace those of before; return its path."""
    kept: list[list[dict[str, Any]]] = []
    for index, field in enumerate(("rows", "missing")):
        of_case = {name: [row for row in before.get(field, []) if row["case"] == name] for name in CASES}
        of_case |= {name: parts[index] for name, parts in done.items()}
        kept.append([row for found in of_case.values() for row in found])
    path = write("peers/cases", kept[0], command="python -m benchmarks", missing=kept[1], peers=versions())
    (FOLDER / "table.md").write_text(table(*kept))
    figure(kept[0]).savefig(FOLDER / "figure.svg", metadata={"Date": None})
    return path


def main() -> None:
    chosen = arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(chosen.threads)
    before = last()
    done: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
    looks = chosen.quick or chosen.cpu_time or chosen.peers or chosen.batch
    for name in chosen.cases or CASES:
        done[name] = measure(name, chosen)
        if not looks:
            path = save(before, done)  # after each case, so that an interrupted run keeps what it has
    measured = [row for found, _ in done.values() for row in found]
    print(table(measured, [row for _, absent in done.values() for row in absent]), end="")
    if looks:
        return
    now = json.loads(path.read_text())
    same = before.get("hardware", {}).get("cpu") == now["hardware"]["cpu"]
    if same and before["versions"]["torch"] == now["versions"]["torch"]:
        for line in regressions(before["rows"], measured):
            print(f"slower than at {before['date']}: {line}")
    print(path)


if __name__ == "__main__":
    main()
