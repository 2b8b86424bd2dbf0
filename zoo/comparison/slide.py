"""The lecture's slide, measured: a row for each family, its questions as columns, a verdict in each cell.

The verdicts follow the rules of the claims ledger, the same for every family.

- *parallel?* by how the sequential network evaluations of a sample grow with the dimensions D of the data,
  where a sampler was run at three or more sizes: yes if they stay the same, no if they grow with a power of
  D. At fewer sizes the order of sampling decides that the record declares: all dimensions at once, or one
  after the other. A solver takes as many as its tolerance or its number of steps asks for: its verdict is
  ``solver``, neither yes nor no.
- *sharp?* yes if the 95 % t interval of the log sharpness lies within a factor :data:`MARGIN` of real images,
  no if it lies outside; of samples at most :data:`UNLEARNED` times as far from real images as these are from
  each other, since noise has fine structure too. Each measure of sharpness has to be.
- *stable?* yes if another seed changes the distance between samples and data by less than a factor
  :data:`MARGIN` (one standard deviation) and no run was lost, no if by more: the 95 % chi-squared interval of
  the standard deviation of its logarithm, pooled over the models of the row. A run is lost if it diverged,
  failed, collapsed or ended :data:`ASTRAY` times as far from the data as its configuration's best seed. That
  is an outcome of its own: the spread is that of the other runs, and the answer is also no if significantly
  more than :data:`LOST` of the runs were lost (Clopper-Pearson).
- *density?* yes if exact; a bound and an estimate are named.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zoo.comparison import statistics as tests
from zoo.comparison.claims.measure import DEPTH
from zoo.comparison.claims.scaling import FLAT, LEAST_SIZES, Scaling, scalings
from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group, is_number
from zoo.comparison.datasets import dimensions
from zoo.comparison.groups import interval, sharpness_error
from zoo.comparison.guards import UNLEARNED, broken, key_of, relative_distance, share_text
from zoo.comparison.quantities import BITS_PER_DIM, NLL, PARAMETERS, SEQUENTIAL_EVALUATIONS, metric_value
from zoo.comparison.recommend.lost import end_of
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, MARGIN, share_interval
from zoo.comparison.studies import Study, studies
from zoo.comparison.tables.cells import number

Question = Literal["parallel", "sharp", "stable", "density"]
QUESTIONS: tuple[Question, ...] = ("parallel", "sharp", "stable", "density")
Verdict = Literal["yes", "no", "bound", "estimate", "solver", "undecided", "not measured"]
LOST = 0.05  # share of runs
ASTRAY = 10.0  # times the distance of a configuration's best seed
SHARPNESS = ("sharpness", "sharpness/spectrum")
FLOWS = {"parallel": "coupling flow", "sequential": "autoregressive flow", "solver": "residual flow"}
ROWS = (
    "autoregressive", "vae", "gan", "coupling flow", "autoregressive flow", "residual flow",
    "continuous flow", "diffusion",
)  # fmt: skip
EVIDENCE: dict[Question, dict[str, str]] = {  # the claim of the ledger about a family, by question and row
    "parallel": dict.fromkeys(ROWS, "autoregressive") | {"coupling flow": "flows-parallel-sharp"},
    "sharp": {"vae": "vae-blurry", "gan": "vae-blurry", "coupling flow": "flows-parallel-sharp"},
    "stable": dict.fromkeys(("gan", "coupling flow", "autoregressive flow"), "gan-unstable"),
    "density": {row: "likelihood-quality" for row in ROWS if row != "gan"},
}
OTHER_QUESTION: dict[Question, str] = {  # why the verdict of a cell and that of its claim may differ
    "stable": "The claim is about another GAN: one without its tricks (with momentum, and without averaged "
    "weights and R1), at several learning rates, compared with each flow. This cell counts the runs of the "
    "rows that stand for the models in the table, so the two verdicts may differ."
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


@dataclass(frozen=True)
class Cell:
    """The answer to one question about one family.

    Attributes:
        question: one of :data:`QUESTIONS`.
        verdict: the answer.
        value: the number behind it; None where nothing was measured.
        low, high: its 95 % interval; None for counts.
        n: number of runs behind it.
        error: standard error of the evaluation, if a single seed gives no interval; None: not needed.
        unit: of the value; empty for a ratio and a count.
        text: the number with its interval, in words.
        short: the interval, or the count of steps over dimensions; lost runs before it.
        test: how the verdict follows from it.
        claim: key of the claim of the ledger that asks the same of this family; empty: there is none.
        runs: ids of the runs.
        others: verdict of each other model of the row, by name.
        counted: the models, updates and learning rates that a cell of several models counts; empty for one.
        apart: why the verdict may differ from that of the claim, as sentences; empty if it may not.
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
    claim: str
    runs: tuple[str, ...]
    others: dict[str, Verdict]
    counted: str = ""
    apart: str = ""
    error: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """One family, and the model that stands for it.

    Attributes:
        family: one of :data:`ROWS`, or a user's own.
        model: the one with most finished seeds, then most variations, then fewest parameters.
        key: its configuration's hash without the seed.
        seeds: number of its finished seeds.
        cells: by question.
    """

    family: str
    model: str
    key: str
    seeds: int
    cells: dict[Question, Cell]


