"""The lecture's sentences, what decides each, and what has been found: docs/claims.md explains them.

A claim is a function of a :class:`~zoo.comparison.studies.Study` that yields parts, each a measured
sentence with a test, and what is missing, with what would have to be run. To add one, write such a function
and decorate it with :func:`claim`.
"""

from __future__ import annotations

import math
import statistics as plain
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zoo.comparison.claims import statistics as tests
from zoo.comparison.claims.statistics import LEVEL, Outcome
from zoo.comparison.collect import Run
from zoo.comparison.quantities import (
    BITS_PER_DIM,
    GRADIENT_SPIKES,
    IMAGES_SEEN,
    LATENCY,
    LOSS_SPIKES,
    NLL,
    NON_FINITE_STEPS,
    PARAMETERS,
    SEQUENTIAL_EVALUATIONS,
    SHARPNESS,
    UPDATES,
    UPDATES_WATCHED,
    Quantity,
    metric_value,
    oscillation_of,
)
from zoo.comparison.studies import Group, Study, differing, is_autoregressive, sensitivities, studies
from zoo.comparison.table import number, timed_by

SUPPORTED, REFUTED, UNDECIDED = "supported", "not supported", "undecided"
LEAST = 3  # seeds on each side of a test
SHARP = 0.8  # within this factor of real images' sharpness is sharp
LEVEL_SLOPE = 0.1  # depth that grows more slowly than D to this power does not grow
MARGIN = 1.25  # distances within this factor of each other are of the same quality
COLLAPSED = 50.0  # times the distance of real examples: far from having learned, and told so
UNTRAINED = 100  # networks of fewer updates are told to be untrained
SWEEP = "zoo sweep claims_digits"


@dataclass
class Dots:
    """A panel: the values of some groups, one row each, perhaps beside a line."""

    axis: str
    rows: list[tuple[str, str, list[float]]]  # label, family, values
    line: float | None = None
    log: bool = False


@dataclass
class Lines:
    """A panel: a curve for each model, both axes logarithmic."""

    x: str
    y: str
    curves: list[tuple[str, str, list[float], list[float]]]  # label, family, x, y


@dataclass
class Scatter:
    """A panel: a named point for each model."""

    x: str
    y: str
    points: list[tuple[str, str, float, float]]


Panel = Dots | Lines | Scatter


@dataclass
class Part:
    """One measurement with its test.

    Attributes:
        sentence: what was measured, with numbers.
        decides: whether the claim stands or falls with it; otherwise it is told beside.
        n: of the values that the test saw.
        runs: whose records these are.
    """

    sentence: str
    verdict: str
    test: str
    n: str
    outcome: Outcome | None = None
    panel: Panel | None = None
    runs: list[Run] = field(default_factory=list)
    decides: bool = True


@dataclass
class Missing:
    """What cannot be said, and what would have to be run for it (nothing, where ``run`` is empty)."""

    needs: str
    run: str = SWEEP
    decides: bool = True


Found = Part | Missing


@dataclass(frozen=True)
class Claim:
    """A sentence of the lecture and what decides it.

    Attributes:
        everything: ``decide`` is given all runs, since it is about several sizes of data, not one study.
    """

    key: str
    sentence: str
    decide: Callable[[Any], Iterable[Found]]
    everything: bool = False


@dataclass
class Decision:
    """What some runs say about a claim."""

    claim: Claim
    data: str
    protocol: str
    parts: list[Part]
    missing: list[Missing]

    @property
    def verdict(self) -> str:
        """Supported by all of its parts, not supported by any of them, or undecided."""
        verdicts = [part.verdict for part in self.parts if part.decides]
        if REFUTED in verdicts:
            return REFUTED
        lacking = any(missing.decides for missing in self.missing)
        return SUPPORTED if verdicts and set(verdicts) == {SUPPORTED} and not lacking else UNDECIDED

    @property
    def tells(self) -> bool:
        """Whether anything that decides was measured."""
        return any(part.decides for part in self.parts)

    @property
    def measured(self) -> str:
        """What was measured, then what is missing for a verdict."""
        return " ".join([*(part.sentence for part in self.parts if part.decides), *self.lacks])

    @property
    def lacks(self) -> list[str]:
        """What is missing for a verdict: a sentence for each command that would bring it."""
        commands: dict[str, list[str]] = {}
        for missing in self.missing:
            if missing.decides:
                commands.setdefault(self._command(missing), []).append(missing.needs)
        lead = "Undecided: needs" if self.verdict == UNDECIDED else "Not measured:"
        return [f"{lead} {'; '.join(needs)}: run `{run}`." for run, needs in commands.items()]

    @property
    def untold(self) -> list[str]:
        """What would be told beside, and is missing."""
        return [
            f"Beside it, not measured: {missing.needs}"
            + (f": run `{self._command(missing)}`." if missing.run else ".")
            for missing in self.missing
            if not missing.decides
        ]

    def _command(self, missing: Missing) -> str:
        """What brings the runs that are missing, of the data that the rest is of."""
        return "zoo sweep claims_mnist" if (missing.run, self.data) == (SWEEP, "mnist") else missing.run

    @property
    def tests(self) -> list[str]:
        """Each test once."""
        return list(dict.fromkeys(part.test for part in self.parts if part.test))

    @property
    def runs(self) -> list[Run]:
        """The records behind it, each once."""
        return list({run.record.run_id: run for part in self.parts for run in part.runs}.values())


CLAIMS: list[Claim] = []


def claim(key: str, sentence: str, everything: bool = False) -> Callable[[Any], Any]:
    """Register a function as what decides a sentence; ``everything``: it is given all runs, not a study."""

    def register(decide: Callable[[Any], Iterable[Found]]) -> Callable[[Any], Iterable[Found]]:
        CLAIMS.append(Claim(key, sentence, decide, everything))
        return decide

    return register


def decide(runs: Sequence[Run], claims: Sequence[Claim] = CLAIMS) -> list[Decision]:
    """Every claim on each data set and protocol that says something about it; on the largest if none does."""
    found = []
    about = studies(runs)
    for one in claims:
        if one.everything:
            decisions = [_decision(one, "all data", "", runs)]
        else:
            decisions = [_decision(one, study.data, study.protocol, study) for study in about]
        found += [decision for decision in decisions if decision.tells] or decisions[:1]
    return found


