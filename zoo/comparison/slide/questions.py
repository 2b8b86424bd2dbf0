"""The four questions of the lecture's slide, each answered about one family by a fixed rule.

- *parallel?* by how the sequential network evaluations of a sample grow with the dimensions D of the data,
  where a sampler was run at three or more sizes: yes if they stay the same, no if they grow with a power of
  D. At fewer sizes the order of sampling that the record declares decides: all dimensions at once, or one
  after the other. The evaluations of a solver depend on its tolerance or its number of steps, so its verdict
  is ``solver``, neither yes nor no.
- *sharp?* yes if the 95 % t interval of the log sharpness lies within a factor :data:`MARGIN` of real images,
  no if it lies outside. Each measure of sharpness has to be within it, and the samples at most
  :data:`UNLEARNED` times as far from real images as these are from each other, since noise has fine structure
  too.
- *stable?* yes if another seed changes the distance between samples and data by less than a factor
  :data:`MARGIN` (one standard deviation) and no run was lost, no if by more: the 95 % chi-squared interval of
  the standard deviation of its logarithm, pooled over the models of the row. A run is lost if it diverged,
  failed, collapsed or ended :data:`ASTRAY` times as far from the data as its configuration's best seed. The
  spread is that of the other runs, and the answer is also no if significantly more than :data:`LOST` of the
  runs were lost (Clopper-Pearson).
- *density?* yes if exact; a bound and an estimate are named.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from zoo.comparison import statistics as tests
from zoo.comparison.claims.scaling import FLAT, LEAST_SIZES, Scaling
from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.datasets import dimensions
from zoo.comparison.groups import interval, sharpness_error
from zoo.comparison.guards import UNLEARNED, broken, key_of, relative_distance, share_text
from zoo.comparison.quantities import BITS_PER_DIM, NLL, SEQUENTIAL_EVALUATIONS, metric_value
from zoo.comparison.recommend.lost import end_of
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, MARGIN, share_interval
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import KIND_MARKS, number

Question = Literal["parallel", "sharp", "stable", "density"]
QUESTIONS: tuple[Question, ...] = ("parallel", "sharp", "stable", "density")
Verdict = Literal["yes", "no", "bound", "estimate", "solver", "undecided", "not measured"]
Ends = tuple[float, float]  # of an interval
LOST = 0.05  # share of runs
ASTRAY = 10.0  # times the distance of a configuration's best seed
SHARPNESS = ("sharpness", "sharpness/spectrum")
TESTS: dict[Question, str] = {  # how the verdict of a cell follows from what was measured
    "parallel": "sequential network evaluations of a sample as a power of its dimensions D, at "
    f"{LEAST_SIZES} or more sizes, as in the ledger: yes if the exponent's interval is within ±{FLAT:g}, no "
    f"if it is above {FLAT:g}; at fewer sizes the order of sampling that the record declares; a solver's are "
    "set by its tolerance or its number of steps",
    "sharp": f"95 % interval of log sharpness, as in the ledger, within {1 / MARGIN:g} to {MARGIN:g} of real "
    f"images, {LEAST_SEEDS} or more seeds, at most {UNLEARNED:g} floors from the data",
    "stable": "standard deviation over seeds of the log distance, pooled over the row's models, below log "
    f"{MARGIN:g} (95 % chi-squared interval), of the runs that were not lost, and none lost; no also if "
    f"surely over {LOST:.0%} of the runs diverged, failed, collapsed or went astray (Clopper-Pearson)",
    "density": "the kind of likelihood that the model defines",
}
THRESHOLDS = (  # explanations of the cells for the reader
    "undecided: the interval reaches over a threshold, the samples are too far from the data, a run was "
    f"lost, or there are fewer than {LEAST_SEEDS} seeds: with one there is no test.",
    "parallel? D^1.00 means that the steps of a sample grow in proportion to the dimensions D of the data, "
    f"D^0.00 that they stay the same; yes up to a power of {FLAT:g}.",
    f"sharp? {1 / MARGIN:g} to {MARGIN:g} times the sharpness of real images; ± is the standard error of the "
    "evaluation where there is one seed.",
    "stable? another seed changes the distance between samples and data by less than a factor "
    f"{MARGIN:g}, and no run is lost.",
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The answer to one question about one family.

    Attributes:
        question: one of :data:`QUESTIONS`.
        verdict: the answer.
        value: the number behind it; None where nothing was measured.
        low, high: its 95 % interval; None for counts.
        n: number of runs behind it.
        text: the number with its interval, in words.
        short: the interval, or the count of steps over dimensions; lost runs before it.
        test: how the verdict follows from it.
        claim: key of the claim of the ledger that asks the same of this family; empty: there is none.
        runs: ids of the runs.
        others: verdict of each other model of the row, by name.
        counted: the models, updates and learning rates that a cell of several models counts; empty for one.
        apart: why the verdict may differ from that of the claim, as sentences; empty if it may not.
        error: standard error of the evaluation, if a single seed gives no interval; None: not needed.
        unit: of the value; empty for a ratio and a count.
        lost: how many runs were lost, which alone can decide: ``1 of 10 collapsed``; empty if none was. The
            value and its interval are of the others.
    """

    question: Question
    verdict: Verdict
    value: float | None
    low: float | None
    high: float | None
    n: int
    text: str
    short: str
    test: str
    claim: str = ""
    runs: tuple[str, ...]
    others: dict[str, Verdict] = field(default_factory=dict)
    counted: str = ""
    apart: str = ""
    error: float | None = None
    unit: str = ""
    lost: str = ""


