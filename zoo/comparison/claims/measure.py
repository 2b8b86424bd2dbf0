"""The measurements that several claims share: one number of two groups of runs, compared by a test."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from zoo.comparison import quantities
from zoo.comparison.claims import statistics as tests
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.statistics import LEVEL
from zoo.comparison.claims.verdict import Missing, Part, judge
from zoo.comparison.claims.wording import count_text, interval_text, mean_text, times_text
from zoo.comparison.collect import Run
from zoo.comparison.quantities import BITS_PER_DIM, NLL, PARAMETERS, Quantity, metric_value, oscillation_of
from zoo.comparison.studies import Group, Study, differing, is_number, shared_error, timing_conditions
from zoo.comparison.tables import number
from zoo.record import SamplingOrder

LEAST = 3  # seeds on each side of a test
MARGIN = 1.25  # two numbers within this factor of each other count as the same
COLLAPSED = 50.0  # times the distance of real examples: a generator that far off has not learned
WELCH = f"Welch's t, two-sided at {LEVEL:.0%}, at least {LEAST} seeds a side"
WELCH_OF_LOGARITHMS = f"Welch's t on logarithms, two-sided at {LEVEL:.0%}, at least {LEAST} seeds a side"

Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Measure:
    """A quantity of a record and how sentences write it.

    Attributes:
        quantity: the quantity; None: the study has no such number.
        name: its name in sentences.
        unit: behind the number, with the space before it.
        factor: from the quantity's unit to this one.
    """

    quantity: Quantity | None
    name: str
    unit: str = ""
    factor: float = 1.0

    def of(self, group: Group) -> list[float]:
        """Return the values of a group's finished runs."""
        return [value * self.factor for value in group.values(self.quantity)]

    @property
    def heading(self) -> str:
        """The name as a sentence begins with it."""
        return self.name.capitalize() if self.name.islower() else self.name

    @property
    def axis(self) -> str:
        """The name and the unit, as the label of an axis."""
        return f"{self.name} ({self.unit.strip()})" if self.unit else self.name


LATENCY = Measure(quantities.LATENCY, "latency of one sample", " ms", 1e3)
DEPTH = Measure(quantities.SEQUENTIAL_EVALUATIONS, "sequential evaluations")
SHARPNESS = Measure(quantities.SHARPNESS, "sharpness")
OSCILLATION = Measure(oscillation_of("val/energy_distance"), "oscillation of the distance of samples")


def distance_of(study: Study) -> Measure:
    """Return the distance between samples and data that most runs of the study have."""
    return Measure(study.quality, study.quality.name if study.quality else "Fréchet distance")


def metric_of(study: Study, name: str) -> Measure:
    """Return the study's metric of this name, whatever feature extractor it was computed with."""
    names = sorted({n for run in study.runs for n in run.record.metrics if n.partition("/")[0] == name})
    return Measure(metric_value(names[0]) if names else None, name)


def baseline(study: Study, model: str) -> Group:
    """Return the configuration that stands for a model; without runs if the study has none of it."""
    return study.baseline(model) or Group(model, [])


def autoregressive_flow(study: Study) -> Group:
    """Return the configuration that stands for the flows that sample one dimension after the other.

    It is that of the flow with most finished seeds, then of the one that most configurations vary, then of
    the first by name. It has no runs if no flow of the study declares this order of sampling.
    """
    return min(
        _flows(study, "sequential"), key=_standing(study), default=Group("", [], "an autoregressive flow")
    )


def parallel_flow(study: Study) -> Group:
    """Return the configuration that stands for the flows that sample all dimensions at once.

    It is that of the flow with most finished seeds, then of the one that most configurations vary, then of
    the smallest, then of the first by name. It has no runs if no flow of the study declares this order.
    """
    standing = _standing(study)

    def place(flow: Group) -> tuple[int, int, float, str]:
        return *standing(flow)[:2], min(flow.values(PARAMETERS), default=math.inf), flow.model

    return min(_flows(study, "parallel"), key=place, default=Group("", [], "a coupling flow"))


