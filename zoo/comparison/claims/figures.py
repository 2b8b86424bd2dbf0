"""One small figure for each claim: the values behind it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.comparison.claims.ledger import Decision, Dots, Lines, Panel, Scatter
from zoo.comparison.figures import COLOURS, INK, PAPER, STYLE, canvas, plain_text, save_png, save_svg

PANELS = 3  # of one claim, at most


def draw(decisions: Sequence[Decision], out: Path) -> dict[str, Path]:
    """Draw those that have something to show, below ``out``; returns ``{name of the decision: PNG file}``."""
    import matplotlib

    drawn = {}
    with matplotlib.rc_context(STYLE):
        for decision in decisions:
            panels = [part.panel for part in decision.parts if part.panel is not None][:PANELS]
            if not panels:
                continue
            out.mkdir(parents=True, exist_ok=True)
            tall = max(0.5 + 0.26 * len(p.rows) if isinstance(p, Dots) else 2.6 for p in panels)
            wide = sum(4.7 if isinstance(p, Lines) else 3.7 for p in panels)
            figure = canvas(wide, max(1.5, tall))
            for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
                _show(axis, panel)
            file = out / f"{name(decision)}.png"
            save_png(figure, file, 160)
            save_svg(figure, file.with_suffix(".svg"))
            drawn[name(decision)] = file
    return drawn


def name(decision: Decision) -> str:
    """The decision as a file's name."""
    return re.sub(r"[^\w-]+", "_", f"{decision.claim.key}-{decision.data}-{decision.protocol[:6]}").strip(
        "_-"
    )


def _show(axis: Any, panel: Panel) -> None:
    if isinstance(panel, Dots):
        _dots(axis, panel)
    elif isinstance(panel, Lines):
        for index, (label, family, x, y) in enumerate(panel.curves):
            style = {
                "color": _colour(family),
                "marker": "osD^v<>P"[index % 8],
                "markersize": 4,
                "linewidth": 1.2,
            }
            axis.loglog(x, y, label=plain_text(label), **style)
        axis.set(xlabel=panel.x, ylabel=panel.y)
        axis.legend(fontsize=6, edgecolor="none", loc="upper left", bbox_to_anchor=(1, 1))
    else:
        _scatter(axis, panel)
    axis.grid(alpha=0.25)


def _dots(axis: Any, panel: Dots) -> None:
    for row, (_, family, values) in enumerate(panel.rows):
        axis.scatter(
            values, [row] * len(values), s=20, color=_colour(family), alpha=0.8, edgecolors=PAPER, zorder=3
        )
        axis.plot([statistics.fmean(values)] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.4, zorder=4)
    if panel.line is not None:
        axis.axvline(panel.line, color="#888888", linestyle="--", linewidth=1)
    seen = [v for _, _, values in panel.rows for v in values]
    if panel.log and min(seen) > 0 and max(seen) > 4 * min(seen):
        axis.set_xscale("log")
    labels = [plain_text(label) for label, _, _ in panel.rows]
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set(xlabel=plain_text(panel.axis), ylim=(len(labels) - 0.5, -0.5))
    axis.xaxis.label.set_fontsize(8)


def _scatter(axis: Any, panel: Scatter) -> None:
    for label, family, x, y in panel.points:
        axis.scatter([x], [y], s=26, color=_colour(family), edgecolors=PAPER, zorder=3)
        axis.annotate(plain_text(label), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=6.5)
    for scale, values in ((axis.set_xscale, [x for _, _, x, _ in panel.points]),
                          (axis.set_yscale, [y for *_, y in panel.points])):  # fmt: skip
        if values and min(values) > 0 and max(values) > 8 * min(values):
            scale("log")
    axis.margins(x=0.2)
    axis.set(xlabel=plain_text(panel.x), ylabel=plain_text(panel.y))


def _colour(family: str) -> str:
    return COLOURS.get(family, "#999999")