def _cell(
    question: Question,
    verdict: Verdict,
    text: str = "",
    runs: Sequence[Run] = (),
    *,
    value: float | None = None,
    ends: Ends | None = None,
    short: str = "",
    error: float | None = None,
    unit: str = "",
    lost: str = "",
) -> Cell:
    """Return the cell of an answer.

    ``short`` is by default the interval ``ends``, or the value with its error where there is no interval.
    """
    low, high = ends if ends is not None else (None, None)
    if not short and value is not None:
        short = f"{low:.2f}–{high:.2f}" if low is not None else _with_error(value, error)
    return Cell(
        question=question,
        verdict=verdict,
        value=value,
        low=low,
        high=high,
        n=len(runs),
        text=text,
        short=short,
        test=TESTS[question],
        runs=tuple(run.record.run_id for run in runs),
        error=error,
        unit=unit,
        lost=lost,
    )


def _with_error(value: float, error: float | None) -> str:
    return number(value, error) if error else f"{value:.2f}"


def _interval_text(ends: Ends | None) -> str:
    return "" if ends is None else f" [{ends[0]:.2f}, {ends[1]:.2f}]"


# parallel? ----------------------------------------------------------------------------------------------


def parallel(group: Group, law: Scaling | None) -> Cell:
    """Return whether a model draws all dimensions of a sample at once.

    Args:
        group: the model, with at least one finished run.
        law: how its sequential evaluations grow with the dimensions; None: it was not run at enough sizes.
    """
    orders = {run.record.sampling.order for run in group.finished} - {None}
    depths, dimension = group.values(SEQUENTIAL_EVALUATIONS), dimensions(group.finished[0])
    if not depths or not dimension or len(orders) != 1:
        return _cell("parallel", "not measured")
    depth, order = max(depths), orders.pop()
    text = f"{depth:,.0f} step{'s' * (depth != 1)} for {dimension:,} dimensions"
    if order == "solver":
        verdict: Verdict = "solver"
        text += "; set by its solver"
    elif law is None or not _is_of(law, order, dimension, depth):
        verdict = "yes" if order == "parallel" else "no"
        how = "all at once" if order == "parallel" else "one after the other"
        text += f"; measured at one size only, by its sampler {how}"
    else:
        verdict = "yes" if law.constant else "no" if law.grows else "undecided"
        power, sizes = _exponent_text(law.exponent), law.sizes
        text += f"; grow as D^{power} from D = {sizes[0]:,.0f} to {sizes[-1]:,.0f}"
    return _cell("parallel", verdict, text, group.finished, value=depth, short=f"{depth:,.0f}/{dimension:,}")


