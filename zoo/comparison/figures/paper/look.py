"""Colours, markers and dashes of families, and small parts that several figures share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zoo.comparison.configurations import Group, family_rank
from zoo.comparison.figures.style import canvas, colour, plain_text, text_width, wrapped
from zoo.comparison.tables.cells import KIND_WORDS
from zoo.comparison.words import metric_name

GREY, RULE = "#5c5c5c", "#9a9a9a"
LABEL_WIDTH = 1.3  # inches of a point's name, which is continued below
MARKERS = {
    "flow": "o", "continuous flow": "s", "diffusion": "D", "autoregressive": "^", "vae": "v", "gan": "P",
}  # fmt: skip
DASHES: tuple[Any, ...] = (
    "-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (9, 2)), (0, (2.5, 1, 2.5, 3)),
    (0, (5, 1.2, 1.2, 1.2, 1.2, 1.2)), (0, (1.2, 3)),
)  # fmt: skip
# Text on white needs darker colours than areas do (4.5:1 against white).
INKS = {
    "flow": "#005a8c", "continuous flow": "#1f6f9f", "diffusion": "#00664a", "autoregressive": "#8a5a00",
    "vae": "#a03f00", "gan": "#8a3f68",
}  # fmt: skip

__all__ = [
    "DASHES",
    "GREY",
    "INKS",
    "MARKERS",
    "RULE",
    "canvas",
    "colour",
    "label_points",
    "legend",
    "marker",
    "plain_text",
    "plain_ticks",
    "quantity_name",
    "text_width",
    "wrapped",
]


def marker(family: str) -> str:
    """Return the marker of a family."""
    return MARKERS.get(family, "X")


def filling(kind: str, shade: str) -> dict[str, Any]:
    """Return how a marker is filled: full for an exact value, half for a bound and hollow for an estimate."""
    return {
        "color": shade,
        "fillstyle": "bottom" if kind == "lower bound" else "full",
        "markerfacecolor": "white" if kind == "estimate" else shade,
        "markerfacecoloralt": "white",
    }


def ink(family: str) -> str:
    """Return the colour of text about a family."""
    return INKS.get(family, "#1c2024")


def quantity_name(name: str) -> str:
    """Return the name of a quantity as an axis has it.

    >>> quantity_name("fd/digits-cnn"), quantity_name("kl"), quantity_name("energy_distance")
    ('Fréchet distance (digits-cnn)', 'KL (nats)', 'energy distance')
    """
    base, _, features = name.partition("/")
    if base in ("fd", "fid"):
        return f"Fréchet distance ({features or 'Inception'})"
    return metric_name(name)


def legend(figure: Any, families: Sequence[str], columns: int = 3, kinds: Sequence[str] = ()) -> None:
    """Write a legend below a figure: each family's marker in its colour, each kind's filling in grey."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=marker(f),
            color=colour(f),
            markersize=5,
            label=plain_text(f),
        )
        for f in dict.fromkeys(families)
    ]
    handles += [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=5,
            label=KIND_WORDS.get(kind, kind),
            **filling(kind, GREY),
        )
        for kind in kinds
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, handletextpad=0.1, columnspacing=1.0
    )


def label_points(
    axis: Any, points: Sequence[tuple[float, float, str, str]], others: Sequence[tuple[float, float]] = ()
) -> None:
    """Write a name beside each point, where it covers the fewest points and other names; wrap long names.

    Args:
        axis: with its final limits.
        points: x, y, name, family.
        others: x, y of points without a name, which names avoid too.
    """
    figure = axis.figure
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    size = figure.dpi / 72
    names: list[tuple[float, ...]] = []
    marks = [
        (x - 4 * size, y - 4 * size, x + 4 * size, y + 4 * size)
        for x, y in axis.transData.transform([*((x, y) for x, y, _, _ in points), *others])
    ]
    frame = axis.get_window_extent(renderer)
    for x, y, name, family in sorted(points, key=lambda point: point[1]):
        words = "\n".join(wrapped(plain_text(name), LABEL_WIDTH, 6.5))
        text = axis.annotate(words, (x, y), fontsize=6.5, color=ink(family), zorder=6)
        box = text.get_window_extent(renderer)
        px, py = axis.transData.transform((x, y))
        w, h, gap = box.width, box.height, 4.5 * size
        spots = [
            (gap, -h / 2), (-w - gap, -h / 2), (-w / 2, gap), (-w / 2, -h - gap),
            (gap * 0.7, gap * 0.7), (gap * 0.7, -h - gap * 0.7), (-w - gap * 0.7, gap * 0.7),
            (-w - gap * 0.7, -h - gap * 0.7), (-w / 2, 2 * gap + h / 2), (-w / 2, -2 * h - gap),
        ]  # fmt: skip
        boxes = [(px + dx, py + dy, px + dx + w, py + dy + h) for dx, dy in spots]
        costs = [
            2 * sum(_overlap(one, mark) for mark in marks)
            + 4 * sum(_overlap(one, other) for other in names)
            + 3 * _outside(one, frame)
            for one in boxes
        ]
        best = costs.index(min(costs))
        dx, dy = spots[best]
        text.remove()
        axis.annotate(
            words, (x, y), xytext=(dx / size, dy / size), textcoords="offset points",
            fontsize=6.5, color=ink(family), zorder=2.5, annotation_clip=False,  # below the marks
            bbox={"facecolor": "white", "alpha": 0.6, "pad": 0.2, "linewidth": 0},
        )  # fmt: skip
        names.append(boxes[best])


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: tuple[float, ...], frame: Any) -> float:
    inside = _overlap(box, (frame.x0, frame.y0, frame.x1, frame.y1))
    return (box[2] - box[0]) * (box[3] - box[1]) - inside


def plain_ticks(axis: Any, which: str) -> None:
    """Write the ticks of a logarithmic axis as plain numbers: powers of ten, and more where those are few."""
    low, high = getattr(axis, f"get_{which}lim")()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = math.log10(high / low)
    steps: tuple[float, ...] = (1, 1.5, 2, 3, 4, 5, 6, 8)
    if decades > 0.7:
        steps = (1, 2, 5) if decades <= 2.5 else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps]
    shown = [tick for tick in ticks if low <= tick <= high]
    getattr(axis, f"set_{which}ticks")(shown, [f"{tick:,.4g}" for tick in shown])
    minor = [step * 10.0**power for power in powers for step in range(2, 10)]
    minor = [tick for tick in minor if low <= tick <= high]
    getattr(axis, f"set_{which}ticks")(minor, [""] * len(minor), minor=True)


def baselines_of(groups: Sequence[Group]) -> list[Group]:
    """Return groups ordered by family and model."""
    return sorted(groups, key=lambda group: (family_rank(group.family), group.model))
