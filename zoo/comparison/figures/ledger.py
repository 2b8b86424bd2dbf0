"""The figures of the claims ledger: one for each claim, with the values behind its measurements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.comparison.claims.decision import Decision
from zoo.comparison.claims.panels import Dots, Lines, Panel, Scatter
from zoo.comparison.figures.style import COLOURS, INK, PAPER, STYLE, canvas, plain_text, save_png, save_svg

PANELS = 3  # in the figure of one claim, at most
MARKERS = "osD^v<>P"


def draw(decisions: Sequence[Decision], out: Path) -> dict[str, Path]:
    """Draw the decisions that have panels; return the PNG file of each by the decision's name.

    An SVG file of the same name lies beside each PNG file.
    """
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
                draw_panel(axis, panel)
            file = out / f"{decision.name}.png"
            save_png(figure, file, 160)
            save_svg(figure, file.with_suffix(".svg"))
            drawn[decision.name] = file
    return drawn


def draw_panel(axis: Any, panel: Panel) -> None:
    """Draw a panel on matplotlib axes."""
    match panel:
        case Dots():
            _draw_dots(axis, panel)
        case Lines():
            _draw_lines(axis, panel)
        case Scatter():
            _draw_scatter(axis, panel)
    axis.grid(alpha=0.25)


def _draw_dots(axis: Any, panel: Dots) -> None:
    for row, (_, family, values) in enumerate(panel.rows):
        style = {"s": 20, "color": _colour(family), "alpha": 0.8, "edgecolors": PAPER, "zorder": 3}
        axis.scatter(values, [row] * len(values), **style)
        axis.plot([statistics.fmean(values)] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.4, zorder=4)
    if panel.line is not None:
        axis.axvline(panel.line, color="#888888", linestyle="--", linewidth=1)
    if panel.log:
        _set_log_scale(axis.set_xscale, [value for _, _, values in panel.rows for value in values], 4)
    labels = [plain_text(label) for label, _, _ in panel.rows]
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set(xlabel=plain_text(panel.axis), ylim=(len(labels) - 0.5, -0.5))
    axis.xaxis.label.set_fontsize(8)


def _draw_lines(axis: Any, panel: Lines) -> None:
    for index, (label, family, x, y) in enumerate(panel.curves):
        style = {"color": _colour(family), "marker": MARKERS[index % len(MARKERS)]}
        axis.loglog(x, y, label=plain_text(label), markersize=4, linewidth=1.2, **style)
    axis.set(xlabel=panel.x, ylabel=panel.y)
    axis.legend(fontsize=6, edgecolor="none", loc="upper left", bbox_to_anchor=(1, 1))


def _draw_scatter(axis: Any, panel: Scatter) -> None:
    for label, family, x, y in panel.points:
        axis.scatter([x], [y], s=26, color=_colour(family), edgecolors=PAPER, zorder=3)
        axis.annotate(plain_text(label), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=6.5)
    _set_log_scale(axis.set_xscale, [x for _, _, x, _ in panel.points], 8)
    _set_log_scale(axis.set_yscale, [y for _, _, _, y in panel.points], 8)
    axis.margins(x=0.2)
    axis.set(xlabel=plain_text(panel.x), ylabel=plain_text(panel.y))


def _set_log_scale(set_scale: Any, values: Sequence[float], factor: float) -> None:
    """Make an axis logarithmic if its values are positive and span more than a factor."""
    if values and min(values) > 0 and max(values) > factor * min(values):
        set_scale("log")


def _colour(family: str) -> str:
    return COLOURS.get(family, "#999999")