def _is_of(law: Scaling, order: str | None, dimension: int, depth: float) -> bool:
    """Whether a power law is of the sampler that takes ``depth`` evaluations at ``dimension``.

    Models of one name may have samplers of different depth at the same size.
    """
    counts = dict(zip(law.sizes, law.costs, strict=True))
    return law.order == order and math.isclose(counts.get(dimension, depth), depth)


def _exponent_text(exponent: tests.Outcome) -> str:
    if exponent.high - exponent.low < 1e-9:
        return f"{exponent.estimate + 0.0:.2f}"
    return f"{exponent.estimate:.2f} [{exponent.low:.2f}, {exponent.high:.2f}]"


# sharp? -------------------------------------------------------------------------------------------------


def sharp(study: Study, group: Group) -> Cell:
    """Return whether a model's samples are as sharp as real images, by every measure of sharpness."""
    samples = {name: group.values(metric_value(name)) for name in SHARPNESS}
    measured = {name: values for name, values in samples.items() if values}
    if "sharpness" not in measured:
        return _cell("sharp", "not measured")
    tested = {name: _sharpness(group, name, values) for name, values in measured.items()}
    verdicts = {name: _within(ends, len(measured[name])) for name, (_, ends) in tested.items()}
    verdict = max(verdicts.values(), key=("yes", "undecided", "no").index)
    decisive = next(name for name, answer in verdicts.items() if answer == verdict)
    far = relative_distance(study, group)
    if verdict == "yes" and not far <= UNLEARNED:
        verdict = "undecided"
    mean, ends = tested[decisive]
    of = "the spectrum of " if decisive == "sharpness/spectrum" else ""
    n = len(measured[decisive])
    error = mean * math.sqrt(sharpness_error(group, decisive)) or None if n == 1 else None
    text = f"{_with_error(mean, error)}{_interval_text(ends)} times {of}real images{_untested(n)}"
    return _cell("sharp", verdict, text, group.finished, value=mean, ends=ends, error=error)


def _sharpness(group: Group, name: str, values: Sequence[float]) -> tuple[float, Ends | None]:
    """Return a geometric mean over seeds with its 95 % interval, as the ledger of claims tests it.

    For values that are not positive it is the mean. It has no interval then, nor for one seed.
    """
    if min(values) <= 0 or len(values) < 2:
        return statistics.fmean(values), None
    outcome = tests.ratio(tests.mean_of, values, shared=[sharpness_error(group, name)])
    without_spread = math.isnan(outcome.low)
    ends = (outcome.estimate, outcome.estimate) if without_spread else (outcome.low, outcome.high)
    return outcome.estimate, ends


def _within(ends: Ends | None, n: int) -> Verdict:
    """Return whether a ratio over ``n`` seeds is within the margin of 1, by its interval."""
    if n < LEAST_SEEDS or ends is None:
        return "undecided"
    low, high = ends
    if low > 1 / MARGIN and high < MARGIN:
        return "yes"
    return "no" if high < 1 / MARGIN or low > MARGIN else "undecided"


def _untested(n: int) -> str:
    """Return the end of a sentence which says that ``n`` seeds allow no test; empty if they do."""
    if n >= LEAST_SEEDS:
        return ""
    return f"; {'one seed' if n == 1 else f'{n} seeds'}: no test"


# stable? ------------------------------------------------------------------------------------------------


def stable(study: Study, groups: Sequence[Group]) -> Cell:
    """Return whether the training of a row's models gives nearly the same distance for every seed."""
    runs = [run for group in groups for run in group.runs]
    ways, logs = _ends_and_distances(study, groups)
    lost = ways.total()
    surely_lost = share_interval(lost, len(runs))[0] > LOST
    text, short = _lost_texts(ways, len(runs))
    told = short
    if sum(len(values) - 1 for values in logs) < LEAST_SEEDS - 1:
        verdict: Verdict = "no" if surely_lost else "undecided" if lost else "not measured"
        most = max(map(len, logs), default=0)
        few = "one seed" if most == 1 else f"at most {most} seeds a model" if most else ""
        return _cell("stable", verdict, text or few, runs if lost else (), short=short, lost=told)
    deviation, low, high = _pooled_deviation(logs)
    margin = math.log(MARGIN)
    verdict = "yes" if high < margin and not lost else "no" if low > margin or surely_lost else "undecided"
    factor = math.exp(deviation)
    ends = math.exp(min(low, 700)), math.exp(min(high, 700))  # beyond it an exponential overflows
    spread = f"a factor {factor:.2f}{_interval_text(ends)} between seeds"
    if lost:
        text, short = f"{text}; {spread} of the others", f"{short}; else {ends[0]:.2f}–{ends[1]:.2f}"
    return _cell("stable", verdict, text or spread, runs, value=factor, ends=ends, short=short, lost=told)


