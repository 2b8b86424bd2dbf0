"""Functions shared by the claims about sharp samples."""

from __future__ import annotations

import statistics

from zoo.comparison.claims.measure import LEAST, SHARPNESS
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.statistics import LEVEL
from zoo.comparison.studies import Study

TEST = f"one-sample t of log sharpness against 0, two-sided at {LEVEL:.0%}, at least {LEAST} seeds"


def sharpness_panel(study: Study) -> Dots:
    """Return the panel of every model's sharpness, the sharpest first, with a line for real images."""
    known = [(group, values) for group in study.baselines() if (values := SHARPNESS.of(group))]
    known.sort(key=lambda item: -statistics.fmean(item[1]))
    groups, samples = [group for group, _ in known], [values for _, values in known]
    return Dots("sharpness (real images: 1)", rows(groups, samples), line=1.0)