def _decision(one: Claim, data: str, protocol: str, evidence: Any) -> Decision:
    found = list(one.decide(evidence))
    parts = [item for item in found if isinstance(item, Part)]
    return Decision(one, data, protocol, parts, [item for item in found if isinstance(item, Missing)])


def judge(outcome: Outcome, direction: str, against: float = 0.0) -> str:
    """Supported where a test finds the claimed direction, not supported where it finds the other one."""
    if not outcome.p < LEVEL:
        return UNDECIDED
    return SUPPORTED if (outcome.estimate < against) == (direction == "lower") else REFUTED


def mean_text(values: Sequence[float]) -> str:
    """Mean and standard deviation, as a sentence has them."""
    return number(plain.fmean(values), plain.stdev(values) if len(values) > 1 else None)


def times(outcome: Outcome) -> str:
    """A ratio with its interval and p."""
    return f"{number(outcome.estimate)} times, {interval(outcome)}"


def interval(outcome: Outcome) -> str:
    """The confidence interval and p of a test."""
    if math.isnan(outcome.low):
        return p(outcome)
    return f"95 % interval {number(outcome.low)} to {number(outcome.high)}, {p(outcome)}"


def p(outcome: Outcome | float) -> str:
    """A p-value as it is written."""
    shown = outcome.p if isinstance(outcome, Outcome) else outcome
    if math.isnan(shown):
        return "no test: the values have no spread"
    return f"p = {number(shown)}" if shown >= 0.0001 else "p < 0.0001"


def counts(*samples: Sequence[Any]) -> str:
    """Sample sizes: ``3 and 3``."""
    return " and ".join(str(len(sample)) for sample in samples)


WELCH = f"Welch's t on logarithms, two-sided at {LEVEL:.0%}, at least {LEAST} seeds a side"


def compare(
    a: Group | None,
    b: Group | None,
    key: Quantity | None,
    direction: str,
    what: str,
    names: tuple[str, str],
    decides: bool = True,
    factor: float = 1.0,
    unit: str = "",
) -> Found:
    """Whether a positive number of ``a`` is ``lower`` or ``higher`` than that of ``b``, by its logarithm."""
    groups = [g.named(n) if g is not None else Group("", [], n) for g, n in zip((a, b), names, strict=True)]
    if key == LATENCY:
        groups = [Group(g.model, _on_one_device(g.runs, groups), g.label) for g in groups]
    values = [[v * factor for v in g.values(key)] if key and g.runs else [] for g in groups]
    short = [g.label for g, v in zip(groups, values, strict=True) if len([x for x in v if x > 0]) < LEAST]
    if short:
        return Missing(
            f"{what} of {' and '.join(short)}, {LEAST} finished seeds" + " on one device" * (key == LATENCY),
            decides=decides,
        )
    if any(x <= 0 for v in values for x in v):
        return Missing(f"positive values of {what}", decides=decides)
    outcome = tests.ratio(tests.welch, *values)
    sentence = (
        f"{what.capitalize() if what.islower() else what}: {groups[0].label} {mean_text(values[0])}{unit}, "
        f"{groups[1].label} {mean_text(values[1])}{unit} ({times(outcome)})."
    )
    rows = [(g.label, g.family, v) for g, v in zip(groups, values, strict=True)]
    panel = Dots(what + (f" ({unit.strip()})" if unit else ""), rows, log=True)
    used = [run for g in groups for run in g.finished]
    verdict = judge(outcome, direction, 1.0)
    return Part(sentence, verdict, WELCH, counts(*values), outcome, panel, used, decides)


def _on_one_device(runs: Sequence[Run], groups: Sequence[Group]) -> list[Run]:
    """Of some runs those whose speed was measured as that of most runs of the groups was."""
    devices = Counter(_device(run) for group in groups for run in group.finished)
    return [run for run in runs if not devices or _device(run) == devices.most_common(1)[0][0]]


def _device(run: Run) -> str:
    """The device, and all else that has to agree for two times to be comparable."""
    return repr(timed_by(run))


def quality_name(study: Study) -> str:
    """What the study's distance is called in a sentence."""
    return study.quality.name if study.quality else "Fréchet distance"


# ------------------------------------------------------------------------------------------------------------
# the sentences


SCALING = (
    "slope of log against log by least squares, its 95 % interval, at least 3 sizes a model; depth grows: "
    f"interval above {LEVEL_SLOPE}; is constant: within ±{LEVEL_SLOPE}"
)


