"""A forest of the effects that decide the ledger's claims: factors with 95 % intervals, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zoo.comparison.claims import decide
from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, Part
from zoo.comparison.claims.panels import Dots
from zoo.comparison.figures.paper.look import GREY, RULE, canvas, plain_text, plain_ticks, wrapped
from zoo.comparison.studies import Study

LOOKS = {SUPPORTED: ("o", "#0072B2", True), REFUTED: ("o", "#D55E00", False)}
LINE, BELOW = 0.135, 0.42  # inches: of a row, and of the axis below
# Shares of the figure's width: the left ends of the axis, of the sentences and of the labels, and the space
# that a text keeps to its right, since letters are not equally wide in all formats.
LEFT, HEAD, LABEL, GAP = 0.47, 0.01, 0.03, 0.02
CLEAR = {"facecolor": "white", "pad": 0.3, "linewidth": 0}
OTHER = ("D", "#9a9a9a", True)


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
    space = BELOW + LINE * len(below)
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
    looks = "" if narrow else "  (filled: for it, hollow: against it, grey: undecided)"
    for at, line in enumerate(reversed(below)):
        figure.text(HEAD, (0.05 + LINE * at) / height, plain_text(line), fontsize=6.3, color=GREY)
    axis.set_xlabel(f"factor with its 95 % interval{looks}", fontsize=6.5)
    return figure


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
    """Return what was measured: two groups and their quantity, or the sentence up to its first number."""
    if isinstance(part.panel, Dots) and len(part.panel.rows) == 2:
        (first, _, _), (second, _, _) = part.panel.rows
        quantity = part.panel.axis.partition(" (")[0].removesuffix(" of one sample")
        return f"{quantity}: {first} / {second}"
    sentences = part.sentence.split(". ")
    sentence = next((one for one in sentences if " times" in one), sentences[0])
    head, colon, _ = sentence.partition(":")
    if colon and not any(character.isdigit() for character in head):
        return head
    words = sentence.split()
    digits = [any(character.isdigit() for character in word) for word in words]
    return " ".join(words[: digits.index(True)]) + " …" if any(digits) else part.sentence


def _row(axis: Any, place: float, part: Part) -> None:
    assert part.outcome is not None
    shape, shade, filled = LOOKS.get(part.verdict, OTHER)
    axis.plot((part.outcome.low, part.outcome.high), (place, place), color=shade, linewidth=1.2, zorder=2)
    axis.plot(
        part.outcome.estimate, place, shape, color=shade, markersize=4, markeredgewidth=1.0, zorder=3,
        markerfacecolor=shade if filled else "white",
    )  # fmt: skip
