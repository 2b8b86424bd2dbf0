"""The tables and the figure of the rows that ``python -m benchmarks`` has measured, with their conditions."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aims import AIMS, PEER, UNITS
from aims import COMPILED as BY_COMPILING
from measured import COMPILED, ENOUGH, FLOOR, TASKS, ZOO, Row, grouped, machine, machines, speed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

NAMES = {"density": "density", "train": "training step", "sample": "sampling"}
COLUMNS = (
    "case",
    "task",
    "batch",
    "zoo, ms",
    "best peer",
    "its time by zoo's: median (95 % interval)",
    "the others'",
    "share of the bare arithmetic",
    "eager time by compiled (95 %)",
    "notes",
)
MARKS = "osD^vPX*<>"


def conditions(rows: list[Row]) -> str:
    """Return the sentence on the conditions of rows of one machine kind."""
    torch, date = _each(row["torch"] for row in rows), _range([row["date"] for row in rows])
    seconds = _range([f"{row['seconds']:g}" for row in rows], number=True)
    load = _range([f"{row['load']:g}" for row in rows], number=True)
    peers: dict[str, list[str]] = {}
    for row in rows:
        if row.get("version"):
            peers.setdefault(row["peer"], []).append(row["version"])
    versions = ", ".join(f"{name} {_each(found)}" for name, found in sorted(peers.items()))
    parts = [str(machine(rows[0])), f"load {load}", f"torch {torch}", versions]
    return f"{'; '.join(filter(None, parts))}; measured {date}, {seconds} s a comparison."


def _each(values: Iterable[str]) -> str:
    return " and ".join(sorted(set(values)))


def _range(values: list[str], number: bool = False) -> str:
    ordered = sorted(set(values), key=float) if number else sorted(set(values))
    return " to ".join(dict.fromkeys((ordered[0], ordered[-1])))


def interval_text(row: Row, share: bool = False) -> str:
    """Return a row's ratio with its interval; a star marks the least and the most of too few rounds.

    Args:
        row: the row.
        share: give the values in per cent.
    """
    value, low, high = speed(row)
    star = "" if row["rounds"] >= ENOUGH else "*"
    if share:
        return f"{100 * value:.3g} % ({100 * low:.3g}–{100 * high:.3g}){star}"
    return f"{value:.2f} ({low:.2f}–{high:.2f}){star}"


def footnote(rows: list[Row]) -> list[str]:
    """Return the lines that explain the star, if a row has one."""
    few = any(row["rounds"] < ENOUGH for row in rows)
    return ["", f"\\* least and most of fewer than {ENOUGH} rounds."] * few


def best_peer(group: list[Row]) -> Row | None:
    """Return the row of the fastest peer of a comparison."""
    peers = [row for row in group if row["peer"] not in (ZOO, FLOOR, COMPILED)]
    return min(peers, key=lambda row: row["ratio"], default=None)


def of_peer(group: list[Row], name: str) -> Row | None:
    return next((row for row in group if row["peer"] == name), None)


def lines(rows: list[Row]) -> list[str]:
    """Return the lines of the table of one machine kind."""
    text = [f"| {' | '.join(COLUMNS)} |", "|---|---|---:|---:|---|---:|---|---:|---:|---|"]
    for (case, task, batch), group in grouped(rows).items():
        best, floor, fast = best_peer(group), of_peer(group, FLOOR), of_peer(group, COMPILED)
        others = sorted(
            (row for row in group if row is not best and row["peer"] not in (ZOO, FLOOR, COMPILED)),
            key=lambda row: row["ratio"],
        )
        cells = [
            case,
            task,
            str(batch),
            f"{statistics.median(row['zoo_ms'] for row in group):.3g}",
            best["peer"] if best else "–",
            interval_text(best) if best else "–",
            ", ".join(f"{row['peer']} {row['ratio']:.2f}" for row in others) or "–",
            f"{100 * floor['ratio']:.0f} %" if floor else "–",
            interval_text(fast) if fast else "–",
            notes(group) or "–",
        ]
        text.append(f"| {' | '.join(cells)} |")
    return text


def notes(group: list[Row]) -> str:
    """Return what else is to be known of a comparison: the work of networks of unlike sizes."""
    return "; ".join(
        f"multiplications: zoo {row['zoo_multiplications']:.3g}, "
        f"{row['peer']} {row['peer_multiplications']:.3g}"
        for row in group
        if "peer_multiplications" in row and row["peer"] != FLOOR
    )


def table(rows: list[Row], missing: list[Row]) -> str:
    """Return the Markdown tables of all rows, one for each machine kind, and the peers that are missing."""
    text: list[str] = []
    for found in machines(rows).values():
        text += [conditions(found), "", *lines(found), ""]
    if few := footnote(rows):
        text += [*few[1:], ""]
    batches: dict[tuple[str, str, str, str], list[int]] = {}
    for row in missing:
        where = (str(machine(row)), row["case"], row["peer"], row["reason"])
        batches.setdefault(where, []).append(row["batch"])
    for (kind_text, case, peer, reason), sizes in batches.items():
        sizes_text = ", ".join(map(str, sorted(sizes)))
        text.append(f"- {case}, batch {sizes_text}: {peer} is not measured: {reason} ({kind_text})")
    return "\n".join(text).rstrip() + "\n" if text else "Nothing has been measured.\n"


def newest(rows: list[Row]) -> list[Row]:
    """Return the rows of the machine kind that was measured last."""
    return next(iter(machines(rows).values()), [])


def best(rows: list[Row]) -> str:
    """Return the Markdown table of the fastest peer's time by zoo's, of the machine kind measured last.

    There is a line for each case. A cell has the least and the most over the batches and the peers that are
    the fastest; it is bold where the interval of a batch is below 1: there a peer is faster.
    """
    shown = newest(rows)
    if not shown:
        return "Nothing has been measured.\n"
    cases: dict[str, dict[str, list[Row]]] = {}
    for (case, task, _), group in grouped(shown).items():
        if (row := best_peer(group)) is not None:
            cases.setdefault(case, {}).setdefault(task, []).append(row)
    text = ["| case | density | training step | sampling |", "|---|---|---|---|"]
    for case, tasks in cases.items():
        cells = []
        for task in TASKS:
            found = tasks.get(task, [])
            peers = " or ".join(dict.fromkeys(row["peer"] for row in found))
            ratios = [row["ratio"] for row in found]
            ends = " to ".join(dict.fromkeys(f"{end(ratios):.3g}" for end in (min, max) if ratios)) or "–"
            slower = any(row["interval"][1] < 1 for row in found)
            cells.append(f"{f'**{ends}**' if slower else ends} {peers}".rstrip())
        text.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join([conditions(shown), "", *text]) + "\n"


def aims(rows: list[Row]) -> str:
    """Return the Markdown table of the aims, and of what the machine kind measured last reaches.

    A value is the median. Where the aim lies within its interval, the verdict says so. An aim whose case,
    task and batch has no row is listed as not measured.
    """
    shown = newest(rows)
    groups = grouped(shown)
    text = ["| case | task | batch | measured as | aim | reached | |", "|---|---|---:|---|---:|---:|---|"]
    used: list[Row] = []
    for aim in AIMS:
        sizes = aim.batches or sorted({b for case, task, b in groups if (case, task) == (aim.case, aim.task)})
        for batch in sizes or ("any",):
            group = groups.get((aim.case, aim.task, batch), []) if isinstance(batch, int) else []
            row = (
                best_peer(group)
                if aim.unit == PEER
                else of_peer(group, COMPILED if aim.unit == BY_COMPILING else FLOOR)
            )
            unit, aimed = UNITS[aim.unit], _value(aim.least, aim.unit)
            if row is None:
                reached, verdict = "–", "not measured"
            else:
                reached = interval_text(row, aim.unit == "share")
                used.append(row)
                verdict = _verdict(row, aim.least)
                unit += f" ({row['peer']})" if aim.unit == PEER else ""
            text.append(
                f"| {aim.case} | {NAMES[aim.task]} | {batch} | {unit} | {aimed} | {reached} | {verdict} |"
            )
    head = [conditions(shown), ""] if shown else []
    return "\n".join([*head, *text, *footnote(used)]) + "\n"


def _verdict(row: Row, least: float) -> str:
    """Return in words whether a row reaches the speed ``least``, and whether its error leaves that open."""
    value, low, high = speed(row)
    word = "reached" if value >= least else "**missed**"
    return f"{word}, within the error" if low < least <= high else word


def _value(value: float, unit: str) -> str:
    return f"{100 * value:.0f} %" if unit == "share" else f"{value:g}"


def figure(rows: list[Row]) -> Figure:
    """Return a figure of the rows of one machine kind: a panel for each case, a line for each task and batch.

    Contestants differ in the shape of their marks as well as in colour, and lie above each other in a line.
    """
    from matplotlib.figure import Figure

    shown = newest(rows)
    if not shown:
        return Figure(figsize=(12, 1))
    cases: dict[str, list[Row]] = {}
    for row in shown:
        cases.setdefault(row["case"], []).append(row)
    heights = {case: len(grouped(found)) for case, found in cases.items()}
    columns = _columns(heights)
    tallest = max((sum(heights[case] + 2 for case in column) for column in columns), default=4)
    picture = Figure(figsize=(12, 1.6 + 0.3 * tallest), layout="constrained")
    names = sorted({row["peer"] for row in shown} - {FLOOR, COMPILED})
    styles = {name: (f"C{i}", MARKS[i % len(MARKS)]) for i, name in enumerate(names)}
    styles |= {FLOOR: ("black", "|"), COMPILED: ("0.45", "s")}
    values = [end for row in shown for end in row["interval"] if end > 0] or [0.5, 2.0]
    limits = (min(values) / 1.3, max(values) * 1.3)
    for part, column in zip(picture.subfigures(1, len(columns), squeeze=False)[0], columns, strict=True):
        panels = part.subplots(
            len(column),
            1,
            sharex=True,
            squeeze=False,
            gridspec_kw={"height_ratios": [heights[c] + 1 for c in column]},
        )
        for axes, case in zip(panels[:, 0], column, strict=True):
            _panel(axes, case, cases[case], styles)
            axes.set_xlim(*limits)
        panels[-1, 0].set_xlabel("time of a contestant by zoo's (above 1: zoo is faster)")
    handles = [
        _handle(colour, mark, "bare arithmetic" if name == FLOOR else name)
        for name, (colour, mark) in styles.items()
        if name in names or any(row["peer"] == name for row in shown)
    ]
    picture.legend(handles=handles, loc="outside upper center", ncols=min(6, len(handles) or 1), fontsize=9)
    picture.supxlabel(conditions(shown), fontsize=8, wrap=True)
    return picture


def save(picture: Figure, path: Path) -> None:
    """Write a figure as SVG whose text stays text; equal figures are equal files."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "zoo"}):
        picture.savefig(path, metadata={"Date": None})


