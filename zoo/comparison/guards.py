"""Which models are too far from the data to count as the best at anything but likelihood.

The fastest model of a comparison is often a collapsed GAN, and samples that are all alike have a high
precision. Three rules differ in what they judge:

- :func:`collapsed`: a configuration, beside the best of its study, for its samples or for seeds of a broken
  likelihood. Tables, the decision helper and figures count it as the best of nothing but of what is sound.
- :data:`UNLEARNED`: samples so far from the data that claims and the slide draw no conclusion from them.
- :func:`~zoo.comparison.claims.instability.lost_runs`: single runs that training has lost.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.datasets import dimensions
from zoo.comparison.quantities import BITS_PER_DIM, NLL, Quantity, metric_value
from zoo.comparison.studies import Study

FACTOR = 10.0  # a collapsed model's mean distance is over this many times the least one of the study
FLOORS = 20.0  # and over this many times the floor, the distance of real examples from real ones
LEAST_RECALL = 0.05  # a model with a smaller mean recall has collapsed too
BROKEN = 10.0  # nats per dimension above the study's median: a density e^10 times too thin in each dimension
UNLEARNED = 50.0  # times the floor: a generator at a larger distance has not learned the data


def key_of(group: Group) -> str:
    """Return what identifies a configuration: the hash without the seed, or the name of an unhashed model."""
    return group.runs[0].record.provenance.config_hash_without_seed or group.label


def floor_of(runs: Sequence[Run], metric: str) -> float | None:
    """Return a metric's value for real examples in the samples' place; None if no record has it."""
    metrics = (run.record.metrics.get(metric) for run in runs)
    floors = (metric.details.get("floor") for metric in metrics if metric is not None)
    return next((float(floor) for floor in floors if floor is not None), None)


def collapsed(study: Study, factor: float = FACTOR) -> dict[str, str]:
    """Return why each collapsed configuration of a study is one, by its :func:`key_of`.

    A configuration is collapsed if the mean distance between its samples and the data exceeds
    :func:`distance_limit`, if its mean recall is below :data:`LEAST_RECALL`, or if :func:`broken` says so.
    """
    key = ("collapsed", factor)
    if key not in study.memo:
        study.memo[key] = _collapsed(study, factor)
    known: dict[str, str] = study.memo[key]
    return dict(known)


def broken(study: Study) -> dict[str, str]:
    """Return why the likelihood of a configuration is of no use, by its :func:`key_of`.

    It is if that of a single seed is more than :data:`BROKEN` nats per dimension worse than the median of the
    study's runs: the mean over seeds is then that seed's accident, and no test of means can be trusted.
    """
    if "broken" not in study.memo:
        study.memo["broken"] = _broken(study)
    known: dict[str, str] = study.memo["broken"]
    return dict(known)


def _broken(study: Study) -> dict[str, str]:
    losses = {key_of(group): _nats_per_dimension(group) for group in study.groups}
    every = [loss for values in losses.values() for loss in values]
    if not every:
        return {}
    limit, reasons = statistics.median(every) + BROKEN, {}
    for key, values in losses.items():
        if lost := sum(value > limit for value in values):
            reasons[key] = (
                f"the likelihood of {lost} of {len(values)} seeds is broken: {max(values):.3g} nats per "
                f"dimension where the median of all runs is {limit - BROKEN:.3g}"
            )
    return reasons


def _nats_per_dimension(group: Group) -> list[float]:
    if bits := group.values(BITS_PER_DIM):
        return [value * math.log(2) for value in bits]
    return [value / max(dimensions(group.runs[0]), 1) for value in group.values(NLL)]


def _collapsed(study: Study, factor: float) -> dict[str, str]:
    reasons = broken(study)
    recall = recall_of(study)
    for group in study.groups:
        values = group.values(recall)
        if values and statistics.fmean(values) < LEAST_RECALL:
            reasons[key_of(group)] = (
                f"its recall is {statistics.fmean(values):.2g}: it makes few kinds of samples"
            )
    limit = distance_limit(study, factor)
    if limit is None or study.quality is None:
        return reasons
    for group in study.groups:
        values = group.values(study.quality)
        if values and statistics.fmean(values) > limit:
            reasons[key_of(group)] = (
                f"its {study.quality.name} of {statistics.fmean(values):.3g} is above {limit:.3g}: too far "
                "from the data"
            )
    return reasons


def distance_limit(study: Study, factor: float = FACTOR) -> float | None:
    """Return the largest mean distance that does not count as collapsed; None without positive distances.

    It is ``factor`` times the least mean distance of the study, or :data:`FLOORS` times the distance of real
    examples (the floor) where that is more.
    """
    if study.quality is None:
        return None
    means = [statistics.fmean(values) for group in study.groups if (values := group.values(study.quality))]
    floor = floor_of(study.runs, study.quality.name) or 0.0
    limit = max(factor * min(means, default=0.0), FLOORS * floor)
    return limit if limit > 0 else None


def relative_distance(study: Study, group: Group) -> float:
    """Return a mean distance over that of real examples, the metric's floor; NaN if one is unknown."""
    if study.quality is None:
        return math.nan
    metrics = [run.record.metrics.get(study.quality.name) for run in group.finished]
    floors = [metric.details.get("floor") for metric in metrics if metric is not None]
    known = [floor for floor in floors if floor is not None and floor > 0]
    distances = group.values(study.quality)
    return statistics.fmean(distances) / statistics.fmean(known) if known and distances else math.nan


def recall_of(study: Study) -> Quantity | None:
    """Return the recall of the data by the samples, of whatever feature extractor; None if no run has it."""
    names = {name for run in study.runs for name in run.record.metrics if name.partition("/")[0] == "recall"}
    return metric_value(min(names), direction="higher") if names else None
