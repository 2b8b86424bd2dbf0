"""Figures for papers: one style, sized for a column or a page, readable in grey and by the colour-blind.

Text stays text in PDF and SVG files. Families differ in colour and in marker.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.figures.style import save_svg
from zoo.comparison.studies import Study, named, studies
from zoo.errors import ZooError

# name: what it shows. Each is the module of this package that has a function ``draw``.
KINDS = {
    "slide": "the measured slide: a row for each family, a column for each question",
    "pareto": "distance to the data against the time of one sample, with the front",
    "samples": "samples of each model beside real examples",
    "curves": "validation against updates: mean and range over seeds",
    "speed": "time of one sample, and of one in the best batch",
    "densities": "densities of models on the plane beside the data",
    "tuning": "expected best of k configurations, by family",
    "claims": "the measured effects behind the ledger's claims",
}
WIDTHS = {"column": 3.25, "page": 6.75}  # inches
SUFFIXES = (".pdf", ".png", ".svg")
DOTS = 300  # an inch, of a PNG file
RULES: Any = {
    "font.size": 7.5, "axes.titlesize": 8, "axes.labelsize": 7.5, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "legend.frameon": False, "axes.linewidth": 0.6, "lines.linewidth": 1.2,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.minor.width": 0.4, "ytick.minor.width": 0.4,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "pdf.fonttype": 42,
    "svg.fonttype": "none", "svg.hashsalt": "zoo", "font.sans-serif": ["DejaVu Sans"],
}  # fmt: skip


def make(kind: str, runs: Sequence[Run], file: Path, width: str = "column", data: str | None = None) -> Path:
    """Draw a figure into a file and return its path.

    Args:
        kind: one of :data:`KINDS`.
        runs: of any data.
        file: ``.pdf``, ``.png`` or ``.svg``.
        width: ``column`` or ``page``.
        data: name or label of the data set to show; None: the one that shows most.

    Raises:
        ZooError: an unknown kind, width, suffix or data set, or the runs have no values for the figure.
    """
    import matplotlib

    if kind not in KINDS:
        raise ZooError(f"There is no figure '{kind}'; the figures are {', '.join(KINDS)}.")
    if width not in WIDTHS:
        raise ZooError(f"--width is {' or '.join(WIDTHS)}; got '{width}'.")
    if file.suffix not in SUFFIXES:
        raise ZooError(f"-o takes a file that ends in {', '.join(SUFFIXES)}; got '{file}'.")
    module = importlib.import_module(f"{__name__}.{kind}")
    draw: Callable[[Sequence[Study], float], Any] = module.draw
    with matplotlib.rc_context(RULES):
        figure = draw(chosen(studies(named(runs)), data), WIDTHS[width])
        if figure is None:
            raise ZooError(f"The records have no values for the figure '{kind}': {KINDS[kind]}.")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".svg":
            save_svg(figure, file)
        elif file.suffix == ".pdf":
            figure.savefig(file, metadata={"CreationDate": None})
        else:
            figure.savefig(file, dpi=DOTS)
    return file


def chosen(every: Sequence[Study], data: str | None) -> list[Study]:
    """Return the studies of a data set, or all.

    Raises:
        ZooError: no study is of that data set.
    """
    if data is None:
        return list(every)
    studies = [study for study in every if data in (study.data, study.label, study.title)]
    if not studies:
        known = ", ".join(dict.fromkeys(study.title for study in every))
        raise ZooError(f"No run is on the data set '{data}'; the records have {known}.")
    return studies