def parallel_flows(study: Study) -> list[Group]:
    """Return the baselines of the flows that sample all dimensions at once, :func:`parallel_flow` first."""
    first = parallel_flow(study)
    return sorted(_flows(study, "parallel"), key=lambda flow: (flow.model != first.model, flow.model))


def _flows(study: Study, order: SamplingOrder) -> list[Group]:
    """Return the baselines of the flows whose records declare an order of sampling."""
    declare = {run.record.model for run in study.runs if run.record.sampling.order == order}
    return [flow for flow in study.baselines("flow") if flow.model in declare]


def _standing(study: Study) -> Callable[[Group], tuple[int, int, str]]:
    """Return a key of flows that is least for the one with most finished seeds, variations, and by name."""

    def place(flow: Group) -> tuple[int, int, str]:
        seeds = {run.record.seed for run in flow.finished}
        variations = sum(len(differing(flow, other)) == 1 for other in study.of(flow.model))
        return -len(seeds), -variations, flow.model

    return place


def trick(
    study: Study, setting: str, absent: Callable[[Any], bool], names: tuple[str, str]
) -> tuple[Group, Group]:
    """Return the GAN with a trick and without it: two configurations that differ in that setting alone.

    Args:
        study: the runs.
        setting: the setting that holds the trick.
        absent: whether a value of it means that the trick is off.
        names: names of the two; both are without runs if the study has no such pair.
    """
    for pair in study.pair("gan", setting):
        without, with_it = sorted(pair, key=lambda group: not absent(group.settings.get(setting)))
        if absent(without.settings.get(setting)) and not absent(with_it.settings.get(setting)):
            return with_it.named(names[0]), without.named(names[1])
    return Group("gan", [], names[0]), Group("gan", [], names[1])


def has_momentum(betas: Any) -> bool:
    """Whether the betas of an optimiser, as a record has them, give it momentum."""
    return isinstance(betas, list) and bool(betas) and is_number(betas[0]) and betas[0] > 0


def compare(a: Group, b: Group, measure: Measure, claimed: Direction, decides: bool = True) -> Part | Missing:
    """Test whether a positive number of ``a`` is lower or higher than that of ``b``, by its logarithm.

    Latencies are compared between runs that were timed on the same device.
    """
    if measure is LATENCY:
        a, b = timed_alike(a, b)
    samples = [measure.of(a), measure.of(b)]
    positive = [[value for value in sample if value > 0] for sample in samples]
    short = [group.label for group, sample in zip((a, b), positive, strict=True) if len(sample) < LEAST]
    if short:
        needs = f"{measure.name} of {' and '.join(short)}, {LEAST} finished seeds"
        return Missing(needs=needs + " on one device" * (measure is LATENCY), decides=decides)
    if positive != samples:
        return Missing(needs=f"positive values of {measure.name}", decides=decides)
    shared = [drawn_alike(group, measure.quantity, relative=True) for group in (a, b)]
    outcome = tests.ratio(tests.welch, *samples, shared=shared)
    return Part(
        sentence=f"{measure.heading}: {a.label} {mean_text(samples[0])}{measure.unit}, "
        f"{b.label} {mean_text(samples[1])}{measure.unit} ({times_text(outcome)}).",
        verdict=judge(outcome, claimed, than=1.0),
        test=WELCH_OF_LOGARITHMS,
        n=count_text(*samples),
        outcome=outcome,
        panel=Dots(measure.axis, rows((a, b), samples), log=True),
        runs=a.finished + b.finished,
        decides=decides,
    )


def compare_distance(
    study: Study, a: Group, b: Group, claimed: Direction = "lower", decides: bool = True
) -> Part | Missing:
    """Test whether the distance of the samples of ``a`` to the data is lower or higher than that of ``b``."""
    part = compare(a, b, distance_of(study), claimed, decides)
    if isinstance(part, Part):
        part = replace(part, sentence=part.sentence + _remark_on_collapse(study, a, b))
    return part