@dataclass(frozen=True)
class Slide:
    """The measured slide of one study.

    Attributes:
        data, protocol: of the study.
        rows: the families that were measured, in the order of :data:`ROWS`.
        absent: the families of :data:`ROWS` without a finished run.
    """

    data: str
    protocol: str
    rows: tuple[Row, ...]
    absent: tuple[str, ...]

    @property
    def about(self) -> str:
        """The data set, and how many seeds each family's model has: ``digits, n = 3 to 5 seeds a model``."""
        seeds = [row.seeds for row in self.rows]
        span = f"{min(seeds)} to {max(seeds)}" if min(seeds) < max(seeds) else f"{seeds[0]}"
        return f"{self.data}, n = {span} seed{'s' * (max(seeds) > 1)} a model"

    def to_dict(self) -> dict[str, Any]:
        """Return the slide as plain values that JSON can hold."""
        return dataclasses.asdict(self)


def slide(runs: Sequence[Run] | Sequence[Study], data: str | None = None) -> Slide | None:
    """Return the slide of the study that answers most questions; None if no study has a finished run.

    Args:
        runs: runs of any data, or their studies.
        data: name or label of a data set, to choose among studies.
    """
    every = [one for one in runs if isinstance(one, Study)]
    every = every or studies([one for one in runs if isinstance(one, Run)])
    chosen = [study for study in every if data is None or data in (study.data, study.label, study.title)]
    laws = laws_of(every)
    slides = [measured for study in chosen if (measured := of_study(study, laws)).rows]
    return max(slides, key=_answered, default=None)


def laws_of(every: Sequence[Study]) -> dict[str, Scaling]:
    """Return how the sequential evaluations of a sample grow with its dimensions, by model.

    Of the models that were run at three or more sizes of one data set, whatever study a size is in.
    """
    laws = scalings([run for study in every for run in study.runs], DEPTH)
    return {law.model: law for law in laws}


def of_study(study: Study, laws: Mapping[str, Scaling] | None = None) -> Slide:
    """Return the slide of one study.

    Args:
        study: the runs.
        laws: of all runs, by :func:`laws_of`; None: those within the study, which has one size.
    """
    laws = laws or {}
    by_family: dict[str, list[Group]] = {}
    for group in study.baselines():
        if group.finished:
            by_family.setdefault(row_of(group), []).append(group)
    order = {family: place for place, family in enumerate(ROWS)}
    families = sorted(by_family, key=lambda family: (order.get(family, len(ROWS)), family))
    rows = tuple(_row(study, family, by_family[family], laws) for family in families)
    absent = tuple(family for family in ROWS if family not in by_family)
    return Slide(study.title, study.protocol, rows, absent)