def _columns(heights: dict[str, int]) -> list[list[str]]:
    """Return the cases in two columns of about equal height, in their order."""
    total, passed = sum(heights.values()), 0
    columns: list[list[str]] = [[], []]
    for case, height in heights.items():
        columns[passed >= total / 2].append(case)
        passed += height
    return [column for column in columns if column]


def _panel(axes: Axes, case: str, rows: list[Row], styles: dict[str, tuple[str, str]]) -> None:
    groups = list(grouped(rows).items())
    last = None
    for place, ((_, task, _), group) in enumerate(groups):
        if last not in (None, task):
            axes.axhline(place - 0.5, color="0.6", linewidth=0.6)
        last = task
        shift = 0.6 / max(len(group) - 1, 1)
        for index, row in enumerate(group):
            colour, mark = styles[row["peer"]]
            height = place - 0.3 + index * shift if len(group) > 1 else place
            axes.plot(row["interval"], [height, height], color=colour, linewidth=1)
            axes.plot(row["ratio"], height, mark, color=colour, markersize=5, fillstyle=_fill(row["peer"]))
    axes.axvline(1, color="0.3", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="x", which="both", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_yticks(
        range(len(groups)), [f"{NAMES[task]}, {batch}" for (_, task, batch), _ in groups], fontsize=8
    )
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_title(case, loc="left", fontsize=9, fontweight="bold")


def _fill(peer: str) -> Literal["none", "full"]:
    return "none" if peer == COMPILED else "full"


def _handle(colour: str, mark: str, label: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=mark, linestyle="", label=label, fillstyle=_fill(label))