@claim("autoregressive", "Autoregressive generation cannot be parallelised.", everything=True)
def autoregressive(runs: Sequence[Run]) -> Iterator[Found]:
    depths = _scalings(runs, SEQUENTIAL_EVALUATIONS)
    slow = [(m, f, o) for m, f, _, _, o, ar, _ in depths if ar]
    one_pass = [(m, f, o) for m, f, _, _, o, ar, _ in depths if not ar and f in ONE_PASS]
    used = [run for *_, own in depths for run in own]
    lack = f"one model of each side at {LEAST} or more sizes D of one data set (data.side)"
    if not slow or not one_pass:
        yield Missing(f"sequential evaluations of {lack}")
    else:
        grows = [o.low > LEVEL_SLOPE for _, _, o in slow]
        constant = [o.high < LEVEL_SLOPE for _, _, o in slow]
        verdict = SUPPORTED if all(grows) else REFUTED if any(constant) else UNDECIDED
        curves = [(m, _coloured(f, ar), x, y) for m, f, x, y, _, ar, _ in depths]
        yield Part(
            f"Sequential network evaluations of a sample grow with its dimensions D as {_powers(slow)}.",
            verdict, SCALING, _sizes(depths), slow[0][2],
            Lines("dimensions D", "sequential evaluations", curves), used,
        )  # fmt: skip
        level = [abs(o.low) < LEVEL_SLOPE and abs(o.high) < LEVEL_SLOPE for _, _, o in one_pass]
        rises = [o.low > LEVEL_SLOPE for _, _, o in one_pass]
        verdict = SUPPORTED if all(level) else REFUTED if any(rises) else UNDECIDED
        yield Part(
            f"Those of families that draw all dimensions at once: {_powers(one_pass)}.",
            verdict, SCALING, _sizes(depths), one_pass[0][2], None, used,
        )  # fmt: skip
        rest = [(m, f, o) for m, f, _, _, o, ar, _ in depths if not ar and f not in ONE_PASS]
        if rest:
            yield Part(
                f"Those of solvers, whose depth is chosen by a tolerance: {_powers(rest)}."
                + _untrained([r for r in used if r.record.family in {f for _, f, _ in rest}]),
                UNDECIDED, SCALING, _sizes(depths), rest[0][2], None, used, decides=False,
            )  # fmt: skip
    latencies = _scalings(runs, LATENCY)
    slow = [(m, f, o) for m, f, _, _, o, ar, _ in latencies if ar]
    others = [(m, f, o) for m, f, _, _, o, ar, _ in latencies if not ar and f in ONE_PASS]
    if len(slow) < 2 or len(others) < 2:
        yield Missing(f"seconds a sample of {lack}", decides=False)
        return
    outcome = tests.welch([o.estimate for *_, o in slow], [o.estimate for *_, o in others])
    rows = [(m, _coloured(f, ar), x, [1e3 * v for v in y]) for m, f, x, y, _, ar, _ in latencies]
    yield Part(
        f"Time of one sample grows as {_powers(slow)}: exponents larger by {number(outcome.estimate)} than "
        f"those of families that draw all dimensions at once ({p(outcome)}).",
        judge(outcome, "higher"), f"Welch's t of the exponents of models, two-sided at {LEVEL:.0%}",
        counts(slow, others) + " models", outcome, Lines("dimensions D", "latency (ms)", rows),
        [run for *_, own in latencies for run in own],
    )  # fmt: skip
    rest = [(m, f, o) for m, f, _, _, o, ar, _ in latencies if not ar]
    rising = [m for m, _, o in rest if o.low > 0]
    yield Part(
        f"Times of the others, which are not tested for being constant: {_powers(rest)}"
        + (f"; that of {', '.join(rising)} grows" if rising else "") + ".",
        UNDECIDED, SCALING.partition(",")[0] + ", its 95 % interval", _sizes(latencies), decides=False,
    )  # fmt: skip


def _coloured(family: str, is_drawn_one_by_one: bool) -> str:
    """The family whose colour a model has in this claim's figure: autoregressive flows that of their side."""
    return "autoregressive" if is_drawn_one_by_one else family


def _untrained(runs: Sequence[Run]) -> str:
    """A remark on solvers' depths where the networks that they solve are (nearly) as initialised."""
    updates = max((v for run in runs if (v := UPDATES.of(run.record)) is not None), default=math.inf)
    if updates >= UNTRAINED:
        return ""
    return (
        f" These networks are untrained (at most {updates:.0f} updates): an adaptive solver's depth depends "
        "on what was learned, so this says nothing of trained ones."
    )


ONE_PASS = ("flow", "vae", "gan")
Scaling = tuple[str, str, list[float], list[float], Outcome, bool, list[Run]]


def _scalings(runs: Sequence[Run], key: Quantity) -> list[Scaling]:
    """Model, family, sizes, means, exponent, whether it is autoregressive, runs: of models seen at 3 sizes or
    more that differ in the data's size alone."""
    found: dict[tuple[str, ...], list[Run]] = {}
    runs = _on_one_device(runs, [Group("", list(runs))]) if key == LATENCY else runs
    for run in runs:
        shape = (run.record.provenance.get("data") or {}).get("shape")
        if shape and run.record.status == "finished" and (key.of(run.record) or 0) > 0:
            found.setdefault(_without_size(run), []).append(run)
    scalings = []
    for own in found.values():
        sizes: dict[float, list[float]] = {}
        for run in own:
            size = math.prod(run.record.provenance["data"]["shape"])
            sizes.setdefault(float(size), []).append(key.of(run.record) or 0.0)
        if len(sizes) >= 3:
            x = sorted(sizes)
            y = [plain.fmean(sizes[size]) for size in x]
            outcome = tests.slope([math.log(v) for v in x], [math.log(v) for v in y])
            record = own[0].record
            scalings.append((record.model, record.family, x, y, outcome, is_autoregressive(own[0]), own))
    most: dict[str, Scaling] = {}
    for scaling in scalings:
        if scaling[0] not in most or len(scaling[2]) > len(most[scaling[0]][2]):
            most[scaling[0]] = scaling
    return list(most.values())


def _without_size(run: Run) -> tuple[str, ...]:
    provenance = run.record.provenance
    config = provenance.get("config") or {}
    source = {k: v for k, v in (config.get("data") or {}).items() if k not in ("side", "size", "name")}
    rest = {k: config.get(k) for k in ("model", "training", "trainer")}
    return run.record.model, str(source), str(rest), str(provenance.get("protocol_hash"))


def _powers(found: Sequence[tuple[str, str, Outcome]]) -> str:
    def one(model: str, outcome: Outcome) -> str:
        if outcome.high - outcome.low < 1e-9:
            return f"D^{outcome.estimate:.2f} exactly ({model})"
        return f"D^{outcome.estimate:.2f} [{outcome.low:.2f}, {outcome.high:.2f}] ({model})"

    return ", ".join(one(model, outcome) for model, _, outcome in found)


def _sizes(scalings: Sequence[Scaling]) -> str:
    return f"{len(scalings)} models at {', '.join(f'{size:.0f}' for size in scalings[0][2])} dimensions"


SHARPNESS_TEST = f"one-sample t of log sharpness against 0, two-sided at {LEVEL:.0%}, at least {LEAST} seeds"


