"""Figures of runs: samples beside real data, densities, learning curves, speed against quality and batch.

Each is a function from runs to a matplotlib figure, or None if the runs have no values for it.
Matplotlib is imported when the first figure is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.configurations import family_rank
from zoo.comparison.figures.batches import sampling_vs_batch
from zoo.comparison.figures.lines import clock, curves
from zoo.comparison.figures.maps import densities
from zoo.comparison.figures.speed import speed_vs_quality
from zoo.comparison.figures.style import STYLE, save_png, save_svg
from zoo.comparison.figures.tiles import samples
from zoo.comparison.studies import named

FIGURES: dict[str, Callable[[Sequence[Run]], Any]] = {
    "samples": samples,
    "densities": densities,
    "speed_vs_quality": speed_vs_quality,
    "sampling_vs_batch": sampling_vs_batch,
    "curves": curves,
    "clock": clock,
}
PIXELS = ("samples", "densities")  # figures made of pixels, for which SVG has no advantage


def draw(runs: Sequence[Run], out: Path) -> dict[str, Path]:
    """Draw into ``out`` every figure that the finished runs allow; return the PNG files by name."""
    import matplotlib

    finished = sorted(
        (run for run in named(runs) if run.record.status == "finished"),
        key=lambda run: (family_rank(run.record.family), run.record.model, run.record.seed),
    )
    files = {}
    with matplotlib.rc_context(STYLE):
        for name, make in FIGURES.items():
            figure = make(finished)
            if figure is None:
                continue
            files[name] = out / f"{name}.png"
            save_png(figure, files[name], 140 if name in PIXELS else 100)  # the SVG file is there for details
            if name not in PIXELS:
                figure.set_layout_engine("none")  # keeps the layout of the PNG file
                save_svg(figure, out / f"{name}.svg")
    return files