def row_of(group: Group) -> str:
    """Return the row that a configuration belongs to; that of a flow depends on its order of sampling."""
    if group.family != "flow":
        return group.family
    orders = Counter(run.record.sampling.order for run in group.finished if run.record.sampling.order)
    return FLOWS[orders.most_common(1)[0][0]] if orders else "flow"


def _answered(measured: Slide) -> int:
    return sum(cell.verdict != "not measured" for row in measured.rows for cell in row.cells.values())


def _row(study: Study, family: str, groups: list[Group], laws: Mapping[str, Scaling]) -> Row:

    def place(group: Group) -> tuple[int, int, float, str]:
        return *study.standing(group), min(group.values(PARAMETERS), default=math.inf), group.model

    groups = sorted(groups, key=place)
    first = groups[0]
    answers: dict[Question, Callable[[Group], Cell]] = {
        "parallel": lambda group: _parallel(group, laws.get(group.model)),
        "sharp": lambda group: _sharp(study, group),
        "density": lambda group: _density(study, group),
    }
    cells: dict[Question, Cell] = {}
    for question in QUESTIONS:
        claim = EVIDENCE[question].get(family, "")
        if question == "stable":
            counted = _counted(groups)
            apart = OTHER_QUESTION[question] if claim else ""
            stable = _stable(study, groups)
            cells[question] = dataclasses.replace(stable, claim=claim, counted=counted, apart=apart)
            continue
        answer = answers[question]
        others = {group.model: answer(group).verdict for group in groups[1:]}
        cells[question] = dataclasses.replace(answer(first), others=others, claim=claim)
    seeds = len({run.record.seed for run in first.finished})
    return Row(family, first.model, key_of(first), seeds, cells)


def _counted(groups: Sequence[Group]) -> str:
    """Return the models of a row with what they have in common: ``gan, wgan: 300 updates, lr 0.001``."""
    spans = []
    for setting, words in (("training.updates", "{} updates"), ("training.lr", "lr {}")):
        values = sorted({v for group in groups if is_number(v := group.settings.get(setting))})
        if values:
            ends = f"{values[0]:g}" + (f" to {values[-1]:g}" if len(values) > 1 else "")
            spans.append(words.format(ends))
    models = ", ".join(group.model for group in groups)
    return f"{models}: {', '.join(spans)}" if spans else models


def _cell(
    question: Question, verdict: Verdict, text: str, test: str, runs: Sequence[Run] = (), *,
    value: float | None = None, ends: tuple[float, float] | None = None, short: str = "",
    error: float | None = None, unit: str = "",
) -> Cell:  # fmt: skip
    low, high = ends if ends is not None else (None, None)
    if not short and value is not None:
        short = f"{low:.2f}–{high:.2f}" if low is not None else _with_error(value, error)
    ids = tuple(run.record.run_id for run in runs)
    return Cell(
        question, verdict, value, low, high, len(ids), text, short, test, "", ids, {}, error=error, unit=unit
    )


def _parallel(group: Group, law: Scaling | None) -> Cell:
    test = (
        "sequential network evaluations of a sample as a power of its dimensions D, at "
        f"{LEAST_SIZES} or more sizes, as in the ledger: yes if the exponent's interval is within "
        f"±{FLAT:g}, no if it is above {FLAT:g}; at fewer sizes the order of sampling that the record "
        "declares; a solver's are set by its tolerance or its number of steps"
    )
    orders = {run.record.sampling.order for run in group.finished} - {None}
    depths, dimension = group.values(SEQUENTIAL_EVALUATIONS), dimensions(group.finished[0])
    if not depths or not dimension or len(orders) != 1:
        return _cell("parallel", "not measured", "", test)
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
        text += (
            f"; grow as D^{_exponent_text(law.exponent)} from D = {law.sizes[0]:,.0f} to {law.sizes[-1]:,.0f}"
        )
    return _cell(
        "parallel", verdict, text, test, group.finished, value=depth, short=f"{depth:,.0f}/{dimension:,}"
    )


