"""The framework of the claims ledger: claims, their evidence, and the verdict that follows from it.

A claim is a function that yields evidence: a :class:`Part` for each measurement, and a :class:`Missing` for
each one that the records do not allow. The files of ``sentences/`` hold one claim each.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from zoo.comparison.claims import registry
from zoo.comparison.claims.panels import Panel
from zoo.comparison.claims.registry import Limitation, RegisteredClaim
from zoo.comparison.collect import Run
from zoo.comparison.statistics import (
    FIRST_STAGE,
    LEVEL,
    MARGIN,
    Outcome,
    equivalence,
    holm,
    seeds_to_see,
)
from zoo.comparison.studies import Study, studies

Verdict = Literal["supported", "not supported", "equivalent", "suggestive", "undecided"]
Direction = Literal["lower", "higher"]
SUPPORTED: Verdict = "supported"
REFUTED: Verdict = "not supported"
EQUIVALENT: Verdict = "equivalent"
SUGGESTIVE: Verdict = "suggestive"
UNDECIDED: Verdict = "undecided"

# The sweep that makes the runs of the claims about a data set; for other data sets it is the digits' one.
SWEEPS = {"digits": "claims_digits", "mnist": "claims_mnist"}
MARGINS: Mapping[str, float] = {"factor": MARGIN}  # of a claim that is not registered
ROBUST = 0.8  # share of the variants that have to keep a verdict; below it its badge is hollow
LEAST_KINDS = 3  # number of kinds of variants that a filled circle needs
EXTRAPOLATED = "fd_inf"  # kind of variant: the distance extrapolated to infinitely many samples


@dataclass(frozen=True)
class Variant:
    """Another test of the same measurement.

    Variants of the same name, such as all those that leave out one seed, count together as one. So do
    variants of the same kind.

    Attributes:
        name: what differs from the deciding test.
        outcome: the result.
        claimed: the direction that supports the claim.
        kind: what is varied, such as the test or the distance; by default the name.
        verdict: the verdict of this variant, where it does not follow from ``outcome``; None: it does.
    """

    name: str
    outcome: Outcome
    claimed: Direction
    kind: str = ""
    verdict: Verdict | None = None


@dataclass(kw_only=True)
class Part:
    """One measurement of a claim.

    Attributes:
        sentence: the measurement in words, with its numbers.
        verdict: the verdict that it gives, if it decides.
        test: the test's name and threshold; empty if nothing was tested.
        n: the number of values behind the test.
        outcome: the test's result.
        p: the p-value that the verdict rests on; None: it rests on none (a count, a construction).
        unit: of the effect, ``factor`` for a ratio; names the margin within which it counts as none. Empty:
            the part is not tested for equivalence, or has been already.
        variants: returns other tests of the same measurement, for the robustness of the verdict.
        name: what was measured, as sentences write it; empty: it is not named.
        spread: the larger standard deviation over the seeds of a side, of the logarithms if the effect is a
            factor, of the differences of pairs; None: it does not say how many seeds would decide.
        seeds: of the side that has fewer; None: likewise.
        paired: whether the values are pairs.
        panel: the values, for the claim's figure.
        runs: the runs whose records were read.
        decides: whether the claim's verdict depends on it; otherwise it is reported beside.
        by_construction: whether the architecture fixes what was measured, so that nothing is inferred.
        caution: a few words that stand beside the verdict; empty: none.
    """

    sentence: str
    n: str
    verdict: Verdict = UNDECIDED
    test: str = ""
    outcome: Outcome | None = None
    p: float | None = None
    unit: str = ""
    variants: Callable[[], list[Variant]] | None = None
    name: str = ""
    spread: float | None = None
    seeds: int | None = None
    paired: bool = False
    panel: Panel | None = None
    runs: list[Run] = field(default_factory=list)
    decides: bool = True
    by_construction: bool = False
    caution: str = ""


@dataclass(kw_only=True)
class Missing:
    """A measurement that the records do not allow.

    Attributes:
        needs: the runs that it would take.
        commands: the commands that make them, in order; empty: the data set's sweep in :data:`SWEEPS`.
        decides: whether the claim's verdict depends on it.
    """

    needs: str
    commands: tuple[str, ...] = ()
    decides: bool = True


Evidence = Iterator[Part | Missing]


@dataclass(frozen=True)
class Claim:
    """A sentence of the lecture and the function that finds the evidence for or against it.

    Attributes:
        key: a short name.
        sentence: the claim.
        order: its place in the lecture; the ledger is sorted by it.
        scope: the argument of ``find``: one ``study`` (runs of one data set and protocol) or ``all runs``.
        find: yields the evidence.
    """

    key: str
    sentence: str
    order: int
    scope: Literal["study", "all runs"]
    find: Callable[[Any], Iterable[Part | Missing]]


def claim(
    sentence: str, *, order: int, scope: Literal["study", "all runs"] = "study"
) -> Callable[[Callable[[Any], Evidence]], Claim]:
    """Make the decorated function a :class:`Claim`; its name, with dashes, becomes the key."""

    def register(find: Callable[[Any], Evidence]) -> Claim:
        return Claim(find.__name__.replace("_", "-"), sentence, order, scope, find)

    return register


@dataclass
class Decision:
    """The evidence for one claim, from one study (or from all runs), and the verdict.

    Attributes:
        claim: that is judged.
        data: the data set as the study is labelled.
        protocol: hash of the protocol.
        parts: the measurements.
        missing: those that the records do not allow.
        sweep: the sweep that makes the runs of claims about these data.
        rule: the rule as it was registered; None for a claim without an entry.
        registered: whether the hash of the claim's rule is that of the entry.
        adjusted: the claim's p after Holm's correction over the ledger; None: no correction was made, or
            nothing was tested.
    """

    claim: Claim
    data: str
    protocol: str
    parts: list[Part]
    missing: list[Missing]
    sweep: str = SWEEPS["digits"]
    rule: RegisteredClaim | None = None
    registered: bool = False
    adjusted: float | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict of the tests; ``suggestive`` if Holm's correction over all claims undoes it."""
        tested = self.adjusted is not None and self.raw != UNDECIDED
        return SUGGESTIVE if tested and not (self.adjusted or 0.0) < LEVEL else self.raw

    @property
    def raw(self) -> Verdict:
        """The verdict without a correction for there being many claims.

        Not supported if a deciding part is, after Holm's correction over the claim's parts; supported if all
        are and none is missing; equivalent if all are; otherwise undecided.
        """
        return self._combined([part.verdict for part in self.deciding])

    @property
    def p(self) -> float | None:
        """The p-value of the verdict; None if no deciding part was tested.

        Of a refutation it is the smallest p of a refuting part, corrected over the parts; otherwise the
        largest p of a part, since all have to hold.
        """
        tested = [part for part in self.deciding if part.p is not None]
        if not tested:
            return None
        ps = [1.0 if math.isnan(part.p or 0.0) else part.p or 0.0 for part in tested]
        if self.raw != REFUTED:
            return max(ps)
        against = [p for part, p in zip(tested, holm(ps), strict=True) if part.verdict == REFUTED]
        return min(against, default=None)

    @property
    def exploratory(self) -> bool:
        """Whether the rule is not registered, or was written when results of the verdict's runs were known.

        They were if a run started before the rule, or repeats a seed that had been seen.
        """
        if not self.deciding:
            return False
        if self.rule is None or not self.registered:
            return True
        return any(
            self.rule.older(run) or registry.was_seen(run) for part in self.deciding for run in part.runs
        )

    @property
    def limitation(self) -> Limitation | None:
        """The caution that the rule declares for short runs; None without one, or if a run was longer."""
        counts = [run.record.cost.updates for part in self.deciding for run in part.runs]
        updates = [count for count in counts if count is not None]
        declared = self.rule.limitation if self.rule is not None else None
        if declared is None or not updates or max(updates) >= declared.below:
            return None
        return replace(declared, text=declared.text.format(updates=f"{max(updates):,}"))

    @property
    def seeds_asked(self) -> int | None:
        """The seeds a side that the two-stage rule asks for; None if no deciding part can say.

        It follows from the spread of the first seeds alone, whatever the verdict: asking for more only where
        a verdict is undecided would raise the share of false decisions. See
        :func:`~zoo.comparison.statistics.seeds_to_see`.
        """
        return max((seeds for _, seeds in self._asked), default=None)

    @property
    def asking(self) -> str:
        """The measurement whose spread asks for the most seeds; empty if none asks."""
        return max(self._asked, key=lambda asked: asked[1])[0].name if self._asked else ""

    @property
    def stage(self) -> str:
        """Which stage of the two-stage rule is unfinished, and how far it is; empty if none is.

        A stage is finished if each deciding measurement has as many seeds as its own spread asks for.
        """
        lacking = [(asked, part.seeds) for part, asked in self._asked if part.seeds and part.seeds < asked]
        if not lacking:
            return ""
        asked, seeds = max(lacking)
        stage = "first stage" if seeds <= FIRST_STAGE else "unfinished second stage"
        return f"{stage}: {seeds} of {asked} seeds"

    @property
    def _asked(self) -> list[tuple[Part, int]]:
        """The seeds a side that each deciding part asks for, if it can say."""
        return [
            (
                part,
                seeds_to_see(
                    math.log(margin) if part.unit == "factor" else margin, part.spread, paired=part.paired
                ),
            )
            for part in self.deciding
            if part.spread is not None and (margin := margins(self.rule).get(part.unit))
        ]

    @property
    def tested(self) -> bool:
        """Whether a test gave the verdict's p; False for counts, and if quality that had to match did not."""
        ps = [part.p for part in self.deciding if part.p is not None]
        return bool(ps) and not any(math.isnan(p) for p in ps)

    @property
    def telling(self) -> Part | None:
        """The deciding part whose p is the verdict's: the least sure one; of a refutation the surest."""
        tested = [part for part in self.deciding if part.p is not None and part.outcome is not None]
        against = [part for part in tested if part.verdict == REFUTED]
        if self.raw == REFUTED and against:
            return min(against, key=lambda part: _or_one(part.p))
        return max(tested, key=lambda part: _or_one(part.p), default=None)

    @property
    def by_construction(self) -> bool:
        """Whether all that decides is fixed by the architectures."""
        return bool(self.deciding) and all(part.by_construction for part in self.deciding)

    @cached_property
    def kept_shares(self) -> dict[str, float]:
        """For each kind of variant the share of its tests under which the claim keeps its verdict.

        A variant of several parts is taken for all of them at once; a part without it stays as it is.
        """
        by_part = [verdicts for verdicts, _ in self._varied]
        shares = {}
        for name in dict.fromkeys(name for one in by_part for name in one):
            count = max(len(one.get(name, ())) for one in by_part)
            same = 0
            for index in range(count):
                verdicts = [
                    one[name][index % len(one[name])] if name in one else part.verdict
                    for part, one in zip(self.deciding, by_part, strict=True)
                ]
                same += self._combined(verdicts) == self.raw
            shares[name] = same / count
        return shares

    @cached_property
    def kept_kinds(self) -> dict[str, dict[str, float]]:
        """The shares of :attr:`kept_shares`, by kind of variant and then by name."""
        kind_of = {name: kind for _, kinds in self._varied for name, kind in kinds.items()}
        found: dict[str, dict[str, float]] = {}
        for name, share in self.kept_shares.items():
            found.setdefault(kind_of[name], {})[name] = share
        return found

    @property
    def robustness(self) -> float | None:
        """The share of the variants that keep the uncorrected verdict; None if there are none.

        Each kind of variant counts once, by the mean over its names.
        """
        kinds = [statistics.fmean(shares.values()) for shares in self.kept_kinds.values()]
        return statistics.fmean(kinds) if kinds else None

    @property
    def hollow(self) -> bool:
        """Whether there is a reason to doubt the verdict.

        There are three: a smaller share of variants than :data:`ROBUST` keeps it; a deciding part has a
        caution; it is an equivalence that does not hold by the distance extrapolated to infinitely many
        samples (with few samples, ratios of distances are too near to 1).
        """
        if self.robustness is not None and self.robustness < ROBUST:
            return True
        extrapolated = self.kept_kinds.get(EXTRAPOLATED, {}).values()
        biased = self.raw == EQUIVALENT and min(extrapolated, default=1.0) < 1
        return biased or any(part.caution for part in self.deciding)

    @property
    def thin(self) -> bool:
        """Whether fewer kinds of variants than :data:`LEAST_KINDS` were tried."""
        return len(self.kept_kinds) < LEAST_KINDS

    def _combined(self, verdicts: Sequence[Verdict]) -> Verdict:
        """Return the claim's verdict if these were the verdicts of its deciding parts, in their order."""
        counts = Counter(verdicts)
        ps = [part.p for part in self.deciding]
        tested = [index for index, p in enumerate(ps) if p is not None]
        adjusted = dict(zip(tested, holm([_or_one(ps[index]) for index in tested]), strict=True))
        of_parts = [part.verdict for part in self.deciding]
        for index, verdict in enumerate(verdicts):
            # of a variant the parts' own p stand for the correction, as long as the part keeps its verdict
            if verdict == REFUTED and (of_parts[index] != REFUTED or adjusted.get(index, 0.0) < LEVEL):
                return REFUTED
        complete = bool(verdicts) and not any(missing.decides for missing in self.missing)
        for one in (SUPPORTED, EQUIVALENT):
            if complete and counts[one] == len(verdicts):
                return one
        return UNDECIDED

    @cached_property
    def _varied(self) -> list[tuple[dict[str, list[Verdict]], dict[str, str]]]:
        """For each deciding part, what :meth:`_variants` returns of it."""
        return [self._variants(part) for part in self.deciding]

    def _variants(self, part: Part) -> tuple[dict[str, list[Verdict]], dict[str, str]]:
        """Return the verdicts of a part's variants by name, and the kind of each name.

        Variants that could never give the part's verdict are left out, with one exception: an extrapolated
        distance at or below zero has no ratio, so it can show no equivalence, and it counts against one.
        """
        margin = margins(self.rule).get(part.unit)
        verdicts: dict[str, list[Verdict]] = {}
        kinds: dict[str, str] = {}
        for variant in part.variants() if part.variants else ():
            kind, verdict = variant.kind or variant.name, variant.verdict
            if verdict is None:
                same_scale = variant.outcome.factor == (part.unit == "factor")
                cannot = part.verdict == EQUIVALENT and not (same_scale and variant.outcome.error > 0)
                if cannot and kind != EXTRAPOLATED:
                    continue
                verdict = judge(variant.outcome, variant.claimed, 1.0 if variant.outcome.factor else 0.0)
                if margin and same_scale and equivalence(variant.outcome, margin) < LEVEL:
                    verdict = EQUIVALENT
            verdicts.setdefault(variant.name, []).append(verdict)
            kinds[variant.name] = kind
        return verdicts, kinds

    @property
    def deciding(self) -> list[Part]:
        """The measurements that the verdict depends on."""
        return [part for part in self.parts if part.decides]

    @property
    def name(self) -> str:
        """The name of the decision's figure and of its place on the page."""
        name = re.sub(r"[^\w-]+", "_", f"{self.claim.key}-{self.data}-{self.protocol[:6]}")
        return name.replace("_-", "-").strip("_-")

    @property
    def runs(self) -> list[Run]:
        """The runs behind the evidence, each once."""
        return list({run.record.run_id: run for part in self.parts for run in part.runs}.values())

    def commands(self, missing: Missing) -> tuple[str, ...]:
        """Return the commands that make the runs which a measurement lacks."""
        return missing.commands or (f"zoo sweep {self.sweep}",)


