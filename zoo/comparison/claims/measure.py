"""The numbers that claims compare, read from the runs of a configuration."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from zoo.comparison import quantities
from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.groups import drawn_alike as drawn_alike
from zoo.comparison.paired import scores_of
from zoo.comparison.quantities import Quantity, metric_value, oscillation_of
from zoo.comparison.studies import Study
from zoo.comparison.timing import timing, usual_timing


@dataclass(frozen=True)
class Measure:
    """A quantity of a record and how sentences write it.

    Attributes:
        quantity: the quantity; None: the study has no such number.
        name: its name in sentences.
        unit: behind the number, with the space before it.
        factor: from the quantity's unit to this one.
        worst: what a run counts as whose training or sampling failed, infinity of the worse sign; None: such
            a run has no value.
        in_words: whether the name is made of words; False: it is a metric's, whose letters stay as they are.
    """

    quantity: Quantity | None
    name: str
    unit: str = ""
    factor: float = 1.0
    worst: float | None = None
    in_words: bool = True

    def of(self, group: Group) -> list[float]:
        """Return the values of a group's finished runs."""
        return [value * self.factor for value in group.values(self.quantity)]

    def by_seed(self, group: Group) -> dict[int, float]:
        """Return the values of a group's finished runs by their seeds."""
        known = [(run.record.seed, self.of(Group(group.model, [run]))) for run in group.finished]
        return {seed: values[0] for seed, values in known if values}

    def failed(self, group: Group) -> int:
        """Return how many runs have no value because training or sampling failed; 0 without a worst value."""
        return len(failed(group, self.quantity)) if self.worst is not None else 0

    @property
    def heading(self) -> str:
        """The name as a sentence begins with it: ``Latency of one sample``, but ``fd/digits-cnn``."""
        return self.name[:1].upper() + self.name[1:] if self.in_words else self.name

    @property
    def axis(self) -> str:
        """The name and the unit, as the label of an axis."""
        return f"{self.name} ({self.unit.strip()})" if self.unit else self.name


VALIDATED = "val/energy_distance"  # the curve of samples' distance from validation data in training

LATENCY = Measure(quantities.LATENCY, "latency of one sample", " ms", 1e3)
DEPTH = Measure(quantities.SEQUENTIAL_EVALUATIONS, "sequential evaluations")
SHARPNESS = Measure(quantities.SHARPNESS, "sharpness")
OSCILLATION = Measure(oscillation_of(VALIDATED), "oscillation of the distance of samples")


def distance_of(study: Study) -> Measure:
    """Return the distance between samples and data that most runs of the study have.

    A Fréchet distance of finitely many samples is too large, by about as much for a good model as for a bad
    one, so that ratios of two models are too near to 1. Therefore the distance extrapolated to infinitely
    many samples (``fd_inf``) is taken in its place, if every run that has the one has the other, above zero.
    """
    if study.quality is None:
        return Measure(None, "Fréchet distance", worst=math.inf)
    name = study.quality.name
    unbiased = name.replace("fd/", "fd_inf/", 1)
    metrics = [run.record.metrics for run in study.runs if run.record.status == "finished"]
    pairs = [(m[name].value, m[unbiased].value if unbiased in m else None) for m in metrics if name in m]
    extrapolated = all(
        (one is None) == (other is None) and (other is None or other > 0) for one, other in pairs
    )
    if unbiased != name and extrapolated:
        return Measure(metric_value(unbiased), unbiased, worst=math.inf, in_words=False)
    return Measure(study.quality, name, worst=math.inf, in_words=False)


# Other measures of how far samples are from the data, for testing how robust a verdict is. Of the first, a
# smaller value means nearer to the data; of the second, a larger one.
OTHER_DISTANCES = ("kid", "fd", "fd_inf", "fid", "energy_distance", "wasserstein2")
OTHER_CLOSENESS = ("coverage", "mode_quality")


@dataclass(frozen=True)
class OtherDistance:
    """A measure of the distance between samples and data, other than the one that decides.

    Attributes:
        name: of the measure.
        kind: similar measures, such as KID in several features, have one kind.
        by_seed: returns the values of a configuration's finished runs, by seed.
        more_is_nearer: whether a larger value means that the samples are nearer to the data.
    """

    name: str
    kind: str
    by_seed: Callable[[Group], Mapping[int, float]]
    more_is_nearer: bool = False