@claim("vae-blurry", "VAEs are blurry.")
def vae_blurry(study: Study) -> Iterator[Found]:
    vae = study.baseline("vae")
    values = vae.values(SHARPNESS) if vae is not None else []
    if vae is None or len(values) < LEAST:
        yield Missing(f"sharpness of vae, {LEAST} finished seeds")
    else:
        outcome = tests.ratio(tests.mean_of, values)
        blur = [
            v for run in vae.finished if isinstance(v := _detail(run, "sharpness", "blur_sigma"), int | float)
        ]
        as_blurred = f", like real images blurred by {number(plain.fmean(blur))} pixels" if blur else ""
        yield Part(
            f"The VAE's samples have {number(outcome.estimate)} times the sharpness of real images"
            f"{as_blurred} ({interval(outcome)}).",
            judge(outcome, "lower", 1.0), SHARPNESS_TEST, str(len(values)), outcome,
            _sharpness_panel(study), vae.finished,
        )  # fmt: skip
    for rival in ("gan", "realnvp", "glow"):
        yield compare(
            vae,
            study.baseline(rival),
            SHARPNESS,
            "lower",
            "sharpness",
            ("vae", rival),
            rival != "glow",
        )
    other = study.baseline("vae_hierarchical")
    if other is not None and len(other.values(SHARPNESS)) >= LEAST:
        outcome = tests.ratio(tests.mean_of, other.values(SHARPNESS))
        yield Part(
            f"The hierarchical VAE's samples: {number(outcome.estimate)} times ({p(outcome)}).",
            judge(outcome, "lower", 1.0), SHARPNESS_TEST, str(len(other.finished)), outcome, None,
            other.finished, False,
        )  # fmt: skip


def _detail(run: Run, metric: str, name: str) -> Any:
    found = run.record.metrics.get(metric)
    return found.details.get(name) if found is not None else None


def _sharpness_panel(study: Study) -> Dots:
    rows = [(g.label, g.family, v) for g in study.baselines() if (v := g.values(SHARPNESS))]
    return Dots("sharpness (real images: 1)", sorted(rows, key=lambda row: -plain.fmean(row[2])), 1.0)


def _tricks(settings: dict[str, Any]) -> bool:
    """A GAN without momentum off, averaging or R1."""
    betas = settings.get("training.betas") or [0.0]
    return not settings.get("training.r1") and not settings.get("training.ema") and betas[0] > 0


# Times the flow's distance: a GAN that far off at its best rate has not learned, and is not called stable for
# it. Added after the records of the digits had been seen (docs/claims.md).
FAR = 3.0
BARE = "the GAN without its tricks (momentum, no averaged weights, no R1)"


@claim("gan-unstable", "GAN training is unstable, flow training is stable.")
def gan_unstable(study: Study) -> Iterator[Found]:
    bare = _named(_widest(study, study.of("gan", _tricks)), "gan without tricks")
    flows = [study.baseline(name) for name in ("realnvp", "maf")]
    for flow, name in zip(flows, ("realnvp", "maf"), strict=True):
        yield _sensitivity(study, bare, flow, (BARE, name))
    for name in ("gan", "vae"):
        yield _sensitivity(study, study.baseline(name), flows[0], (name, "realnvp"), decides=False)
    for flow, name in zip(flows, ("realnvp", "maf"), strict=True):
        yield _oscillation(flow, bare, (name, "gan without tricks"))
    gans = study.baselines("gan") + ([bare] if bare is not None else [])
    others = [g for g in study.baselines() if g.family not in ("gan", "unknown")]
    yield from _ended(study)
    for key, what in (
        (LOSS_SPIKES, "loss spikes"),
        (GRADIENT_SPIKES, "gradient spikes"),
        (NON_FINITE_STEPS, "steps without a finite loss or gradient"),
    ):
        counted = [[(v, w) for g in side for run in g.runs
                    if (v := key.of(run.record)) is not None and (w := UPDATES_WATCHED.of(run.record))]
                   for side in (gans, others)]  # fmt: skip
        if all(counted):
            shares = [1000 * sum(v for v, _ in side) / sum(w for _, w in side) for side in counted]
            yield Part(
                f"In 1,000 updates {number(shares[0])} {what} of GANs, {number(shares[1])} of the others.",
                UNDECIDED, "", counts(*counted), decides=False,
            )  # fmt: skip


def _widest(study: Study, found: Sequence[Group]) -> Group | None:
    """Of several configurations the one that was run at most learning rates."""
    return max(found, key=lambda g: (len(study.rates(g)), len(g.runs)), default=None)


def _named(group: Group | None, label: str) -> Group | None:
    return group.named(label) if group is not None else None


def _sensitivity(
    study: Study, a: Group | None, b: Group | None, names: tuple[str, str], decides: bool = True
) -> Found:
    """Whether the result of ``a`` depends more on the learning rate than that of ``b``."""
    short = Missing(
        f"{names[0]} and {names[1]} at 3 or more common learning rates, {LEAST} seeds each", decides=decides
    )
    common = [r for r in study.rates(a) if r in study.rates(b)] if a is not None and b is not None else []
    if a is None or b is None or len(common) < 3:
        return short
    best = [_best(study, g, common) for g in (a, b)]
    if math.isinf(min(best)):
        return replace(
            short, needs=f"a finished run of {names[0]} or of {names[1]} at a common learning rate"
        )
    found = sensitivities(study, [a, b])
    if found is None or min(map(len, found[1])) < LEAST:
        return short
    rates, spreads = found
    gone = [_diverged(study, g, rates) for g in (a, b)]
    lost = [sum(own) for own in gone]
    seen = [[v for v, out in zip(*own, strict=True) if not out] for own in zip(spreads, gone, strict=True)]
    if all(seen):
        largest = max(seen[0] + seen[1])
        bounded = [[*own, *[largest] * n] for own, n in zip(seen, lost, strict=True)]
        outcome = tests.welch(*bounded)
        verdict = judge(outcome, "higher")
        more = {REFUTED: lost[0] > lost[1], SUPPORTED: lost[1] > lost[0]}
        if more.get(verdict):  # a spread without bound is no evidence of being the steadier one
            verdict = UNDECIDED
    else:  # one side has none that is bounded: that is counted, not tested
        outcome = None
        verdict = SUPPORTED if not lost[1] else REFUTED if not lost[0] else UNDECIDED
    caveat = ""
    if verdict == REFUTED and best[0] > FAR * best[1]:
        verdict = UNDECIDED
        caveat = (
            f" But the best mean distance of {a.label} is {number(best[0])}, over {FAR:g} times the "
            f"{number(best[1])} of {b.label}: it learned at no rate, and a small spread of failures is no "
            "stability."
        )
    told = [
        (mean_text(own) if own else "")
        + (", " if own and n else "")
        + (f"without bound at {n} seeds (a run diverged)" if n else "")
        for own, n in zip(seen, lost, strict=True)
    ]
    rows = [(g.label, g.family, v) for g, v in zip((a, b), seen, strict=True) if v]
    return Part(
        f"Over learning rates {', '.join(f'{rate:g}' for rate in rates)} the standard deviation of log "
        f"{quality_name(study)} is {told[0]} for {a.label}, "
        f"{told[1]} for {b.label} ({p(outcome) if outcome else 'a count'}).{caveat}",
        verdict,
        f"Welch's t of each seed's spread over the rates, two-sided at {LEVEL:.0%}, {LEAST} seeds a side; a "
        "seed of which a run diverged counts as the largest seen; a count where all seeds of a side did",
        counts(*spreads), outcome,
        Dots(f"spread of log {quality_name(study)} over rates", rows) if rows else None,
        [run for g in (a, b) for rate in rates for run in study.rates(g)[rate].runs], decides,
    )  # fmt: skip


