"""The decision about a claim: the verdict that follows from its evidence, and how far to trust it."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from zoo.comparison.claims import registry
from zoo.comparison.claims.evidence import (
    EQUIVALENT,
    REFUTED,
    SUGGESTIVE,
    SUPPORTED,
    UNDECIDED,
    Claim,
    Missing,
    Part,
    Variant,
    Verdict,
    judge,
)
from zoo.comparison.claims.registry import Limitation, RegisteredClaim
from zoo.comparison.collect import Run
from zoo.comparison.power import FIRST_STAGE, seeds_to_see
from zoo.comparison.statistics import LEVEL, MARGIN, equivalence, holm
from zoo.comparison.studies import Study, studies

# The sweep that makes the runs of the claims about a data set; for other data sets it is the digits' one.
SWEEPS = {"digits": "claims_digits", "mnist": "claims_mnist"}
MARGINS: Mapping[str, float] = {"factor": MARGIN}  # of a claim that is not registered
ROBUST = 0.8  # share of the variants that have to keep a verdict; below it its badge is hollow
LEAST_KINDS = 3  # number of kinds of variants that a filled circle needs
EXTRAPOLATED = "fd_inf"  # kind of variant: the distance extrapolated to infinitely many samples


@dataclass
class Decision:
    """The evidence for one claim, from one study or from all runs, and the verdict that follows from it.

    Attributes:
        claim: the claim.
        data: the data set as the study is labelled.
        protocol: hash of the protocol.
        parts: the measurements.
        missing: the measurements that the records do not allow.
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
    def deciding(self) -> list[Part]:
        """The measurements that the verdict depends on."""
        return [part for part in self.parts if part.decides]

    @property
    def runs(self) -> list[Run]:
        """The runs behind the evidence, each once."""
        return list({run.record.run_id: run for part in self.parts for run in part.runs}.values())

    @property
    def name(self) -> str:
        """The name of the decision's figure and of its place on the page."""
        name = re.sub(r"[^\w-]+", "_", f"{self.claim.key}-{self.data}-{self.protocol[:6]}")
        return name.replace("_-", "-").strip("_-")

    def commands(self, missing: Missing) -> tuple[str, ...]:
        """Return the commands that make the runs which a measurement lacks."""
        return missing.commands or (f"zoo sweep {self.sweep}",)

    # The verdict ----------------------------------------------------------------------------------------

    @property
    def verdict(self) -> Verdict:
        """The verdict of the tests; ``suggestive`` if Holm's correction over all claims undoes it."""
        tested = self.adjusted is not None and self.raw != UNDECIDED
        return SUGGESTIVE if tested and not (self.adjusted or 0.0) < LEVEL else self.raw

    @property
    def raw(self) -> Verdict:
        """The verdict before the correction for there being many claims."""
        return self._combined([part.verdict for part in self.deciding])

    def _combined(self, verdicts: Sequence[Verdict]) -> Verdict:
        """Return the claim's verdict if the deciding parts, in their order, had these verdicts.

        It is *not supported* if a part is, after Holm's correction over the claim's parts. If all parts agree
        on *supported* or on *equivalent*, and no measurement that decides is missing, it is that. Otherwise
        it is *undecided*.

        With the verdicts of variants the p-values are still those of the parts. So the correction applies to
        a variant that refutes the claim only if its part does too.
        """
        for verdict, part, p in zip(verdicts, self.deciding, self._ps_over_parts, strict=True):
            if verdict == REFUTED and (part.verdict != REFUTED or p < LEVEL):
                return REFUTED
        complete = not any(missing.decides for missing in self.missing)
        agreed = set(verdicts)
        return verdicts[0] if complete and agreed in ({SUPPORTED}, {EQUIVALENT}) else UNDECIDED

    @cached_property
    def _ps_over_parts(self) -> list[float]:
        """The p of each deciding part after Holm's correction over them; 0 for a part that rests on none."""
        corrected = iter(holm([_or_one(part.p) for part in self.deciding if part.p is not None]))
        return [0.0 if part.p is None else next(corrected) for part in self.deciding]

    @property
    def p(self) -> float | None:
        """The p-value of the verdict; None if no deciding part was tested.

        The p-value of a refutation is the smallest p of a refuting part, corrected over the parts. Otherwise
        it is the largest p of a part, since all parts have to hold.
        """
        by_part = zip(self.deciding, self._ps_over_parts, strict=True)
        tested = [(part, corrected) for part, corrected in by_part if part.p is not None]
        if self.raw == REFUTED:
            return min((corrected for part, corrected in tested if part.verdict == REFUTED), default=None)
        return max((_or_one(part.p) for part, _ in tested), default=None)

    @property
    def part_of_p(self) -> Part | None:
        """The deciding part that the verdict's p is of: the least sure one; of a refutation the surest."""
        tested = [part for part in self.deciding if part.p is not None]
        against = [part for part in tested if part.verdict == REFUTED]
        if self.raw == REFUTED and against:
            return min(against, key=lambda part: _or_one(part.p))
        return max(tested, key=lambda part: _or_one(part.p), default=None)

    @property
    def tested(self) -> bool:
        """Whether a test gave the verdict's p; False for counts, and if quality that had to match did not."""
        ps = [part.p for part in self.deciding if part.p is not None]
        return bool(ps) and not any(math.isnan(p) for p in ps)

    @property
    def by_construction(self) -> bool:
        """Whether the architectures fix everything that decides."""
        return bool(self.deciding) and all(part.by_construction for part in self.deciding)

    # Cautions: runs older than the rule, short runs, too few seeds --------------------------------------

    @property
    def exploratory(self) -> bool:
        """Whether the rule is not registered, or was written when results of the verdict's runs were known.

        They were known if a run started before the rule, or repeats a seed that had been seen.
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
        """The seeds a side that the two-stage rule asks for; None if no deciding part has a spread.

        The number follows from the spread of the first seeds alone, whatever the verdict: asking for more
        only where a verdict is undecided would raise the share of false decisions. See
        :func:`~zoo.comparison.power.seeds_to_see`.
        """
        return max((seeds for _, seeds in self._seeds_by_part), default=None)

    @property
    def seeds_asked_by(self) -> str:
        """The name of the measurement whose spread asks for the most seeds; empty if there is none."""
        return max(self._seeds_by_part, key=lambda asked: asked[1])[0].name if self._seeds_by_part else ""

    @property
    def stage(self) -> str:
        """Which stage of the two-stage rule is unfinished, and how far it is; empty if none is.

        A stage is finished if each deciding measurement has as many seeds as its own spread asks for.
        """
        lacking = [
            (asked, part.seeds) for part, asked in self._seeds_by_part if part.seeds and part.seeds < asked
        ]
        if not lacking:
            return ""
        asked, seeds = max(lacking)
        stage = "first stage" if seeds <= FIRST_STAGE else "unfinished second stage"
        return f"{stage}: {seeds} of {asked} seeds"

    @property
    def _seeds_by_part(self) -> list[tuple[Part, int]]:
        """The deciding parts that have a spread and a margin, with the seeds a side that each asks for."""
        asked = []
        for part in self.deciding:
            margin = margins(self.rule).get(part.unit)
            if part.spread is not None and margin:
                effect = math.log(margin) if part.unit == "factor" else margin
                asked.append((part, seeds_to_see(effect, part.spread, paired=part.paired)))
        return asked

    # Robustness -----------------------------------------------------------------------------------------

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

    @property
    def robustness(self) -> float | None:
        """The share of the variants that keep the uncorrected verdict; None if there are none.

        Each kind of variant counts once, by the mean over its names.
        """
        kinds = [statistics.fmean(shares.values()) for shares in self.kept_kinds.values()]
        return statistics.fmean(kinds) if kinds else None

    @cached_property
    def kept_kinds(self) -> dict[str, dict[str, float]]:
        """The shares of :attr:`kept_shares`, by kind of variant and then by name."""
        kind_of = {name: kind for kinds in self._variants for name, (kind, _) in kinds.items()}
        by_kind: dict[str, dict[str, float]] = {}
        for name, share in self.kept_shares.items():
            by_kind.setdefault(kind_of[name], {})[name] = share
        return by_kind

    @cached_property
    def kept_shares(self) -> dict[str, float]:
        """For each name of variants, the share of them under which the claim keeps its verdict."""
        names = dict.fromkeys(name for variants in self._variants for name in variants)
        return {name: self._kept_share(name) for name in names}

    def _kept_share(self, name: str) -> float:
        """Return the share of the variants of one name under which the claim keeps its verdict.

        All parts that have variants of this name are varied at once: the first variant of each part together,
        then the second ones, and so on; a part with fewer of them starts again. Other parts keep their
        verdicts.
        """
        choices = [
            variants[name][1] if name in variants else [part.verdict]
            for part, variants in zip(self.deciding, self._variants, strict=True)
        ]
        count = max(map(len, choices))
        varied = [[verdicts[index % len(verdicts)] for verdicts in choices] for index in range(count)]
        return sum(self._combined(verdicts) == self.raw for verdicts in varied) / count

    @cached_property
    def _variants(self) -> list[dict[str, tuple[str, list[Verdict]]]]:
        """For each deciding part, by the name of its variants, their kind and the verdict of each."""
        by_part = []
        for part in self.deciding:
            margin = margins(self.rule).get(part.unit)
            by_name: dict[str, tuple[str, list[Verdict]]] = {}
            for variant in part.variants() if part.variants else ():
                verdict = _verdict_of(variant, part, margin)
                if verdict is not None:
                    kind = variant.kind or variant.name
                    by_name.setdefault(variant.name, (kind, []))[1].append(verdict)
            by_part.append(by_name)
        return by_part


def _verdict_of(variant: Variant, part: Part, margin: float | None) -> Verdict | None:
    """Return the verdict of a variant of a part; None if it could never give the part's own verdict.

    An extrapolated distance at or below zero has no ratio, so it can show no equivalence. Yet it has a
    verdict, which counts against an equivalence of the part.
    """
    if variant.verdict is not None:
        return variant.verdict
    outcome = variant.outcome
    same_scale = outcome.factor == (part.unit == "factor")
    may_be_equivalent = same_scale and outcome.error > 0
    extrapolated = (variant.kind or variant.name) == EXTRAPOLATED
    if part.verdict == EQUIVALENT and not may_be_equivalent and not extrapolated:
        return None
    if margin and same_scale and equivalence(outcome, margin) < LEVEL:
        return EQUIVALENT
    return judge(outcome, variant.claimed, than=1.0 if outcome.factor else 0.0)


def decide(runs: Sequence[Run], claims: Sequence[Claim]) -> list[Decision]:
    """Return the decisions about each claim: one for every study that has a deciding measurement.

    If no study has one, there is one decision, about the largest study. A claim about all runs has one.

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