def other_distances(study: Study, distance: Quantity) -> list[OtherDistance]:
    """Return the measures of distance, such as KID, that runs of a study have beside the given one."""
    found = []
    for name in sorted({name for run in study.runs for name in run.record.metrics}):
        kind = name.partition("/")[0]
        if name != distance.name and kind in OTHER_DISTANCES + OTHER_CLOSENESS:
            by_seed = Measure(metric_value(name), name).by_seed
            found.append(OtherDistance(name, kind, by_seed, kind in OTHER_CLOSENESS))
    whole = Group("", study.runs)
    for name in sorted(by_other_extractors(whole, distance)):

        def in_these_features(group: Group, name: str = name) -> Mapping[int, float]:
            return by_other_extractors(group, distance).get(name, {})

        found.append(OtherDistance(name, "another extractor", in_these_features))
    return found


def validated_distance(run: Run) -> float | None:
    """Return the mean distance of a run's samples from validation data over the last third of its updates.

    It is the energy distance of the curve whose oscillation counts, over the same updates; infinite if a
    value is not finite, None without the curve.
    """
    points = run.curves().get(VALIDATED, [])
    late = [value for updates, value in points if updates > 2 / 3 * points[-1][0]]
    if not late:
        return None
    return statistics.fmean(late) if all(map(math.isfinite, late)) else math.inf


def metric_of(study: Study, name: str) -> Measure:
    """Return the study's metric of this name, whatever feature extractor it was computed with."""
    names = sorted({n for run in study.runs for n in run.record.metrics if n.partition("/")[0] == name})
    worst = {"precision": -math.inf, "recall": -math.inf, "coverage": -math.inf, "density": -math.inf}
    return Measure(metric_value(names[0]) if names else None, name, worst=worst.get(name))


def failed(group: Group, quantity: Quantity | None) -> list[Run]:
    """Return the runs that have no value of a metric because their training or their sampling failed.

    A run that diverged or failed has no metrics; one that could not be sampled, or whose samples are all the
    same, has the metric with a reason in place of its value.
    """
    name = quantity.name if quantity else ""

    def lost(run: Run) -> bool:
        metric = run.record.metrics.get(name)
        return run.record.status != "finished" or (metric is not None and metric.value is None)

    return [run for run in group.runs if lost(run)]


def of_examples(a: Group, b: Group, likelihood: Quantity) -> float:
    """Return the variance over test examples of the mean difference of two models' likelihoods.

    The examples are paired; their values are means over the seeds. 0 if a side has none on record. The unit
    is that of the likelihood, squared: nats or bits/dim.
    """
    scores = [scores_of(group.finished) for group in (a, b)]
    if scores[0] is None or scores[1] is None:
        return 0.0
    _, first, second = np.intersect1d(scores[0].indices, scores[1].indices, return_indices=True)
    if len(first) < 2:
        return 0.0
    change = scores[0].values[:, first].mean(axis=0) - scores[1].values[:, second].mean(axis=0)
    return float(change.var(ddof=1)) / len(change) * _per_nat(a, likelihood) ** 2


def _per_nat(group: Group, likelihood: Quantity) -> float:
    """Return how much one nat per example is in a likelihood's unit; 0 if the data's shape is unknown."""
    if likelihood != quantities.BITS_PER_DIM:
        return 1.0
    data = group.finished[0].record.provenance.data
    return 1 / (math.prod(data.shape) * math.log(2)) if data is not None and data.shape else 0.0


WORST_EXAMPLES = 0.01  # share of the test examples that the trimmed mean leaves out


def without_tail(group: Group, likelihood: Quantity) -> dict[str, dict[int, float]]:
    """Return averages of a group's test losses in which the worst test examples count little or nothing.

    These are the median over the examples, and the mean without the worst hundredth. Both lack a constant
    that is the same for all models of the data.

    Returns:
        For each of the two, by name, its values by seed; empty if records lack the scores of the examples.
    """
    scores = scores_of(group.finished)
    if scores is None or not (unit := _per_nat(group, likelihood)):
        return {}
    losses = np.sort(-scores.values * unit, axis=1)
    kept = losses.shape[1] - math.ceil(WORST_EXAMPLES * losses.shape[1])
    seeds = [run.record.seed for run in group.finished]
    summaries = {
        "median of the examples": np.median(losses, axis=1),
        "without the worst 1 % of the examples": losses[:, :kept].mean(axis=1),
    }
    return {name: dict(zip(seeds, map(float, values), strict=True)) for name, values in summaries.items()}