def decide(runs: Sequence[Run], claims: Sequence[Claim]) -> list[Decision]:
    """Return the decisions about each claim: of every study with a deciding measurement, else of the largest.

    Args:
        runs: the runs, of any data sets and protocols.
        claims: the claims, in the order of the ledger.
    """
    every_study = studies(runs)
    decisions = []
    for one in claims:
        if one.scope == "all runs":
            judged = [_decision(one, "all data", "", runs)]
        else:
            judged = [
                replace(_decision(one, study.label, study.protocol, study), sweep=sweep_of(study))
                for study in every_study
            ]
        decisions += [decision for decision in judged if decision.deciding] or judged[:1]
    return _corrected(decisions)


def margins(rule: RegisteredClaim | None) -> Mapping[str, float]:
    """Return by unit the largest effect that counts as none."""
    return MARGINS if rule is None else rule.margins


def _corrected(decisions: list[Decision]) -> list[Decision]:
    """Return the decisions with Holm's correction over all that were tested."""
    tested = [decision for decision in decisions if decision.p is not None]
    for decision, p in zip(tested, holm([_or_one(decision.p) for decision in tested]), strict=True):
        decision.adjusted = p
    return decisions


def _or_one(p: float | None) -> float:
    """Return a p-value; 1 in place of a missing one and of one that cannot be computed (NaN)."""
    return 1.0 if p is None or math.isnan(p) else p