def _diverged(study: Study, group: Group, rates: Sequence[float]) -> list[bool]:
    """For each seed that :func:`sensitivities` tells of, whether it diverged at some rate."""
    by_rate = [study.rates(group)[rate].runs for rate in rates]
    seeds = sorted(set.intersection(*[{run.record.seed for run in runs} for runs in by_rate]))
    out = {run.record.seed for runs in by_rate for run in runs if run.record.status == "diverged"}
    return [seed in out for seed in seeds]


def _best(study: Study, group: Group, rates: Sequence[float]) -> float:
    """The smallest, over learning rates, of a model's mean distances; infinite where no run finished."""
    grid = study.rates(group)
    found = [v for rate in rates if (v := grid[rate].values(study.quality))]
    return min((plain.mean(values) for values in found), default=math.inf)


def _ended(study: Study) -> Iterator[Part]:
    """How many runs of GANs and of flows came to their end."""
    sides = [[r for g in study.groups if g.family == family for r in g.runs] for family in ("gan", "flow")]
    if not all(sides):
        return
    lost = [sum(r.record.status != "finished" for r in side) for side in sides]
    chance = tests.fisher(lost[0], len(sides[0]), lost[1], len(sides[1]))
    yield Part(
        f"{lost[0]} of {len(sides[0])} runs of GANs and {lost[1]} of {len(sides[1])} of flows did not finish "
        f"({p(chance)}).",
        UNDECIDED, f"Fisher's exact test at {LEVEL:.0%}", counts(*sides), decides=False,
        runs=[run for side in sides for run in side],
    )  # fmt: skip


@claim("flows-parallel-sharp", "Flows generate in parallel and sharply.")
def flows_parallel_sharp(study: Study) -> Iterator[Found]:
    coupling = [g for name in ("realnvp", "glow", "nsf_coupling") if (g := study.baseline(name)) is not None]
    enough = [g for g in coupling if len(g.values(SHARPNESS)) >= LEAST]
    if not enough:
        yield Missing(f"sharpness of a coupling flow, {LEAST} finished seeds")
        return
    shape = (enough[0].finished[0].record.provenance.get("data") or {}).get("shape") or [0]
    pixels = math.prod(shape)
    depths = [max(g.values(SEQUENTIAL_EVALUATIONS), default=math.nan) for g in enough]
    told = ", ".join(f"{g.label} {d:.0f}" for g, d in zip(enough, depths, strict=True))
    yield Part(
        f"Sequential network evaluations of one sample of {pixels} dimensions: {told}.",
        SUPPORTED if all(d < pixels for d in depths) else REFUTED,
        "a count: fewer than the dimensions", "exact", runs=[r for g in enough for r in g.finished],
    )  # fmt: skip
    panel: Panel | None = _sharpness_panel(study)
    for group in enough:
        for name, what in (("sharpness", "Sharpness"), ("sharpness/spectrum", "Spectral sharpness")):
            found = _as_sharp_as_real(study, group, name, what)
            yield replace(found, panel=panel) if isinstance(found, Part) else found
            panel = None


def _as_sharp_as_real(study: Study, group: Group, name: str, what: str) -> Found:
    """Whether a measure of sharpness is that of real images, of samples that resemble these at all."""
    values = group.values(metric_value(name))
    if len(values) < LEAST:
        return Missing(f"{what.lower()} of {group.label}, {LEAST} finished seeds")
    outcome = tests.ratio(tests.mean_of, values)
    inside = outcome.low > SHARP and outcome.high < 1 / SHARP
    outside = outcome.high < SHARP or outcome.low > 1 / SHARP
    verdict = SUPPORTED if inside else REFUTED if outside else UNDECIDED
    far, remark = _floors(study, group), ""
    if verdict == SUPPORTED and not far <= COLLAPSED:
        verdict = UNDECIDED
        remark = " But no distance says that these are images" if math.isnan(far) else (
            f" But the samples are {far:.0f} times as far from real examples as these are from each other"
        )  # fmt: skip
        remark += ", and noise has fine structure too."
    return Part(
        f"{what} of {group.label}: {number(outcome.estimate)} times that of real images, "
        f"{interval(outcome)}.{remark}",
        verdict,
        f"equivalence: the 95 % t interval of its logarithm lies within {SHARP:g} to {1 / SHARP:g}, of "
        f"samples at most {COLLAPSED:g} times as far from real examples as these are from each other",
        str(len(values)),
        outcome,
        runs=group.finished,
    )


@claim("wgan", "The WGAN's empirical results are not very good.")
def wgan(study: Study) -> Iterator[Found]:
    yield _better(study, study.baseline("wgan"), study.baseline("gan"), ("wgan", "gan"), "higher")
    yield _spent(study.baseline("wgan"), study.baseline("gan"))


@claim("gradient-penalty", "A gradient penalty mends what clipping the WGAN's weights breaks.")
def gradient_penalty(study: Study) -> Iterator[Found]:
    yield _better(study, study.baseline("wgan_gp"), study.baseline("wgan"), ("wgan_gp", "wgan"))
    yield compare(
        study.baseline("wgan_gp"), study.baseline("wgan"), SHARPNESS, "higher", "sharpness",
        ("wgan_gp", "wgan"), decides=False,
    )  # fmt: skip