def _corrected(decisions: list[Decision]) -> list[Decision]:
    """Return the decisions with Holm's correction over all that were tested."""
    tested = [decision for decision in decisions if decision.p is not None]
    for decision, p in zip(tested, holm([_or_one(decision.p) for decision in tested]), strict=True):
        decision.adjusted = p
    return decisions


def _decision(one: Claim, data: str, protocol: str, source: Any) -> Decision:
    """Return the decision about a claim by the evidence that it finds in a study, or in all runs."""
    evidence = list(one.find(source))
    rule, as_registered = registry.registered(one.key, one.find)
    parts = [_tested_for_equivalence(item, margins(rule)) for item in evidence if isinstance(item, Part)]
    missing = [item for item in evidence if isinstance(item, Missing)]
    return Decision(one, data, protocol, parts, missing, rule=rule, registered=as_registered)


def _tested_for_equivalence(part: Part, within: Mapping[str, float]) -> Part:
    """Return a part; its verdict is *equivalent* if its effect is surely within the margin of its unit."""
    margin = within.get(part.unit)
    if part.outcome is None or margin is None:
        return part
    p = equivalence(part.outcome, margin)
    return replace(part, verdict=EQUIVALENT, p=p) if p < LEVEL else part


def margins(rule: RegisteredClaim | None) -> Mapping[str, float]:
    """Return by unit the largest effect that counts as none."""
    return MARGINS if rule is None else rule.margins


def sweep_of(study: Study) -> str:
    """Return the name of the sweep that makes the runs of claims about a study's data set."""
    return SWEEPS.get(study.data, SWEEPS["digits"])


def _or_one(p: float | None) -> float:
    """Return ``p``, or 1 if there is none or it is NaN, so that nothing counts as shown."""
    return 1.0 if p is None or math.isnan(p) else p