def _is_of(law: Scaling, order: str | None, dimension: int, depth: float) -> bool:
    """Whether a power law is of the sampler that takes ``depth`` evaluations at ``dimension``.

    A model of other depth at the same size has the same name, but not the same sampler.
    """
    counts = dict(zip(law.sizes, law.costs, strict=True))
    return law.order == order and math.isclose(counts.get(dimension, depth), depth)


def _exponent_text(exponent: tests.Outcome) -> str:
    if exponent.high - exponent.low < 1e-9:
        return f"{exponent.estimate + 0.0:.2f}"
    return f"{exponent.estimate:.2f} [{exponent.low:.2f}, {exponent.high:.2f}]"


def _sharp(study: Study, group: Group) -> Cell:
    test = (
        f"95 % interval of log sharpness, as in the ledger, within {1 / MARGIN:g} to {MARGIN:g} of real "
        f"images, {LEAST_SEEDS} or more seeds, at most {UNLEARNED:g} floors from the data"
    )
    samples = {name: group.values(metric_value(name)) for name in SHARPNESS}
    measured = {name: values for name, values in samples.items() if values}
    if "sharpness" not in measured:
        return _cell("sharp", "not measured", "", test)
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
    return _cell("sharp", verdict, text, test, group.finished, value=mean, ends=ends, error=error)