@claim("spectral-norm", "Spectral normalisation of the critic improves a GAN.")
def spectral_norm(study: Study) -> Iterator[Found]:
    names = ("spectral critic", "plain critic")
    yield _better(study, *trick(study, "model.critic_norm", lambda norm: norm == "none", names), names)
    for plain_critic, spectral in study.pair("gan", "model.critic_norm", _no_penalty):
        sides = (spectral.named("spectral critic without R1"), plain_critic.named("plain critic without R1"))
        yield _better(study, *sides, (sides[0].label, sides[1].label), decides=False)
    yield _better(study, study.baseline("sngan"), study.baseline("wgan"), ("sngan", "wgan"), decides=False)


def _no_penalty(settings: dict[str, Any]) -> bool:
    return settings.get("model.critic_norm") == "none" and not settings.get("training.r1")


def _better(
    study: Study,
    a: Group | None,
    b: Group | None,
    names: tuple[str, str],
    direction: str = "lower",
    decides: bool = True,
) -> Found:
    found = compare(a, b, study.quality, direction, quality_name(study), names, decides)
    if a is None or b is None or not isinstance(found, Part):
        return found
    return replace(found, sentence=found.sentence + _collapsed(study, a, b))


def _floors(study: Study, group: Group) -> float:
    """A model's mean distance over that of real examples, the metric's floor; NaN where one is unknown."""
    if study.quality is None:
        return math.nan
    name = study.quality.name
    metrics = [m for run in group.finished if (m := run.record.metrics.get(name)) is not None]
    floors = [v for m in metrics if isinstance(v := m.details.get("floor"), int | float) and v > 0]
    values = group.values(study.quality)
    return plain.fmean(values) / plain.fmean(floors) if floors and values else math.nan


def _collapsed(study: Study, a: Group, b: Group) -> str:
    """A remark where neither side is anywhere near real examples' distance."""
    far = [_floors(study, g) for g in (a, b)]
    if not min(far) > COLLAPSED or any(map(math.isnan, far)):
        return ""
    return (
        f" Both are collapsed, {far[0]:.0f} and {far[1]:.0f} times as far as real examples: the "
        "test has no power to say what it does to a generator that learns."
    )


def _spent(a: Group | None, b: Group | None) -> Found:
    """What two trainings cost, as a sentence."""
    if a is None or b is None or not a.finished or not b.finished:
        return Missing("runs of both", decides=False)
    told = [
        f"{g.label} {plain.fmean(g.values(UPDATES)):,.0f} updates and "
        f"{plain.fmean(g.values(IMAGES_SEEN)):,.0f} real images"
        for g in (a, b)
        if g.values(UPDATES) and g.values(IMAGES_SEEN)
    ]
    return Part(f"Spent: {', '.join(told)}.", UNDECIDED, "", counts(a.runs, b.runs), decides=False)


def trick(
    study: Study, key: str, off: Callable[[Any], bool], names: tuple[str, str]
) -> tuple[Group | None, Group | None]:
    """The GAN with a trick and without it: configurations that differ in that setting alone."""
    for pair in study.pair("gan", key):
        without, with_it = sorted(pair, key=lambda g: not off(g.settings.get(key)))
        if off(without.settings.get(key)) and not off(with_it.settings.get(key)):
            return with_it.named(names[0]), without.named(names[1])
    return None, None


@claim("momentum-off", "A GAN trains better with momentum off.")
def momentum_off(study: Study) -> Iterator[Found]:
    names = ("beta1 = 0", "beta1 = 0.5")
    pair = trick(study, "training.betas", lambda betas: betas[0] > 0, names)
    yield _better(study, *pair, names)
    yield _oscillation(*pair, names)


@claim("ema", "Averaging a GAN's weights improves its samples.")
def ema(study: Study) -> Iterator[Found]:
    names = ("averaged weights", "last weights")
    pair = trick(study, "training.ema", lambda e: not e, names)
    yield _better(study, *pair, names)
    yield _oscillation(*pair, names)


@claim("augmentation", "Augmentation for the critic helps a GAN where data are few.")
def augmentation(study: Study) -> Iterator[Found]:
    names = ("augmented", "not augmented")
    pair = trick(study, "training.augment", lambda a: not a, names)
    yield _better(study, *pair, names)
    yield compare(*pair, _metric(study, "memorisation"), "lower", "memorisation", names, decides=False)


@claim("truncation", "Truncating a GAN's latents trades diversity for fidelity.")
def truncation(study: Study) -> Iterator[Found]:
    names = ("truncated", "not truncated")
    pair = trick(study, "model.truncation", lambda t: t in (None, 1.0), names)
    yield compare(*pair, _metric(study, "precision"), "higher", "precision", names)
    yield compare(*pair, _metric(study, "recall"), "lower", "recall", names)


def _metric(study: Study, start: str) -> Quantity | None:
    """The study's metric of this name, whatever its extractor."""
    names = sorted({n for run in study.runs for n in run.record.metrics if n.partition("/")[0] == start})
    return metric_value(names[0]) if names else None


def _oscillation(a: Group | None, b: Group | None, names: tuple[str, str]) -> Found:
    """Whether the distance of samples swings less in the training of ``a``, the curve that families share."""
    what = "oscillation of the distance of samples"
    return compare(a, b, oscillation_of("val/energy_distance"), "lower", what, names, decides=False)


