"""The time of one sample alone, and of one in the best batch: a row for each model, 95 % intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from zoo.comparison.configurations import Group
from zoo.comparison.figures.paper.look import (
    RULE,
    baselines_of,
    canvas,
    colour,
    ink,
    marker,
    plain_text,
    plain_ticks,
)
from zoo.comparison.groups import interval
from zoo.comparison.quantities import LATENCY, THROUGHPUT
from zoo.comparison.studies import Study


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study with most timed models; None without any."""
    from matplotlib.lines import Line2D

    study, groups = max(
        ((study, _timed(study)) for study in studies), key=lambda item: len(item[1]), default=(None, [])
    )
    if study is None or not groups:
        return None
    groups = sorted(groups, key=lambda group: statistics.fmean(group.values(LATENCY)))
    figure = canvas(width, 0.9 + 0.15 * len(groups))
    axis = figure.subplots()
    for place, group in enumerate(groups):
        shade = colour(group.family)
        alone = [1e3 * seconds for seconds in group.values(LATENCY)]
        best = [1e3 / speed for speed in group.values(THROUGHPUT) if speed > 0]
        axis.axhline(place, color="#e6e6e6", linewidth=0.5, zorder=0)
        if best:
            axis.plot(
                (statistics.fmean(best), statistics.fmean(alone)),
                (place,) * 2,
                color=RULE,
                linewidth=0.8,
                zorder=1,
            )
        for values, filled in ((alone, True), (best, False)):
            if not values:
                continue
            if (ends := interval(values, logs=True)) is not None:
                axis.plot(
                    ends,
                    (place, place),
                    color=shade,
                    linewidth=1.6,
                    alpha=0.6,
                    zorder=2,
                    solid_capstyle="butt",
                )
            axis.plot(
                statistics.fmean(values), place, marker(group.family), color=shade, markersize=4.5, zorder=3,
                markerfacecolor=shade if filled else "white", markeredgewidth=1.0,
            )  # fmt: skip
    axis.set_yticks(range(len(groups)), [plain_text(group.model) for group in groups])
    for label, group in zip(axis.get_yticklabels(), groups, strict=True):
        label.set_color(ink(group.family))
    axis.set(xscale="log", ylim=(len(groups) - 0.5, -0.5))
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    plain_ticks(axis, "x")
    axis.set_xlabel("time of one sample (ms)")
    handles = [
        Line2D([], [], linestyle="", marker="o", color="#1c2024", markersize=4.5, markeredgewidth=1.0,
               markerfacecolor=face, label=label)
        for face, label in (("#1c2024", "alone"), ("white", "in the best batch"))
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handletextpad=0.1)
    axis.set_title(f"{plain_text(study.title)}{_device(study)}", loc="left")
    return figure


def _timed(study: Study) -> list[Group]:
    return [group for group in baselines_of(study.baselines()) if min(group.values(LATENCY), default=0) > 0]


def _device(study: Study) -> str:
    devices = {run.record.sampling.device for run in study.runs if run.record.sampling.device}
    return f", on {', '.join(sorted(devices))}" if devices else ""
