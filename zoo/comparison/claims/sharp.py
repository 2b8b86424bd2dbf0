"""Functions shared by the claims about sharp samples."""

from __future__ import annotations

import statistics

from zoo.comparison import statistics as tests
from zoo.comparison.claims.measure import SHARPNESS, failed
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.wording import share_text
from zoo.comparison.configurations import Group
from zoo.comparison.groups import sharpness_error
from zoo.comparison.quantities import metric_value
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, Outcome
from zoo.comparison.studies import Study

TEST = f"one-sample t of log sharpness against 0, two-sided at {LEVEL:.0%}, at least {LEAST_SEEDS} seeds"


def sharpness_of(group: Group, metric: str = "sharpness") -> Outcome:
    """Return a model's sharpness, the geometric mean over its seeds, with its test against real images.

    The sharpness of real images is 1. All seeds are compared with the same real images; the error of these,
    which the spread over seeds does not show, is part of the interval.
    """
    return tests.ratio(
        tests.mean_of, group.values(metric_value(metric)), shared=[sharpness_error(group, metric)]
    )


def lost_text(group: Group, metric: str = "sharpness") -> str:
    """Return how many runs have no sharpness, since they failed, as a sentence; empty if none did."""
    lost = len(failed(group, metric_value(metric)))
    return f" Without a value, since they failed: {share_text(lost, len(group.runs))}." if lost else ""


def sharpness_panel(study: Study) -> Dots:
    """Return the panel of every model's sharpness, the sharpest first, with a line for real images."""
    known = [(group, values) for group in study.baselines() if (values := SHARPNESS.of(group))]
    known.sort(key=lambda item: -statistics.fmean(item[1]))
    groups, samples = [group for group, _ in known], [values for _, values in known]
    return Dots("sharpness (real images: 1)", rows(groups, samples), line=1.0)
