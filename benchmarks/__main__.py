"""``python -m benchmarks``: zoo's speed against its peers and the bare arithmetic, a table and a figure.

Writes ``results/benchmarks/peers/`` (``cases.json``, ``table.md``, ``figure.svg``) with versions, hardware
and load, and names each ratio that is more than a tenth below the last result of the same processor and
torch. With cases given, only their rows are measured and replaced. ``--quick`` measures each comparison for
one second and writes nothing. Peers that nothing else needs are in the extra ``benchmarks`` (``make peers``).
"""

from __future__ import annotations

import argparse
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
from common import RESULTS, write
from suite import figure, regressions, rows, table

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


def main() -> None:
    chosen = arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    measured: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for name in chosen.cases or CASES:
        for batch in chosen.batch or CASES[name][1]:
            made = comparisons(name, batch, chosen.peers)
            for who, reason in made[0].missing.items():
                row = {"case": name, "peer": who, "reason": reason}
                if row not in missing:
                    missing.append(row)
                    print(f"{name}: {who} is not measured: {reason}", flush=True)
            for comparison in made:
                for row in rows(comparison, 1.0 if chosen.quick else chosen.seconds, clock):
                    measured.append(row)
                    low, high = row["interval"]
                    print(
                        f"{name:9} {row['task']:8} batch {batch:5}  zoo {row['zoo_ms']:9.3f} ms  "
                        f"{row['peer']:11} {row['ratio']:7.2f} ({low:.2f}-{high:.2f})",
                        flush=True,
                    )
    if chosen.quick or chosen.cpu_time or chosen.peers or chosen.batch:
        print(table(measured, missing), end="")
        return
    before = last()
    kept = [row for row in before.get("rows", []) if chosen.cases and row["case"] not in chosen.cases]
    order = list(CASES)
    all_rows = sorted(
        [*kept, *measured], key=lambda row: order.index(row["case"]) if row["case"] in order else 99
    )
    absent = [
        row for row in before.get("missing", []) if chosen.cases and row["case"] not in chosen.cases
    ] + missing
    path = write("peers/cases", all_rows, command="python -m benchmarks", missing=absent, peers=versions())
    now = json.loads(path.read_text())
    (FOLDER / "table.md").write_text(table(all_rows, absent))
    figure(all_rows).savefig(FOLDER / "figure.svg", metadata={"Date": None})
    print(table(all_rows, absent), end="")
    same = before.get("hardware", {}).get("cpu") == now["hardware"]["cpu"]
    if same and before["versions"]["torch"] == now["versions"]["torch"]:
        for line in regressions(before["rows"], measured):
            print(f"slower than at {before['date']}: {line}")
    print(path)


if __name__ == "__main__":
    main()