def by_batch(group: Group) -> dict[int, dict[int, float]]:
    """Return a group's seconds per sample by batch size, then by seed; batches of one are left out."""
    found: dict[int, dict[int, float]] = {}
    for run in group.finished:
        for size, speed in (run.record.sampling.throughput_by_batch or {}).items():
            if speed is not None and int(size) > 1 and speed > 0:
                found.setdefault(int(size), {})[run.record.seed] = 1 / speed
    return found


def load_text(*groups: Group) -> str:
    """Return how busy the machine was when runs were timed in one session, as a sentence; empty if unknown.

    The load is the mean number of processes that wanted a core in the last minute.
    """
    loads = [run.record.sampling.load for group in groups for run in group.finished]
    known = [load for load in loads if load is not None and load.before is not None]
    if not known:
        return ""
    before = max(load.before or 0.0 for load in known)
    after = max((load.after for load in known if load.after is not None), default=None)
    cores = {load.cores for load in known}
    on = f" on {cores.pop()} cores" if len(cores) == 1 else ""
    ended = "" if after is None else f", {after:.1f} after"
    return f" Timed in turns{on}; load {before:.1f} before{ended}."


# Details of an archived record's Fréchet distance (scripts/second_look.py): its values against halves of the
# test images, and in other extractors' features by their names.
TEST_HALVES = "by_test_half"
OTHER_EXTRACTORS = "by_other_extractor"


def of_test_images(a: Group, b: Group, distance: Quantity | None) -> float:
    """Return the variance over draws of the test images of the mean log ratio of two models' distances.

    All runs were judged with the same test images, which the spread over seeds leaves out. Archived records
    have the Fréchet distance to halves of them, the same halves for every run (``scripts/second_look.py``);
    its spread over halves is that over draws of the whole set (a jackknife that deletes half). The values of
    an extrapolated distance are moved to its mean. 0 if a run has none, or one that is not above zero.
    """
    if distance is None:
        return 0.0
    logs = []
    for group in (a, b):
        rows = [row for run in group.finished if (row := _log_by_halves(run, distance)) is not None]
        if not rows or len(rows) < len(group.finished) or len(set(map(len, rows))) != 1:
            return 0.0
        logs.append(np.mean(rows, axis=0))
    if len(logs[0]) != len(logs[1]) or len(logs[0]) < 2:
        return 0.0
    return float(np.var(logs[0] - logs[1], ddof=1))


def by_other_extractors(group: Group, distance: Quantity) -> dict[str, dict[int, float]]:
    """Return a group's Fréchet distances in other extractors' features: by the extractor, then by seed."""
    found: dict[str, dict[int, float]] = {}
    for run in group.finished:
        metric = run.record.metrics.get(distance.name.replace("fd_inf/", "fd/", 1))
        values = metric.details.get(OTHER_EXTRACTORS) if metric is not None else None
        for name, value in values.items() if isinstance(values, dict) else ():
            found.setdefault(f"fd/{name}", {})[run.record.seed] = float(value)
    return found


def _log_by_halves(run: Run, distance: Quantity) -> list[float] | None:
    """Return the logarithms of a run's distance to each half of the test images; None if it has none."""
    value = distance.of(run.record)
    plain = run.record.metrics.get(distance.name.replace("fd_inf/", "fd/", 1))
    halves = plain.details.get(TEST_HALVES) if plain is not None else None
    if value is None or not isinstance(halves, list) or not halves:
        return None
    moved = [value + half - statistics.fmean(halves) for half in halves]
    return [math.log(half) for half in moved] if min(moved) > 0 else None


def timed_alike(*groups: Group) -> list[Group]:
    """Return the groups with those runs alone that were timed as most runs of all the groups were."""
    usual = usual_timing(groups)
    comparable = [[run for run in group.runs if usual in (None, timing(run))] for group in groups]
    return [Group(group.model, runs, group.label) for group, runs in zip(groups, comparable, strict=True)]


def in_turns(*groups: Group) -> bool:
    """Whether all finished runs were timed in turns, by ``zoo time``; otherwise each timed itself."""
    return all(run.record.sampling.session is not None for group in groups for run in group.finished)