def _likelihood(a: Group | None, b: Group | None, direction: str, decides: bool = True) -> Found:
    """Bits/dim (or nats) of two groups, if they are of one kind."""
    if a is None or b is None:
        return Missing("the likelihood of both models", decides=decides)
    likelihood = BITS_PER_DIM if a.values(BITS_PER_DIM) else NLL
    kinds = a.kinds(likelihood.name) | b.kinds(likelihood.name)
    if len(kinds) > 1:
        return Missing(
            f"likelihoods of one kind ({a.label} and {b.label}: {', '.join(sorted(kinds))})", decides=decides
        )
    samples = [g.values(likelihood) for g in (a, b)]
    short = [g.label for g, s in zip((a, b), samples, strict=True) if len(s) < LEAST]
    if short:
        return Missing(f"likelihood of {' and '.join(short)}, {LEAST} finished seeds", decides=decides)
    outcome = tests.welch(*samples)
    rows = [(g.label, g.family, s) for g, s in zip((a, b), samples, strict=True)]
    return Part(
        f"Test likelihood ({kinds.pop()}): {a.label} {mean_text(samples[0])}, "
        f"{b.label} {mean_text(samples[1])} {likelihood.unit} "
        f"(difference {number(outcome.estimate)}, {interval(outcome)}; lower is better).",
        judge(outcome, direction), f"Welch's t, two-sided at {LEVEL:.0%}, at least {LEAST} seeds a side",
        counts(*samples), outcome, Dots(likelihood.unit, rows), a.finished + b.finished, decides,
    )  # fmt: skip


@claim(
    "coupling-autoregressive",
    "An autoregressive flow has the better density, an affine coupling flow the faster samples.",
)
def coupling_autoregressive(study: Study) -> Iterator[Found]:
    for decides, one, other in ((True, "maf", "realnvp"), (False, "nsf_autoregressive", "nsf_coupling")):
        a, b = study.baseline(one), study.baseline(other)
        yield _likelihood(a, b, "lower", decides)
        yield compare(
            a,
            b,
            LATENCY,
            "higher",
            "latency of one sample",
            (one, other),
            decides,
            1e3,
            " ms",
        )


@claim(
    "discrete-continuous", "A continuous flow needs fewer parameters than a discrete one of the same quality."
)
def discrete_continuous(study: Study) -> Iterator[Found]:
    a, b = study.baseline("ffjord"), study.baseline("realnvp")
    sizes = [g.values(PARAMETERS) if g is not None else [] for g in (a, b)]
    if a is None or b is None or not all(sizes) or len(a.finished) < LEAST or len(b.finished) < LEAST:
        yield Missing(f"ffjord and realnvp, {LEAST} finished seeds each")
        return
    quality = _better(study, a, b, ("ffjord", "realnvp"))
    if isinstance(quality, Missing) or quality.outcome is None:
        yield quality
    else:
        verdict, remark = _matched(sizes[0][0] < sizes[1][0], quality.outcome)
        yield replace(
            quality,
            sentence=f"Parameters: ffjord {sizes[0][0]:,.0f}, realnvp {sizes[1][0]:,.0f}. "
            f"{quality.sentence}{remark}",
            verdict=verdict,
            test=f"{WELCH}, beside a count; the same quality: the 95 % interval within {1 / MARGIN:g} to "
            f"{MARGIN:g}",
            panel=_scatter(study, PARAMETERS, "parameters"),
        )
    yield compare(
        a,
        b,
        LATENCY,
        "higher",
        "latency of one sample",
        ("ffjord", "realnvp"),
        False,
        1e3,
        " ms",
    )


def _matched(fewer: bool, ratio: Outcome) -> tuple[str, str]:
    """The verdict on fewer parameters at the same quality, from the ratio of distances, and a remark."""
    better, worse = (ratio.p < LEVEL and (ratio.estimate > 1) == up for up in (False, True))
    same = ratio.low > 1 / MARGIN and ratio.high < MARGIN
    if fewer and (better or same):
        return SUPPORTED, ""
    if not fewer and (worse or same):
        return REFUTED, ""
    seen = "worse" if worse else "better" if better else "neither better nor the same beyond doubt"
    return UNDECIDED, (
        f" Quality was not matched: the continuous flow has {'fewer' if fewer else 'no fewer'} parameters "
        f"and is {seen}, which says nothing of flows of the same quality."
    )


def _scatter(study: Study, key: Quantity, axis: str) -> Panel | None:
    """Every flow's quality against another number."""
    quality = study.quality
    if quality is None:
        return None
    points = [
        (g.label, g.family, plain.fmean(x), plain.fmean(y))
        for g in study.baselines()
        if g.family in ("flow", "continuous flow", "diffusion")
        and (x := g.values(key))
        and (y := g.values(quality))
    ]
    return Scatter(axis, quality_name(study), points)


@claim(
    "restricted-architecture", "A discrete flow's architecture is restricted, a continuous flow's is free."
)
def restricted_architecture(study: Study) -> Iterator[Found]:
    """Each kind of discrete flow, with at least as many parameters, against a continuous one."""
    free = study.baseline("ffjord")
    run = f"{SWEEP}` and give its runs too, `zoo claims ... runs/claims_digits"  # whatever data this is about
    for name, restriction in RESTRICTED.items():
        a, b = free, study.baseline(name)
        lack = Missing(
            f"ffjord and {name} of as many parameters and updates, {LEAST} finished seeds each", run
        )
        sizes = [max(g.values(PARAMETERS), default=math.nan) if g else math.nan for g in (a, b)]
        budgets = [{*g.values(UPDATES)} if g else set() for g in (a, b)]
        if a is None or b is None or not 1 <= sizes[1] / sizes[0] <= MARGIN or budgets[0] != budgets[1]:
            yield lack
            continue
        samples = [g.values(study.quality) for g in (a, b)]
        if min(map(len, samples)) < LEAST:
            yield lack
            continue
        outcome = tests.welch(*samples)  # not of logarithms: an unbiased distance may be zero
        rows = [(g.label, g.family, v) for g, v in zip((a, b), samples, strict=True)]
        yield Part(
            f"{name} ({restriction}; {sizes[1]:,.0f} parameters): {quality_name(study)} "
            f"{mean_text(samples[1])}; ffjord (any field; {sizes[0]:,.0f}): {mean_text(samples[0])} "
            f"(difference {number(outcome.estimate)}, {interval(outcome)}).",
            judge(outcome, "lower"),
            f"Welch's t, two-sided at {LEVEL:.0%}, at least {LEAST} seeds a side; parameters of the discrete "
            f"flow 1 to {MARGIN:g} times the continuous one's, updates the same",
            counts(*samples), outcome, Dots(quality_name(study), rows), a.finished + b.finished,
        )  # fmt: skip


RESTRICTED = {
    "realnvp": "half of the dimensions pass each layer as they are",
    "maf": "triangular Jacobians",
    "residual_flow": "Lipschitz constants below 1",
}


