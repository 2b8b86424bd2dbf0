"""A forest of the effects that decide the ledger's claims: factors with 95 % intervals, and the verdicts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from zoo.comparison.claims import decide
from zoo.comparison.claims.evidence import (
    EQUIVALENT,
    REFUTED,
    SUGGESTIVE,
    SUPPORTED,
    UNDECIDED,
    Part,
    Verdict,
)
from zoo.comparison.claims.panels import Dots
from zoo.comparison.figures.paper.look import GREY, RULE, canvas, plain_text, plain_ticks, wrapped
from zoo.comparison.studies import Study

# verdict of a measurement: marker, colour, filling
LOOKS = {
    SUPPORTED: ("o", "#0072B2", "full"),
    REFUTED: ("o", "#D55E00", "none"),
    EQUIVALENT: ("s", "#555555", "none"),
    SUGGESTIVE: ("o", "#0072B2", "bottom"),
    UNDECIDED: ("D", "#9a9a9a", "full"),
}
LINE, BELOW, KEY = 0.135, 0.42, 0.15  # inches: of a row, of the axis below, and of a line of the legend
# Shares of the figure's width: the left ends of the axis, of the sentences and of the labels, and the space
# that a text keeps to its right, since letters are not equally wide in all formats.
LEFT, HEAD, LABEL, GAP = 0.47, 0.01, 0.03, 0.02
RATIOS = tuple(  # the sentences of measurements without a figure of two groups
    map(
        re.compile,
        (
            r"(?P<what>[^:]+) of (?P<first>\S+): [\d.]+ times that of (?P<second>real images)",
            r"Samples of (?P<first>\S+) have [\d.]+ times the (?P<what>\w+) of (?P<second>real images)",
            r"(?P<what>[^:]+): (?P<first>[^,]+?) [\d.,]+ [^,]*, (?P<second>[^,]+?) [\d.,]+ .*times",
        ),
    )
)
CLEAR = {"facecolor": "white", "pad": 0.3, "linewidth": 0}


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of every deciding measurement that is a factor; None without one."""
    runs = [run for study in studies for run in study.runs]
    decisions = decide(runs)
    rows = [(decision, part) for decision in decisions for part in decision.deciding if _is_factor(part)]
    if not rows:
        return None
    narrow = width < 5
    drawn = {decision.claim.key for decision, _ in rows}
    absent = [
        f"{decision.claim.sentence} ({decision.verdict})"
        for decision in decisions
        if decision.claim.key not in drawn and decision.deciding
    ]
    told = f"Decided by other tests than of a factor: {' '.join(dict.fromkeys(absent))}" if absent else ""
    below = wrapped(told, (1 - HEAD - GAP) * width, 6.3)
    verdicts = [verdict for verdict in LOOKS if any(part.verdict == verdict for _, part in rows)]
    columns = 3 if narrow else len(LOOKS)
    space = BELOW + LINE * len(below) + KEY * (1 + math.ceil(len(verdicts) / columns))
    heads = {
        (decision.claim.key, decision.data): wrapped(
            f"{decision.claim.sentence} ({decision.data}: {decision.verdict})",
            (1 - HEAD - GAP) * width,
            6.5,
            "bold",
        )
        for decision, _ in rows
    }
    labels = [wrapped(label_of(part), (LEFT - LABEL - GAP) * width, 6.3) for _, part in rows]
    lines = sum(map(len, labels)) + sum(map(len, heads.values()))
    height = LINE * lines + space
    figure = canvas(width, height, layout=None)
    figure.subplots_adjust(left=LEFT, right=0.97, top=1 - 0.02 / height, bottom=space / height)
    axis = figure.subplots()
    where = ("figure fraction", "data")
    place, seen = 0, set()
    for (decision, part), label in zip(rows, labels, strict=True):
        head = (decision.claim.key, decision.data)
        for line in [] if head in seen else heads[head]:
            text = plain_text(line)
            axis.annotate(
                text, (HEAD, place), xycoords=where, fontsize=6.5, va="center", fontweight="bold", bbox=CLEAR
            )
            place += 1
        seen.add(head)
        for at, line in enumerate(label):
            text = plain_text(line)
            spot = (LABEL, place + at)
            axis.annotate(text, spot, xycoords=where, fontsize=6.3, va="center", color=GREY)
        middle = place + (len(label) - 1) / 2
        axis.axhline(middle, color="#e6e6e6", linewidth=0.5, zorder=0)
        ends = (place - 0.5, place + len(label) - 0.5)  # not behind the sentences
        axis.plot((1, 1), ends, color=RULE, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
        _row(axis, middle, part)
        place += len(label)
    axis.set(xscale="log", ylim=(place - 0.4, -0.7), yticks=[])
    plain_ticks(axis, "x")
    axis.spines["left"].set_visible(False)
    for at, line in enumerate(reversed(below)):
        figure.text(HEAD, (0.05 + LINE * at) / height, plain_text(line), fontsize=6.3, color=GREY)
    axis.set_xlabel("ratio with its 95 % interval", fontsize=6.5)
    _legend(figure, verdicts, columns, (0.03 + LINE * len(below)) / height)
    return figure


def _legend(figure: Any, verdicts: Sequence[Verdict], columns: int, bottom: float) -> None:
    """Write what each look means, above the share ``bottom`` of the figure's height."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="", label=verdict, **_look(verdict)) for verdict in verdicts]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, bottom), ncols=columns, fontsize=6.5,
        title="what each measurement says alone", title_fontsize=6.5,
        handletextpad=0.1, columnspacing=1.0, labelspacing=0.2, borderpad=0, borderaxespad=0,
    )  # fmt: skip


def _look(verdict: Verdict) -> dict[str, Any]:
    """Return the marker of a verdict."""
    shape, shade, filling = LOOKS[verdict]
    face = "white" if filling == "none" else shade
    return {
        "marker": shape, "color": shade, "fillstyle": "bottom" if filling == "bottom" else "full",
        "markerfacecolor": face, "markerfacecoloralt": "white", "markersize": 4, "markeredgewidth": 1.0,
    }  # fmt: skip


def _is_factor(part: Part) -> bool:
    """Whether a measurement is a ratio, with an interval."""
    outcome = part.outcome
    if outcome is None or "log" not in part.test:
        return False
    ends = (outcome.low, outcome.estimate, outcome.high)
    return (
        all(math.isfinite(end) and end > 0 for end in ends)
        and outcome.high < 1e4
        and "slope" not in part.test
    )


def label_of(part: Part) -> str:
    """Return a measurement's label, the quantity and the two sides, such as ``sharpness: vae / gan``.

    Where the two sides are not known, it is the beginning of the measurement's sentence, up to the colon.
    """
    if isinstance(part.panel, Dots) and len(part.panel.rows) == 2:
        (first, _, _), (second, _, _) = part.panel.rows
        return _ratio(part.panel.axis.partition(" (")[0], first, second)
    for sentence in part.sentence.split(". "):
        for pattern in RATIOS:
            if found := pattern.match(sentence):
                return _ratio(found["what"], found["first"], found["second"])
    head, _, _ = part.sentence.partition(":")
    return head


def _ratio(what: str, first: str, second: str) -> str:
    """Return a quantity with the two things whose ratio is drawn."""
    if what.startswith(("fd/", "fid/")):
        what = "Fréchet distance"
    else:
        what = what[:1].lower() + what[1:].removesuffix(" of one sample")
    return f"{what}: {first} / {second}"


def _row(axis: Any, place: float, part: Part) -> None:
    assert part.outcome is not None
    _, shade, _ = LOOKS[part.verdict]
    axis.plot((part.outcome.low, part.outcome.high), (place, place), color=shade, linewidth=1.2, zorder=2)
    axis.plot(part.outcome.estimate, place, zorder=3, **_look(part.verdict))
