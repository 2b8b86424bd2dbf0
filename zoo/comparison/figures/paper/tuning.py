"""Expected best distance of k configurations of each family, with the band where it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.configurations import FAMILIES
from zoo.comparison.figures.paper.look import DASHES, canvas, colour, ink, marker, plain_text, plain_ticks
from zoo.comparison.studies import Study
from zoo.comparison.tuning import Effort, efforts

TICKS = (1, 2, 3, 5, 10, 20, 50, 100)  # far enough apart on a logarithmic axis of a column's width


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study with most families that tried four configurations; None without one."""
    study, curves = max(
        ((study, efforts(study)) for study in studies), key=lambda item: len(item[1]), default=(None, [])
    )
    if study is None or not curves or study.quality is None:
        return None
    figure = canvas(width, min(0.72 * width, 3.2))
    axis = figure.subplots()
    axis.set(xscale="log", yscale="log")
    for effort in curves:
        _curve(axis, effort)
    most = max(effort.k[-1] for effort in curves)
    ticks = [k for k in TICKS if k <= most]
    axis.set_xlim(0.92, most * 1.08)
    plain_ticks(axis, "y")
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.set_xticks([], minor=True)
    selected = {effort.selected_on for effort in curves}
    axis.set(xlabel="best of k configurations", ylabel=f"{plain_text(study.quality.name)}, expected")
    warning = "\n* selected on test data" if "test" in selected else ""
    axis.set_title(f"{plain_text(study.title)}: 95 % bands up to n/4{warning}", loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=2.2, borderaxespad=0.3)
    for text, effort in zip(axis.get_legend().get_texts(), curves, strict=True):
        text.set_color(ink(effort.family))
    return figure


def _curve(axis: Any, effort: Effort) -> None:
    k, expected = np.array(effort.k), np.array(effort.expected)
    sure = np.isfinite(effort.low)
    shade = colour(effort.family)
    dash = DASHES[FAMILIES.index(effort.family) % len(DASHES)] if effort.family in FAMILIES else "-"
    look = {"color": shade, "marker": marker(effort.family), "markersize": 3.5, "markeredgewidth": 0}
    mark = "" if effort.selected_on == "validation" else "*"
    label = f"{plain_text(effort.family)}, n = {effort.n}{mark}"
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
