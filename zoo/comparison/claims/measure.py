"""The measurements that several claims share: one number of two groups of runs, compared by a test."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.comparison import quantities
from zoo.comparison.claims import statistics as tests
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.robustness import Alternative, variants
from zoo.comparison.claims.statistics import LEVEL, Outcome
from zoo.comparison.claims.verdict import Direction, Missing, Part, judge
from zoo.comparison.claims.wording import failures_text, interval_text, mean_text, times_text
from zoo.comparison.collect import Run
from zoo.comparison.quantities import BITS_PER_DIM, NLL, PARAMETERS, Quantity, metric_value, oscillation_of
from zoo.comparison.studies import Group, Study, differing, is_number, shared_error, timing, usual_timing
from zoo.comparison.tables import number
from zoo.record import SamplingOrder

LEAST = 3  # seeds on each side of a test
MARGIN = 1.25  # two numbers within this factor of each other count as the same
COLLAPSED = 50.0  # times the distance of real examples: a generator that far off has not learned
WELCH = f"Welch's t, two-sided at {LEVEL:.0%}, at least {LEAST} seeds a side"
WELCH_OF_LOGARITHMS = f"Welch's t on logarithms, two-sided at {LEVEL:.0%}, at least {LEAST} seeds a side"
PAIRED = f"paired t on logarithms (one training, read out in two ways), two-sided at {LEVEL:.0%}"
RANKS = f"exact rank-sum test, two-sided at {LEVEL:.0%}, at least {LEAST} seeds a side"


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
    """

    quantity: Quantity | None
    name: str
    unit: str = ""
    factor: float = 1.0
    worst: float | None = None

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
    name = study.quality.name if study.quality else "Fréchet distance"
    return Measure(study.quality, name, worst=math.inf)


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


def compare(
    a: Group,
    b: Group,
    measure: Measure,
    claimed: Direction,
    decides: bool = True,
    *,
    by_seed: bool = False,
    alternatives: Sequence[Alternative] = (),
) -> Part | Missing:
    """Test whether a positive number of ``a`` is lower or higher than that of ``b``, by its logarithm.

    Latencies are compared between runs that were timed on the same device. If runs failed, the ranks
    are tested, and a failed run has the worst one: see :func:`fitting_test`.

    Args:
        a, b: the groups.
        measure: the number; a failed run counts as its ``worst``, if it has one.
        claimed: the direction in which ``a`` differs from ``b`` by the claim.
        decides: whether the claim depends on the result.
        by_seed: whether runs of one seed are one training, read out in two ways: then they are pairs.
        alternatives: other measures of the same thing, for the robustness of the verdict.
    """
    if measure is LATENCY:
        a, b = timed_alike(a, b)
    samples = [measure.of(a), measure.of(b)]
    positive = [[value for value in sample if value > 0] for sample in samples]
    lost = [measure.failed(group) for group in (a, b)]
    sizes = [len(sample) + n for sample, n in zip(positive, lost, strict=True)]
    short = [group.label for group, size in zip((a, b), sizes, strict=True) if size < LEAST]
    if short or not any(positive):
        needs = f"{measure.name} of {' and '.join(short or (a.label, b.label))}, {LEAST} finished seeds"
        return Missing(needs=needs + " on one device" * (measure is LATENCY), decides=decides)
    if positive != samples:
        return Missing(needs=f"positive values of {measure.name}", decides=decides)
    shared = [drawn_alike(group, measure.quantity, relative=True) for group in (a, b)]
    pairs = _pairs(a, b, measure) if by_seed and not any(lost) else []
    worst = [[measure.worst] * n for n in lost] if measure.worst is not None else [[], []]
    outcome, test = fitting_test(*samples, shared=shared, worst=worst, pairs=pairs)
    texts = [mean_text(sample) + measure.unit if sample else "no value" for sample in samples]
    return Part(
        sentence=f"{measure.heading}: {a.label} {texts[0]}, {b.label} {texts[1]} ({times_text(outcome)})."
        + "".join(failures_text(g.label, n, len(g.runs)) for g, n in zip((a, b), lost, strict=True)),
        verdict=judge(outcome, claimed, than=1.0),
        test=test,
        n=f"{len(pairs)} pairs" if pairs else f"{sizes[0]} and {sizes[1]}",
        outcome=outcome,
        p=outcome.p,
        unit="factor",
        variants=lambda: variants(
            measure.by_seed(a), measure.by_seed(b), claimed, shared, worst, bool(pairs), alternatives
        ),
        panel=Dots(measure.axis, rows((a, b), samples), log=True) if all(samples) else None,
        runs=a.finished + b.finished,
        decides=decides,
    )


def fitting_test(
    a: Sequence[float],
    b: Sequence[float],
    *,
    shared: Sequence[float] = (0.0, 0.0),
    worst: Sequence[Sequence[float]] = ((), ()),
    pairs: Sequence[tuple[float, float]] = (),
) -> tuple[Outcome, str]:
    """Return the test of a ratio of positive numbers that fits the values, and its name.

    Pairs are tested as such. If runs failed (``worst`` has their infinities), ranks are
    tested. Everything else is Welch's test of the logarithms.
    """
    if pairs:
        return tests.ratio(tests.paired, *map(list, zip(*pairs, strict=True))), PAIRED
    logarithms = [list(map(math.log, sample)) for sample in (a, b)]
    if any(worst):
        ranked = tests.rank_test([*logarithms[0], *worst[0]], [*logarithms[1], *worst[1]])
        return tests.as_factor(ranked), f"{RANKS}; logarithms, a failed run has the worst rank"
    return tests.ratio(tests.welch, a, b, shared=shared), WELCH_OF_LOGARITHMS