def _ends_and_distances(study: Study, groups: Sequence[Group]) -> tuple[Counter[str], list[list[float]]]:
    """Return how many runs were lost in each way, and for each model the log distances of the other runs."""
    ways: Counter[str] = Counter()
    logs = []
    for group in groups:
        ended = [(run, end_of(study, run)) for run in group.runs]
        ways.update(end for _, end in ended if end != "sound")
        sound = Group(group.model, [run for run, end in ended if end == "sound"])
        values = sound.values(study.quality)
        if values and min(values) > 0:
            near = [value for value in values if value <= ASTRAY * min(values)]
            ways.update(["astray"] * (len(values) - len(near)))
            logs.append([math.log(value) for value in near])
    return ways, logs


def _lost_texts(ways: Counter[str], n: int) -> tuple[str, str]:
    """Return how many of ``n`` runs were lost and in which ways, as a sentence and in short; empty if none.

    >>> _lost_texts(Counter(collapsed=1), 5)[1], _lost_texts(Counter(collapsed=1, diverged=2), 5)[1]
    ('1 of 5 collapsed', '3 of 5 lost')
    """
    lost = ways.total()
    if not lost:
        return "", ""
    text = f"{share_text(lost, n)} lost: {', '.join(f'{count} {way}' for way, count in ways.items())}"
    return text, f"{lost} of {n} {next(iter(ways)) if len(ways) == 1 else 'lost'}"


def _pooled_deviation(samples: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return the standard deviation within samples, pooled over them, and its 95 % chi-squared interval."""
    from scipy.special import chdtri

    freedom = sum(len(values) - 1 for values in samples)
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in samples if len(values) > 1)
    low, high = (math.sqrt(squares / float(chdtri(freedom, p))) for p in (LEVEL / 2, 1 - LEVEL / 2))
    return math.sqrt(squares / freedom), low, high


# density? -----------------------------------------------------------------------------------------------


def density(study: Study, group: Group) -> Cell:
    """Return whether a model has a likelihood: exact, a bound, an estimate, or none."""
    quantity = BITS_PER_DIM if group.kinds(BITS_PER_DIM.name) else NLL
    kinds = group.kinds(quantity.name)
    if not kinds:
        return _cell("density", "not measured")
    values = group.values(quantity)
    if not values or kinds == {"none"}:
        return _cell("density", "no", "none", group.finished)
    if (why := broken(study).get(key_of(group))) is not None:
        return _cell("density", "undecided", why, group.finished)
    kind = min(kinds, key=("estimate", "lower bound", "exact†", "exact").index)
    verdicts: dict[str, Verdict] = {"estimate": "estimate", "lower bound": "bound"}
    mark, dagger = KIND_MARKS.get(kind, ""), "†" if kind == "exact†" else ""
    mean, ends = statistics.fmean(values), interval(values, logs=False)
    error = _evaluation_error(group, quantity.name) if len(values) == 1 else None
    if error:
        text = number(mean, error).replace(" ±", f"{dagger} ±")
    else:
        text = f"{mean:.2f}{dagger}{_interval_text(ends)}"
    return _cell(
        "density",
        verdicts.get(kind, "yes"),
        f"{mark}{text} {quantity.unit}",
        group.finished,
        value=mean,
        ends=ends,
        error=error,
        unit=quantity.unit,
    )


def _evaluation_error(group: Group, name: str) -> float | None:
    """Return the standard error of a metric of a configuration's one finished seed."""
    metric = group.finished[0].record.metrics.get(name)
    return metric.standard_error if metric is not None else None