def _sharpness(group: Group, name: str, values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Return a geometric mean over seeds with its 95 % interval, as the ledger of claims tests it.

    The interval is None for one seed and for values that are not positive.
    """
    if min(values) <= 0 or len(values) < 2:
        return statistics.fmean(values), None
    outcome = tests.ratio(tests.mean_of, values, shared=[sharpness_error(group, name)])
    without_spread = math.isnan(outcome.low)
    ends = (outcome.estimate, outcome.estimate) if without_spread else (outcome.low, outcome.high)
    return outcome.estimate, ends


def _with_error(value: float, error: float | None) -> str:
    return number(value, error) if error else f"{value:.2f}"


def _untested(n: int) -> str:
    """Return the end of a sentence which says that ``n`` seeds allow no test; empty if they do."""
    if n >= LEAST_SEEDS:
        return ""
    return f"; {'one seed' if n == 1 else f'{n} seeds'}: no test"


def _within(ends: tuple[float, float] | None, n: int) -> Verdict:
    """Return whether a ratio over ``n`` seeds is within the margin of 1, by its interval."""
    if n < LEAST_SEEDS or ends is None:
        return "undecided"
    low, high = ends
    if low > 1 / MARGIN and high < MARGIN:
        return "yes"
    return "no" if high < 1 / MARGIN or low > MARGIN else "undecided"


def _stable(study: Study, groups: Sequence[Group]) -> Cell:
    from scipy.special import chdtri

    test = (
        f"standard deviation over seeds of the log distance, pooled over the row's models, below log "
        f"{MARGIN:g} (95 % chi-squared interval), of the runs that were not lost, and none lost; no also if "
        f"surely over {LOST:.0%} of the runs diverged, failed, collapsed or went astray (Clopper-Pearson)"
    )
    runs = [run for group in groups for run in group.runs]
    ends: Counter[str] = Counter()
    logs = []
    for group in groups:
        ended = [(run, end_of(study, run)) for run in group.runs]
        ends.update(end for _, end in ended if end != "sound")
        sound = Group(group.model, [run for run, end in ended if end == "sound"])
        values = sound.values(study.quality)
        if values and min(values) > 0:
            near = [value for value in values if value <= ASTRAY * min(values)]
            ends.update(["astray"] * (len(values) - len(near)))
            logs.append([math.log(value) for value in near])
    lost, told, brief = ends.total(), "", ""
    if lost:
        told = f"{share_text(lost, len(runs))} lost: {', '.join(f'{n} {end}' for end, n in ends.items())}"
        brief = f"{lost} of {len(runs)} {next(iter(ends)) if len(ends) == 1 else 'lost'}"
    freedom = sum(len(values) - 1 for values in logs)
    surely_lost = share_interval(lost, len(runs))[0] > LOST
    if freedom < LEAST_SEEDS - 1:
        verdict: Verdict = "no" if surely_lost else "undecided" if lost else "not measured"
        most = max(map(len, logs), default=0)
        told = told or ("one seed" if most == 1 else f"at most {most} seeds a model" if most else "")
        return _cell("stable", verdict, told, test, runs if lost else (), short=brief)
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in logs if len(values) > 1)
    low, high = (math.sqrt(squares / float(chdtri(freedom, p))) for p in (LEVEL / 2, 1 - LEVEL / 2))
    margin = math.log(MARGIN)
    verdict = "yes" if high < margin and not lost else "no" if low > margin or surely_lost else "undecided"
    factor = math.exp(math.sqrt(squares / freedom))
    within = math.exp(min(low, 700)), math.exp(min(high, 700))
    text, short = f"a factor {factor:.2f}{_interval_text(within)} between seeds", ""
    if lost:
        text = f"{told}; {text} of the others"
        short = f"{brief}; else {within[0]:.2f}–{within[1]:.2f}"
    return _cell("stable", verdict, text, test, runs, value=factor, ends=within, short=short)


def _density(study: Study, group: Group) -> Cell:
    test = "the kind of likelihood that the model defines"
    quantity = BITS_PER_DIM if group.kinds(BITS_PER_DIM.name) else NLL
    kinds = group.kinds(quantity.name)
    if not kinds:
        return _cell("density", "not measured", "", test)
    values = group.values(quantity)
    if not values or kinds == {"none"}:
        return _cell("density", "no", "none", test, group.finished)
    kind = min(kinds, key=("estimate", "lower bound", "exact†", "exact").index)
    verdicts: dict[str, Verdict] = {"estimate": "estimate", "lower bound": "bound"}
    mark = {"estimate": "≈ ", "lower bound": "≤ "}.get(kind, "")
    if (why := broken(study).get(key_of(group))) is not None:
        return _cell("density", "undecided", why, test, group.finished)
    mean, ends = statistics.fmean(values), interval(values, logs=False)
    error = _evaluation_error(group, quantity.name) if len(values) == 1 else None
    dagger = "†" if kind == "exact†" else ""
    told = (
        number(mean, error).replace(" ±", f"{dagger} ±")
        if error
        else f"{mean:.2f}{dagger}{_interval_text(ends)}"
    )
    return _cell(
        "density", verdicts.get(kind, "yes"), f"{mark}{told} {quantity.unit}", test, group.finished,
        value=mean, ends=ends, error=error, unit=quantity.unit,
    )  # fmt: skip


def _evaluation_error(group: Group, name: str) -> float | None:
    """Return the standard error of a metric of a configuration's one finished seed."""
    metric = group.finished[0].record.metrics.get(name)
    return metric.standard_error if metric is not None else None


def _interval_text(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" [{ends[0]:.2f}, {ends[1]:.2f}]"


def markdown(measured: Slide, link: Callable[[Row, Cell], str | None] = lambda row, cell: None) -> str:
    """Return the slide as a Markdown table of verdicts with their intervals.

    Args:
        measured: the slide.
        link: returns the address of the evidence for a cell of a row, or None.
    """
    heading = "| family | " + " | ".join(f"{question}?" for question in QUESTIONS) + " |"
    lines = [heading, "|---" * (len(QUESTIONS) + 1) + "|"]
    for row in measured.rows:
        cells = []
        for question in QUESTIONS:
            cell = row.cells[question]
            address = link(row, cell)
            word = f"**{cell.verdict}**" if cell.verdict != "not measured" else "—"
            word = f"[{word}]({address})" if address and cell.runs else word
            cells.append(f"{word} {cell.short}".strip())
        lines.append(f"| {row.family} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