@claim("field-width", "A continuous flow with a small f is not expressive, one with a large f is slow.")
def field_width(study: Study) -> Iterator[Found]:
    widths = sorted(study.of("ffjord"), key=lambda g: max(g.values(PARAMETERS), default=0))
    base = study.baseline("ffjord")
    axis = "model.channels" if base is not None and "model.channels" in base.settings else "model.hidden"
    widths = [g for g in widths if base is not None and differing(g, base) <= {axis}]
    if len(widths) < 2:
        yield Missing("ffjord with two widths of its field")
        return
    small, large = (
        g.named(f"width {'-'.join(map(str, g.settings.get(axis) or []))}") for g in (widths[0], widths[-1])
    )
    yield _likelihood(small, large, "higher")
    names = (large.label, small.label)
    yield compare(large, small, LATENCY, "higher", "latency of one sample", names, True, 1e3, " ms")
    yield _better(study, small, large, names[::-1], "higher", decides=False)


@claim(
    "matching-efficient",
    "Diffusion's training (matching) makes a continuous flow of the same network more efficiently.",
)
def matching_efficient(study: Study) -> Iterator[Found]:
    run = "zoo sweep ffjord_vs_matching` and give its runs too, `zoo claims ... runs/ffjord_vs_matching"

    def timed(settings: dict[str, Any]) -> bool:
        return bool(settings.get("training.max_seconds"))

    ffjord, matching = (_widest(study, study.of(name, timed)) for name in ("ffjord", "flow_matching"))
    if ffjord is None or matching is None:
        yield Missing("ffjord and flow_matching trained for equal seconds", run)
        return
    seconds = [g.settings["training.max_seconds"] for g in (ffjord, matching)]
    sizes = [max(g.values(PARAMETERS), default=0) for g in (ffjord, matching)]
    devices = {_device(run) for g in (ffjord, matching) for run in g.finished}
    if seconds[0] != seconds[1] or len(devices) > 1 or not 0.8 < sizes[0] / max(sizes[1], 1) < 1.25:
        yield Missing(
            "ffjord and flow_matching with the same field and budget of seconds, on one device", run
        )
        return
    yield Part(
        f"The same field ({sizes[0]:,.0f} and {sizes[1]:,.0f} parameters), {seconds[0]:g} seconds each: "
        f"{plain.fmean(ffjord.values(UPDATES) or [0]):,.0f} updates of FFJORD's likelihood, "
        f"{plain.fmean(matching.values(UPDATES) or [0]):,.0f} of flow matching.",
        UNDECIDED, "", counts(ffjord.runs, matching.runs), decides=False, runs=ffjord.runs + matching.runs,
    )  # fmt: skip
    yield _likelihood(matching, ffjord, "lower")


@claim("likelihood-quality", "Likelihood and sample quality need not agree.")
def likelihood_quality(study: Study) -> Iterator[Found]:
    """Decided by inversions: two models of one kind, one with better likelihood and worse samples."""
    quality = study.quality
    likelihood = BITS_PER_DIM if any("bits_per_dim" in r.record.metrics for r in study.runs) else NLL
    if quality is None:
        yield Missing("a distance between samples and data")
        return
    by_kind: dict[str, list[Group]] = {}
    for group in study.baselines():
        kinds = group.kinds(likelihood.name)
        if len(kinds) == 1 and min(len(group.values(likelihood)), len(group.values(quality))) >= LEAST:
            by_kind.setdefault(kinds.pop(), []).append(group)
    kind, models = max(by_kind.items(), key=lambda item: len(item[1]), default=("", []))
    if len(models) < 4:
        yield Missing(f"four or more models whose likelihoods are of one kind, {LEAST} finished seeds each")
        return
    likelihoods = [plain.fmean(g.values(likelihood)) for g in models]
    distances = [plain.fmean(g.values(quality)) for g in models]
    correlation = tests.spearman(likelihoods, distances)
    points = [(g.label, g.family, a, b) for g, a, b in zip(models, likelihoods, distances, strict=True)]
    sure = _inversions(models, likelihood, quality)
    told = "; ".join(f"{a.label} has the better likelihood and the worse samples of {a.label} and {b.label} "
                     f"({p(adjusted)})" for a, b, adjusted in sure[:3])  # fmt: skip
    agrees = correlation.p < LEVEL and correlation.estimate > 0
    yield Part(
        f"Over {len(models)} models of kind {kind} {likelihood.name} and {quality_name(study)} have the rank "
        "correlation "
        f"{correlation.estimate:.2f} ({interval(correlation)}); "
        + (f"{len(sure)} pairs are inverted: {told}." if sure else "no pair is inverted beyond doubt."),
        SUPPORTED if sure else REFUTED if agrees else UNDECIDED,
        f"inverted pairs by two Welch tests each, the larger p, Holm-corrected, at {LEVEL:.0%}; else "
        "Spearman's rank correlation by permutation",
        f"{len(models)} models", correlation,
        Scatter(f"{likelihood.name} ({kind})", quality_name(study), points),
        [r for g in models for r in g.finished],
    )  # fmt: skip


def _inversions(
    models: Sequence[Group], likelihood: Quantity, quality: Quantity
) -> list[tuple[Group, Group, float]]:
    """Pairs whose first has lower nats and the larger distance, with their adjusted p, the surest first."""
    found: list[tuple[Group, Group, float]] = []
    chances = []
    for i, a in enumerate(models):
        for b in models[i + 1 :]:
            samples = [(g.values(likelihood), g.values(quality)) for g in (a, b)]
            nats = tests.welch(samples[0][0], samples[1][0])
            gap = tests.ratio(tests.welch, samples[0][1], samples[1][1])
            inverted = (nats.estimate < 0) == (gap.estimate > 1)
            chance = max(nats.p, gap.p) if inverted and not math.isnan(nats.p + gap.p) else 1.0
            chances.append(chance)
            found.append((a, b, chance) if nats.estimate < 0 else (b, a, chance))
    adjusted = tests.holm(chances)
    sure = [(a, b, q) for (a, b, _), q in zip(found, adjusted, strict=True) if q < LEVEL]
    return sorted(sure, key=lambda item: item[2])
