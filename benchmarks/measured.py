"""The rows that ``python -m benchmarks`` has measured: their file, how a run changes it, and what got slower.

Each row holds the conditions under which it was measured. A run replaces only the rows that it measured
again: those of the same machine kind (processor, cores and threads), case, task, batch and peer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

ZOO, FLOOR, COMPILED = "zoo", "floor", "zoo, compiled"
TASKS = ("density", "train", "sample")
ENOUGH = 6  # rounds whose order statistics enclose the median with a probability of 95 %
Row = dict[str, Any]


class Machine(NamedTuple):
    """A kind of machine: name of the processor, its cores, and the threads that torch used."""

    cpu: str
    cores: int
    threads: int

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.cpu}, {threads} of {self.cores} cores"


class Ratio(NamedTuple):
    """A median ratio and the ends of its interval."""

    value: float
    low: float
    high: float


def machine(row: Row) -> Machine:
    return Machine(row["cpu"], row["cores"], row["threads"])


def key(row: Row) -> tuple[Any, ...]:
    """Return what a row measures: machine kind, case, task, batch and peer."""
    return machine(row), row["case"], row["task"], row["batch"], row["peer"]


def speed(row: Row) -> Ratio:
    """Return a row's ratio such that more is better for zoo.

    For a peer it is its time by zoo's, for the floor zoo's share of it, for compiled zoo the time of eager
    zoo by that of compiled zoo.

    >>> speed({"peer": COMPILED, "ratio": 0.5, "interval": [0.4, 0.8]})
    Ratio(value=2.0, low=1.25, high=2.5)
    """
    value, (low, high) = row["ratio"], row["interval"]
    return Ratio(1 / value, 1 / high, 1 / low) if row["peer"] == COMPILED else Ratio(value, low, high)


def load(path: Path) -> tuple[list[Row], list[Row]]:
    """Return the rows of a file, and those of the peers that could not be measured; none without a file."""
    if not path.exists():
        return [], []
    record = json.loads(path.read_text(encoding="utf-8"))
    return record["rows"], record["missing"]


def save(path: Path, rows: list[Row], missing: list[Row]) -> None:
    """Write the file, with each row on a line of its own."""
    parts = [
        f' "{name}": [' + ",".join(f"\n  {json.dumps(row)}" for row in found) + ("\n ]" if found else "]")
        for name, found in (("rows", rows), ("missing", missing))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{\n "benchmark": "peers/cases",\n' + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def merged(before: Iterable[Row], now: Iterable[Row], order: Iterable[str]) -> list[Row]:
    """Return the rows after a run: those measured now replace those of before that measured the same.

    Args:
        before: rows of the file.
        now: rows that the run measured.
        order: the cases in the order of the table; rows of other cases, which no longer exist, are left out.
    """
    rows = {key(row): row for row in [*before, *now] if row["peer"] != ZOO}
    place = {case: index for index, case in enumerate(order)}
    return sorted(
        (row for row in rows.values() if row["case"] in place),
        key=lambda row: (machine(row), place[row["case"]], TASKS.index(row["task"]), row["batch"]),
    )


def still_missing(rows: Iterable[Row], before: Iterable[Row], now: Iterable[Row]) -> list[Row]:
    """Return the peers, by machine kind, case and batch, of which the file has no row."""
    known = {(machine(row), row["case"], row["batch"], row["peer"]) for row in rows}
    absent = {(machine(row), row["case"], row["batch"], row["peer"]): row for row in [*before, *now]}
    return [row for what, row in sorted(absent.items()) if what not in known]


def grouped(rows: Iterable[Row]) -> dict[tuple[str, str, int], list[Row]]:
    """Return the rows of one machine kind by case, task and batch."""
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["case"], row["task"], row["batch"]), []).append(row)
    return groups


def machines(rows: Iterable[Row]) -> dict[Machine, list[Row]]:
    """Return the rows by machine kind; the kind that was measured last comes first."""
    kinds: dict[Machine, list[Row]] = {}
    for row in rows:
        kinds.setdefault(machine(row), []).append(row)
    newest = {kind: max(row["date"] for row in found) for kind, found in kinds.items()}
    return {kind: kinds[kind] for kind in sorted(kinds, key=lambda kind: newest[kind], reverse=True)}


def regressions(before: Iterable[Row], now: Iterable[Row], share: float = 0.1) -> list[str]:
    """Return a line for each ratio that fell by more than ``share`` and outside of both intervals.

    A row is compared with the last one of the same machine kind; other versions are named.
    """
    old = {key(row): row for row in before}
    lines = []
    for row in now:
        last = old.get(key(row))
        if last is None or row["peer"] == ZOO:
            continue
        was, here = speed(last), speed(row)
        if here.value < (1 - share) * was.value and here.high < was.low:
            what = {FLOOR: "share of the floor", COMPILED: "speed of compiled by eager"}.get(
                row["peer"], f"speed by {row['peer']}"
            )
            versions = [
                f"{name} {last.get(field)}, now {row.get(field)}"
                for name, field in (("torch", "torch"), (row["peer"], "version"))
                if last.get(field) != row.get(field)
            ]
            lines.append(
                f"{row['case']}, {row['task']}, batch {row['batch']}: {what} fell from {was.value:.2f} "
                f"({last['date']}{''.join(f'; {version}' for version in versions)}) to {here.value:.2f}"
            )
    return lines


def expected_seconds(
    comparisons: Iterable[tuple[str, str, int]], before: Iterable[Row], here: Machine, seconds: float
) -> tuple[float, int]:
    """Return the seconds that a run will take, and how many of its comparisons were never measured.

    A comparison takes ``seconds``, or its least number of rounds if that is longer, and the first calls, by
    the times of the last rows, of this machine kind if it has any. One that was never measured is expected to
    take 5 s more than ``seconds``.
    """
    times: dict[tuple[str, str, int], dict[str, float]] = {}
    for row in sorted(before, key=lambda row: machine(row) == here):
        of = times.setdefault((row["case"], row["task"], row["batch"]), {})
        of |= {row["peer"]: row["peer_ms"] / 1000, ZOO: row["zoo_ms"] / 1000}
    total, unknown = 0.0, 0
    for what in comparisons:
        round_seconds = sum(times.get(what, {}).values())
        unknown += what not in times
        total += max(seconds, least_rounds(round_seconds) * round_seconds) + 2 * round_seconds
        total += 1.0 if what in times else 5.0
    return total, unknown


def least_rounds(round_seconds: float, long: float = 5.0) -> int:
    """Return the number of rounds that are run whatever they take: 3 of long ones, else :data:`ENOUGH`."""
    return 3 if round_seconds > long else ENOUGH
