"""The measured slide: one row a family, one panel a question, numbers with 95 % intervals and verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zoo.comparison.figures.paper.look import GREY, canvas, plain_text, wrapped
from zoo.comparison.slide import Slide, slide
from zoo.comparison.slide.questions import QUESTIONS, Question
from zoo.comparison.statistics import MARGIN
from zoo.comparison.studies import Study

TITLES: dict[Question, str] = {
    "parallel": "parallel?", "sharp": "sharp?", "stable": "stable?", "density": "density?",
}  # fmt: skip
AXES: dict[Question, str] = {  # the axis of the density has the unit of its cells
    "parallel": "steps / dimensions",
    "sharp": "sharpness / real",
    "stable": "factor between seeds",
}
REACH: dict[Question, tuple[float, float]] = {"sharp": (0.4, 2.5), "stable": (1.0, 4.0)}  # of a panel
TICKS = (1, 1 / MARGIN, MARGIN, 0.5, 2, 0.3, 4, 10)  # of sharpness, the most telling first
APART = 0.21  # inches between two ticks, so that their labels do not touch
NAMES = 1.05  # inches of the families' names
# verdict: filled, colour, marker. Filled is yes, hollow is no, grey is everything between.
LOOKS = {
    "yes": (True, "#0072B2", "o"),
    "no": (False, "#D55E00", "o"),
    "undecided": (True, "#9a9a9a", "D"),
    "bound": (True, "#9a9a9a", "<"),
    "estimate": (True, "#9a9a9a", "s"),
    "solver": (True, "#9a9a9a", "^"),
}
WORDS = {"bound": "≤ bound", "estimate": "≈ estimate", "solver": "set by its solver"}  # else the verdict


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study that answers most questions; None without one."""
    measured = slide(studies)
    if measured is None:
        return None
    narrow = width < 5
    rows = 2 if narrow else 1
    height = rows * (0.62 + 0.19 * len(measured.rows)) + 0.6
    figure = canvas(width, height)
    axes = figure.subplots(rows, len(QUESTIONS) // rows, sharey=True, squeeze=False).flatten()
    for axis, question in zip(axes, QUESTIONS, strict=True):
        _panel(axis, measured, question, (width - NAMES) * rows / len(QUESTIONS) - 0.15)
    for axis in axes[:: len(QUESTIONS) // rows]:
        axis.set_yticks(range(len(measured.rows)), [row.family for row in measured.rows])
    sentences = [measured.about, _line_text(measured)]
    if any(cell.lost for row in measured.rows for cell in row.cells.values()):
        sentences.append("stable? also counts lost runs; the interval is of the others")
    lines = [line for sentence in sentences for line in wrapped(plain_text(sentence), width - 0.2, 8)]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=8)
    _legend(figure, narrow)
    return figure


def _line_text(made: Slide) -> str:
    """Return what the line through each point shows, in words."""
    one = made.rows and all(row.seeds == 1 for row in made.rows)
    return "line: standard error of the evaluation" if one else "line: 95 % interval"


def _panel(axis: Any, made: Slide, question: Question, room: float) -> None:
    axis.set_title(TITLES[question], fontweight="bold", loc="left")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    scale = 1.0
    for place, row in enumerate(made.rows):
        cell = row.cells[question]
        axis.axhline(place, color="#e6e6e6", linewidth=0.5, zorder=0)
        if cell.verdict == "not measured" or cell.value is None:
            text = "none" if question == "density" and cell.verdict == "no" else cell.lost or "not measured"
            axis.annotate(
                text, (0.03, place), xycoords=("axes fraction", "data"), va="center", color=GREY, fontsize=6.5
            )
            continue
        if cell.lost:
            spot = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "center"}
            axis.annotate(cell.lost, (1.0, place - 0.42), color="#1c2024", fontsize=6, zorder=4, **spot)
        if question == "parallel":
            scale = float(cell.short.rpartition("/")[2].replace(",", ""))
        value = cell.value / scale
        filled, shade, shape = LOOKS[cell.verdict]
        least, most = REACH.get(question, (-math.inf, math.inf))
        if cell.low is not None and cell.high is not None:
            ends = [min(max(end, least), most) for end in (cell.low, cell.high)]
            axis.plot(ends, (place, place), color=shade, linewidth=1.2, solid_capstyle="butt", zorder=2)
        elif cell.error is not None:
            ends = [min(max(end, least), most) for end in (value - cell.error, value + cell.error)]
            axis.plot(ends, (place, place), color=shade, linewidth=0.6, solid_capstyle="butt", zorder=2)
        if not least <= value <= most:
            _beyond(axis, place, value, most if value > most else least, shade)
            continue
        axis.plot(
            value, place, shape, color=shade, markerfacecolor=shade if filled else "white", markersize=4.5,
            markeredgewidth=1.1, zorder=3,
        )  # fmt: skip
    axis.set_ylim(len(made.rows) - 0.5, -0.5)
    units = dict.fromkeys(cell.unit for row in made.rows if (cell := row.cells[question]).unit)
    axis.set_xlabel(AXES.get(question) or plain_text(", ".join(units)))
    if question == "parallel":
        axis.set_xscale("log")
    axis.margins(x=0.08)
    if question == "parallel":
        low, high = (math.log10(end) for end in axis.get_xlim())
        powers = [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)]
        axis.set_xticks(powers, [f"{power:g}" for power in powers])
    if question == "sharp":
        axis.set_xscale("log")
        axis.axvspan(1 / MARGIN, MARGIN, color="#0072B2", alpha=0.09, linewidth=0)
        low, high = axis.get_xlim()
        shown = ticks_of(low, high, room)
        axis.set_xticks(shown, [f"{tick:g}" for tick in shown])
        axis.minorticks_off()
    if question == "stable":
        axis.axvspan(1, MARGIN, color="#0072B2", alpha=0.09, linewidth=0)
        axis.set_xlim(left=0.98)


def _beyond(axis: Any, place: float, value: float, edge: float, shade: str) -> None:
    """Draw an arrow at the edge of a panel for a value beyond it, with the value."""
    right = value > edge
    axis.plot(edge, place, ">" if right else "<", color=shade, markersize=4.5, zorder=3)
    axis.annotate(
        f"{value:.3g}", (edge, place), xytext=(-5 if right else 5, 0), textcoords="offset points",
        va="center", ha="right" if right else "left", fontsize=6.5, color=shade, zorder=4,
        bbox={"facecolor": "white", "pad": 0.4, "linewidth": 0},
    )  # fmt: skip


def ticks_of(low: float, high: float, room: float) -> list[float]:
    """Return the ticks of a logarithmic axis of ratios, as many of :data:`TICKS` as do not run together.

    Args:
        low, high: the ends of the axis.
        room: its length in inches.

    >>> ticks_of(0.7, 1.45, 1.0), ticks_of(0.35, 3.0, 1.0)
    ([0.8, 1, 1.25], [0.5, 1, 2])
    """
    shown: list[float] = []
    for tick in TICKS:
        apart = (abs(math.log(tick / other)) / math.log(high / low) * room for other in shown)
        if low <= tick <= high and all(distance >= APART for distance in apart):
            shown.append(tick)
    return sorted(shown)


def _legend(figure: Any, narrow: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=shape, color=shade, markersize=4.5, markeredgewidth=1.1,
               markerfacecolor=shade if filled else "white", label=WORDS.get(verdict, verdict))
        for verdict, (filled, shade, shape) in LOOKS.items()
    ]  # fmt: skip
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3 if narrow else 6,
        handletextpad=0.1,
        columnspacing=1.2,
    )