def compare_likelihood(a: Group, b: Group, claimed: Direction, decides: bool = True) -> Part | Missing:
    """Test whether the bits/dim (or nats) of ``a`` are lower or higher than those of ``b``, of one kind."""
    if not a.runs or not b.runs:
        return Missing(needs="the likelihood of both models", decides=decides)
    likelihood = BITS_PER_DIM if a.values(BITS_PER_DIM) else NLL
    kinds = a.kinds(likelihood.name) | b.kinds(likelihood.name)
    if len(kinds) > 1:
        needs = f"likelihoods of one kind ({a.label} and {b.label}: {', '.join(sorted(kinds))})"
        return Missing(needs=needs, decides=decides)
    samples = [group.values(likelihood) for group in (a, b)]
    short = [group.label for group, sample in zip((a, b), samples, strict=True) if len(sample) < LEAST]
    if short:
        needs = f"likelihood of {' and '.join(short)}, {LEAST} finished seeds"
        return Missing(needs=needs, decides=decides)
    outcome = tests.welch(*samples)
    return Part(
        sentence=f"Test likelihood ({kinds.pop()}): {a.label} {mean_text(samples[0])}, "
        f"{b.label} {mean_text(samples[1])} {likelihood.unit} "
        f"(difference {number(outcome.estimate)}, {interval_text(outcome)}; lower is better).",
        verdict=judge(outcome, claimed),
        test=WELCH,
        n=count_text(*samples),
        outcome=outcome,
        panel=Dots(likelihood.unit, rows((a, b), samples)),
        runs=a.finished + b.finished,
        decides=decides,
    )


def drawn_alike(group: Group, quantity: Quantity | None, relative: bool = False) -> float:
    """Return the variance of a mean over seeds that their spread leaves out, since they share their latents.

    The mean square of the runs' standard errors, see :func:`~zoo.comparison.studies.shared_error`; 0 for
    runs with samples of their own.

    Args:
        group: the seeds.
        quantity: the number that was averaged.
        relative: of the number's logarithm.
    """
    if quantity is None:
        return 0.0
    errors = []
    for run in group.finished:
        value, error = quantity.of(run.record), shared_error(run, quantity.name)
        if value is not None:
            errors.append(error / abs(value) if relative and value else error)
    return statistics.fmean(error * error for error in errors) if errors else 0.0


def relative_distance(study: Study, group: Group) -> float:
    """Return a model's mean distance over that of real examples, the metric's floor, or NaN if unknown."""
    measure = distance_of(study)
    metrics = [run.record.metrics.get(measure.name) for run in group.finished]
    floors = [metric.details.get("floor") for metric in metrics if metric is not None]
    known = [floor for floor in floors if isinstance(floor, int | float) and floor > 0]
    distances = measure.of(group)
    return statistics.fmean(distances) / statistics.fmean(known) if known and distances else math.nan


def _remark_on_collapse(study: Study, a: Group, b: Group) -> str:
    """Return a remark if neither side came anywhere near the distance of real examples."""
    far = [relative_distance(study, group) for group in (a, b)]
    if not all(distance > COLLAPSED for distance in far):
        return ""
    return (
        f" Both are collapsed, {far[0]:.0f} and {far[1]:.0f} times as far as real examples: the "
        "test has no power to say what it does to a generator that learns."
    )


def timed_alike(*groups: Group) -> list[Group]:
    """Return the groups with those runs alone that were timed as most runs of all the groups were."""
    usual = usual_timing(groups)
    kept = [[run for run in group.runs if usual in (None, timing(run))] for group in groups]
    return [Group(group.model, runs, group.label) for group, runs in zip(groups, kept, strict=True)]


def usual_timing(groups: Sequence[Group]) -> str | None:
    """Return the conditions under which most finished runs were timed; None if none has finished."""
    conditions = Counter(timing(run) for group in groups for run in group.finished)
    return conditions.most_common(1)[0][0] if conditions else None


def timing(run: Run) -> str:
    """Return the device, threads and precision of a run, which have to agree for times to be comparable."""
    return repr(timing_conditions(run))


def dimensions(run: Run) -> int:
    """Return the number of dimensions of a run's data; 0 if the run ended before it was known."""
    data = run.record.provenance.data
    return math.prod(data.shape) if data is not None and data.shape else 0