def _pairs(a: Group, b: Group, measure: Measure) -> list[tuple[float, float]]:
    """Return the values of the seeds that both groups have; none if these are too few."""
    one, other = measure.by_seed(a), measure.by_seed(b)
    pairs = [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
    return pairs if len(pairs) >= LEAST else []


def compare_distance(
    study: Study,
    a: Group,
    b: Group,
    claimed: Direction = "lower",
    decides: bool = True,
    *,
    by_seed: bool = False,
    own_rates: bool = False,
) -> Part | Missing:
    """Test whether the distance of the samples of ``a`` to the data is lower or higher than that of ``b``.

    Args:
        study: the runs.
        a, b: the configurations.
        claimed, decides, by_seed: see :func:`compare`.
        own_rates: compare each side at the learning rate that is best for it, if both were run at equally
            many.
    """
    measure, remark = distance_of(study), ""
    if own_rates and a.runs and b.runs:
        a, b, remark = at_best_rates(study, a, b)
    others = [] if measure.quantity is None else _alternatives(study, a, b, measure.quantity.name, claimed)
    part = compare(a, b, measure, claimed, decides, by_seed=by_seed, alternatives=others)
    if isinstance(part, Part):
        part = replace(part, sentence=part.sentence + remark + _remark_on_collapse(study, a, b))
    return part


def at_best_rates(study: Study, a: Group, b: Group) -> tuple[Group, Group, str]:
    """Return both sides at the learning rate that is best for each, and a remark that says so.

    The sides must have been run at the same number of rates, two or more, with :data:`LEAST` seeds at each;
    otherwise they are returned as they are, with a remark on their rates.
    """
    grids = [
        {rate: group for rate, group in study.rates(side).items() if len(group.runs) >= LEAST}
        for side in (a, b)
    ]
    usual = [side.settings.get("training.lr") for side in (a, b)]
    if len(grids[0]) != len(grids[1]) or len(grids[0]) < 2:
        known = [f"{rate:g}" for rate in usual if is_number(rate)]
        rates = " and ".join(dict.fromkeys(known))
        return a, b, f" At one learning rate each ({rates}): effort of tuning is not matched." * bool(known)
    best = [best_rate(study, grid) for grid in grids]
    sides = [grid[rate].named(side.label) for grid, rate, side in zip(grids, best, (a, b), strict=True)]
    return (
        sides[0],
        sides[1],
        (f" Each at the best of its {len(grids[0])} learning rates ({best[0]:g} and {best[1]:g})."),
    )


def best_rate(study: Study, by_rate: Mapping[float, Group]) -> float:
    """Return the learning rate of least median distance, where a failed run counts as infinitely far."""
    measure = distance_of(study)

    def median(rate: float) -> float:
        group = by_rate[rate]
        values = [*measure.of(group), *[math.inf] * measure.failed(group)]
        return statistics.median(values) if values else math.inf

    return min(by_rate, key=lambda rate: (median(rate), rate))


def _alternatives(study: Study, a: Group, b: Group, name: str, claimed: Direction) -> list[Alternative]:
    """Return other measures of the distance that both sides have: KID, coverage, another extractor's."""
    found = []
    for other in sorted({n for run in study.runs for n in run.record.metrics}):
        kind = other.partition("/")[0]
        if other == name or kind not in ("kid", "coverage", "fd", "fid", "energy_distance"):
            continue
        samples = [group.values(metric_value(other)) for group in (a, b)]
        if min(map(len, samples)) >= LEAST:
            opposite: Direction = "higher" if claimed == "lower" else "lower"
            direction = opposite if kind == "coverage" else claimed
            found.append(Alternative(other, samples[0], samples[1], direction))
    return found


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
    lost = [len(failed(group, likelihood)) for group in (a, b)]
    sizes = [len(sample) + n for sample, n in zip(samples, lost, strict=True)]
    short = [group.label for group, size in zip((a, b), sizes, strict=True) if size < LEAST]
    if short or not all(samples):
        needs = f"likelihood of {' and '.join(short or (a.label, b.label))}, {LEAST} finished seeds"
        return Missing(needs=needs, decides=decides)
    # with fewer seeds ranks cannot decide, and the tail's own spread keeps Welch's test from deciding
    ranks_can_decide = tests.least_rank_p(sizes[0], sizes[1]) < LEVEL
    if any(lost) or (ranks_can_decide and tests.heavy(*samples)):
        whole = [[*sample, *[math.inf] * n] for sample, n in zip(samples, lost, strict=True)]
        outcome, test = tests.rank_test(*whole), f"{RANKS}; a failed run has the worst rank"
    else:
        outcome, test = tests.welch(*samples), WELCH
    own = Measure(likelihood, likelihood.name)
    return Part(
        sentence=f"Test likelihood ({kinds.pop()}): {a.label} {mean_text(samples[0])}, "
        f"{b.label} {mean_text(samples[1])} {likelihood.unit} "
        f"(difference {number(outcome.estimate)}, {interval_text(outcome)}; lower is better)."
        + "".join(failures_text(g.label, n, len(g.runs)) for g, n in zip((a, b), lost, strict=True)),
        verdict=judge(outcome, claimed),
        test=test,
        n=f"{sizes[0]} and {sizes[1]}",
        outcome=outcome,
        p=outcome.p,
        unit=likelihood.unit,
        variants=lambda: variants(
            own.by_seed(a),
            own.by_seed(b),
            claimed,
            (0.0, 0.0),
            [[math.inf] * n for n in lost],
            log=False,
        ),
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


def dimensions(run: Run) -> int:
    """Return the number of dimensions of a run's data; 0 if the run ended before it was known."""
    data = run.record.provenance.data
    return math.prod(data.shape) if data is not None and data.shape else 0
