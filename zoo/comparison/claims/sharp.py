"""Functions shared by the claims about sharp samples."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import Variant, Verdict
from zoo.comparison.claims.measure import SHARPNESS, failed
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.robustness import ANOTHER_TEST, SEED_OUT
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


def sharpness_variants(group: Group, metric: str, verdict: Callable[[Outcome], Verdict]) -> list[Variant]:
    """Return other tests of a model's sharpness against that of real images, which is 1.

    The first tests the values instead of their logarithms; the others leave out each seed in turn. All
    include the error of the real images' sharpness, as the deciding test does.

    Args:
        group: the model.
        metric: name of the sharpness in the records.
        verdict: returns the verdict that follows from the result of a test.
    """
    values, error = group.values(metric_value(metric)), sharpness_error(group, metric)
    if len(values) < LEAST_SEEDS:
        return []
    raw = tests.mean_of(values, 1.0, shared=[error * statistics.fmean(values) ** 2])
    found = [("raw values", raw, ANOTHER_TEST)]
    for run in group.finished:
        rest = Group(group.model, [one for one in group.finished if one is not run], group.label)
        if len(rest.values(metric_value(metric))) > 1:
            found.append((SEED_OUT, sharpness_of(rest, metric), ""))
    return [Variant(name, one, "lower", kind, verdict(one)) for name, one, kind in found]


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
