"""Which runs have collapsed, and so which models cannot count as the best at anything but likelihood.

The fastest model of a comparison is often a collapsed GAN, samples that are all alike have a high precision,
and a mean over seeds hides the one that has collapsed. Three rules differ in what they judge:

- :func:`why_collapsed`: a single run, by its samples, beside the best of its study, or by its likelihood.
  Tables, the page, the slide, the decision helper and figures count a configuration with such a run
  (:func:`collapsed`) as the best of nothing but of what is sound.
- :data:`UNLEARNED`: samples so far from the data that claims and the slide draw no conclusion from them.
- :func:`~zoo.comparison.claims.instability.lost_runs`: single runs that training has lost, of which those of
  a small recall are collapsed here too.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.datasets import dimensions
from zoo.comparison.quantities import BITS_PER_DIM, NLL, Quantity, metric_value
from zoo.comparison.statistics import share_interval
from zoo.comparison.studies import Study

FACTOR = 10.0  # a collapsed run's distance is over this many times the least mean of the study
FLOORS = 20.0  # and over this many times the floor, the distance of real examples from real ones
LEAST_RECALL = 0.05  # a run with a smaller recall has collapsed too
BROKEN = 10.0  # nats per dimension above the study's median: a density e^10 times too thin in each dimension
TOLD = 3  # collapsed runs of a configuration, of which the reasons are told one by one
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
    """Return how many runs of a configuration have collapsed, and why, by its :func:`key_of`.

    Configurations without a collapsed run are left out. The share of the finished runs has its exact
    interval.
    """
    key = ("collapsed", factor)
    if key not in study.memo:
        study.memo[key] = {
            key_of(group): _told(reasons, len(group.finished))
            for group in study.groups
            if (reasons := collapsed_runs(study, group, factor))
        }
    known: dict[str, str] = study.memo[key]
    return dict(known)


def collapsed_runs(study: Study, group: Group, factor: float = FACTOR) -> list[tuple[Run, str]]:
    """Return the collapsed runs of a configuration of a study, each with its reason."""
    return [(run, why) for run in group.finished if (why := why_collapsed(study, run, factor))]


def why_collapsed(study: Study, run: Run, factor: float = FACTOR) -> str:
    """Return why a finished run of a study has collapsed; empty if it has not.

    It has if its samples are further from the data than :func:`distance_limit`, if their recall is below
    :data:`LEAST_RECALL`, or if its likelihood is broken (:func:`broken`).
    """
    rules, record = _rules(study, factor), run.record
    reach = None if rules.recall is None else rules.recall.of(record)
    if reach is not None and reach < LEAST_RECALL:
        return f"its recall is {reach:.2g}: it makes few kinds of samples"
    distance = None if rules.distance is None else rules.distance.of(record)
    if rules.distance is not None and distance is not None and distance > rules.farthest:
        name, limit = rules.distance.name, rules.farthest
        return f"its {name} of {distance:.3g} is above {limit:.3g}: too far from the data"
    loss, most = _nats_per_dimension(run), rules.loss
    return "" if loss is None or loss <= most else f"its likelihood is broken: {_nats_text(loss, most)}"


@dataclass(frozen=True)
class _Rules:
    """The limits that tell which runs of a study have collapsed.

    Attributes:
        recall, distance: the quantities of a run that are looked at; None if no run has them.
        farthest: the largest distance that a run may have.
        loss: the largest loss that a run may have, in nats per dimension.
    """

    recall: Quantity | None
    distance: Quantity | None
    farthest: float
    loss: float


def _rules(study: Study, factor: float) -> _Rules:
    """Return the limits for a study, computed at the first call."""
    key = ("rules", factor)
    if key not in study.memo:
        limit = distance_limit(study, factor)
        farthest = math.inf if limit is None else limit
        study.memo[key] = _Rules(recall_of(study), study.quality, farthest, _likelihood_limit(study))
    known: _Rules = study.memo[key]
    return known


def share_text(hits: int, n: int) -> str:
    """Return a number of runs out of ``n`` in words, with the exact 95 % interval of their share.

    >>> share_text(1, 5)
    '1 of 5 runs (95 % interval 1 to 72 %)'
    """
    low, high = share_interval(hits, n)
    runs = f"{hits} of {n} run{'s' * (n != 1)}"
    return f"{runs} (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"


def _told(reasons: Sequence[tuple[Run, str]], n: int) -> str:
    """Return the collapsed ones of ``n`` runs in a sentence, the first few with their reasons."""
    each = [f"seed {run.record.seed}: {why}" for run, why in reasons[:TOLD]]
    more = [f"and {len(reasons) - TOLD} more"] * (len(reasons) > TOLD)
    return f"{share_text(len(reasons), n)} collapsed; {'; '.join([*each, *more])}"


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
    limit, reasons = _likelihood_limit(study), {}
    for group in study.groups:
        losses = [loss for run in group.finished if (loss := _nats_per_dimension(run)) is not None]
        if lost := sum(loss > limit for loss in losses):
            reasons[key_of(group)] = (
                f"the likelihood of {lost} of {len(losses)} seeds is broken: {_nats_text(max(losses), limit)}"
            )
    return reasons


def _nats_text(loss: float, limit: float) -> str:
    return f"{loss:.3g} nats per dimension where the median of all runs is {limit - BROKEN:.3g}"


def _likelihood_limit(study: Study) -> float:
    """Return the nats per dimension beyond which a likelihood is broken; infinite where none was measured."""
    if "likelihood limit" not in study.memo:
        every = [loss for run in study.runs if (loss := _nats_per_dimension(run)) is not None]
        study.memo["likelihood limit"] = statistics.median(every) + BROKEN if every else math.inf
    limit: float = study.memo["likelihood limit"]
    return limit


def _nats_per_dimension(run: Run) -> float | None:
    """Return the loss of a finished run; None without one."""
    if run.record.status != "finished":
        return None
    if (bits := BITS_PER_DIM.of(run.record)) is not None:
        return bits * math.log(2)
    nats = NLL.of(run.record)
    return None if nats is None else nats / max(dimensions(run), 1)


def distance_limit(study: Study, factor: float = FACTOR) -> float | None:
    """Return the largest distance that does not count as collapsed; None without positive distances.

    It is ``factor`` times the least mean distance of the study, or :data:`FLOORS` times the distance of real
    examples (the floor, :func:`sure_floor`) where that is more.
    """
    key = ("distance limit", factor)
    if key not in study.memo:
        study.memo[key] = _distance_limit(study, factor)
    limit: float | None = study.memo[key]
    return limit


def _distance_limit(study: Study, factor: float) -> float | None:
    if study.quality is None:
        return None
    means = [statistics.fmean(values) for group in study.groups if (values := group.values(study.quality))]
    limit = max(factor * min(means, default=0.0), FLOORS * sure_floor(study))
    return limit if limit > 0 else None


def sure_floor(study: Study) -> float:
    """Return the distance of real examples by which the samples' distances are judged; 0 without one.

    An unbiased distance, such as the energy distance, is about as often below 0 as above where there is
    nothing to see. Where one of the study is below 0, a floor counts if it is two of its standard deviations
    above 0, since a multiple of an accident says nothing.
    """
    if study.quality is None:
        return 0.0
    floor = floor_of(study.runs, study.quality.name) or 0.0
    distances = [value for group in study.groups for value in group.values(study.quality)]
    if min(distances, default=0.0) >= 0:
        return max(floor, 0.0)
    metrics = (run.record.metrics.get(study.quality.name) for run in study.runs)
    deviations = [m.details["floor_deviation"] for m in metrics if m and m.details.get("floor_deviation")]
    return floor if deviations and floor > 2 * max(deviations) else 0.0


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
    if "recall" not in study.memo:
        metrics = {name for run in study.runs for name in run.record.metrics}
        names = [name for name in metrics if name.partition("/")[0] == "recall"]
        study.memo["recall"] = metric_value(min(names), direction="higher") if names else None
    recall: Quantity | None = study.memo["recall"]
    return recall