def sweep_of(study: Study) -> str:
    """Return the name of the sweep that makes the runs of claims about a study's data set."""
    return SWEEPS.get(study.data, SWEEPS["digits"])


def _decision(one: Claim, data: str, protocol: str, source: Any) -> Decision:
    """Return the decision about a claim by the evidence that it finds in a study, or in all runs."""
    evidence = list(one.find(source))
    rule, as_registered = registry.registered(one.key, one.find)
    parts = [_settled(item, margins(rule)) for item in evidence if isinstance(item, Part)]
    missing = [item for item in evidence if isinstance(item, Missing)]
    return Decision(one, data, protocol, parts, missing, rule=rule, registered=as_registered)


def _settled(part: Part, within: Mapping[str, float]) -> Part:
    """Return a part, as equivalent if its effect is surely within the margin of its unit."""
    margin = within.get(part.unit)
    if part.outcome is None or margin is None:
        return part
    p = equivalence(part.outcome, margin)
    if not p < LEVEL:
        return part
    return replace(part, verdict=EQUIVALENT, p=p)


def judge(outcome: Outcome, claimed: Direction, than: float = 0.0) -> Verdict:
    """Return the verdict of a test.

    It is ``supported`` if the estimate is significantly on the claimed side of ``than``, ``not supported`` if
    it is on the other side, and ``undecided`` if the test is not significant.

    >>> judge(Outcome(-1.0, -1.5, -0.5, 0.001), "lower")
    'supported'
    """
    if not outcome.significant:
        return UNDECIDED
    return SUPPORTED if (outcome.estimate < than) == (claimed == "lower") else REFUTED
