"""Expected best of k configurations of each family, with the band where it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.configurations import FAMILIES
from zoo.comparison.criterion import criterion_of
from zoo.comparison.figures.marks import MARKS, meanings
from zoo.comparison.figures.paper.look import (
    DASHES,
    canvas,
    colour,
    filling,
    ink,
    marker,
    plain_text,
    plain_ticks,
    quantity_name,
    wrapped,
)
from zoo.comparison.studies import Study
from zoo.comparison.tuning import Effort, efforts

TICKS = (1, 2, 3, 5, 10, 20, 50, 100)  # far enough apart on a logarithmic axis of a column's width


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study with most families that tried four configurations; None without one."""
    study, curves = max(
        ((study, efforts(study)) for study in studies), key=lambda item: len(item[1]), default=(None, [])
    )
    if study is None or not curves or (criterion := criterion_of(study)) is None:
        return None
    figure = canvas(width, min(0.72 * width, 3.2))
    axis = figure.subplots()
    known = [value for effort in curves for value in (*effort.expected, *effort.low) if math.isfinite(value)]
    positive = min(known) > 0
    axis.set(xscale="log", yscale="log" if positive else "linear")
    for effort in curves:
        _curve(axis, effort)
    most = max(effort.k[-1] for effort in curves)
    ticks = [k for k in TICKS if k <= most]
    axis.set_xlim(0.92, most * 1.08)
    if positive:
        plain_ticks(axis, "y")
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.set_xticks([], minor=True)
    selected = {effort.selected_on for effort in curves}
    axis.set(
        xlabel="best of k configurations", ylabel=f"{plain_text(quantity_name(criterion.name))}, expected"
    )
    notes = [f"{study.title}: 95 % bands up to n/4"]
    notes += ["* selected on test data"] * ("test" in selected)
    notes.append(meanings(effort.kind for effort in curves))
    lines = [line for note in notes for line in wrapped(note, width - 0.7, 8)]
    axis.set_title("\n".join(map(plain_text, lines)), loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=2.2, borderaxespad=0.3)
    for text, effort in zip(axis.get_legend().get_texts(), curves, strict=True):
        text.set_color(ink(effort.family))
    return figure


def _curve(axis: Any, effort: Effort) -> None:
    k, expected = np.array(effort.k), np.array(effort.expected)
    sure = np.isfinite(effort.low)
    shade = colour(effort.family)
    dash = DASHES[FAMILIES.index(effort.family) % len(DASHES)] if effort.family in FAMILIES else "-"
    look = {"marker": marker(effort.family), "markersize": 3.5, "markeredgewidth": 0.6}
    look |= filling(effort.kind, shade)
    mark = "" if effort.selected_on == "validation" else "*"
    label = f"{plain_text(effort.family)}{MARKS.get(effort.kind, '')}, n = {effort.n}{mark}"
    axis.fill_between(
        k[sure], np.array(effort.low)[sure], np.array(effort.high)[sure], color=shade, alpha=0.18, linewidth=0
    )
    axis.plot(k[:1], expected[:1], linestyle="-", label=label, **look)
    axis.plot(k[sure], expected[sure], linestyle="-", **look)
    from_here = max(int(sure.sum()) - 1, 0)
    axis.plot(
        k[from_here:],
        expected[from_here:],
        linestyle=dash if dash != "-" else (0, (4, 1.5)),
        **look,
        zorder=1,
    )
