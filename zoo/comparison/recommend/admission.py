"""Which configurations fulfil the constraints of a question, and every reason why the others do not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from zoo.comparison.configurations import Group
from zoo.comparison.guards import collapsed, key_of
from zoo.comparison.recommend.answer import LIKELIHOOD_LEVELS, Reason
from zoo.comparison.recommend.dimension import dimension_of, is_near
from zoo.comparison.recommend.lost import lost_of
from zoo.comparison.recommend.numbers import LIMITS, limit_text, spoken
from zoo.comparison.recommend.question import Question
from zoo.comparison.recommend.timed import elsewhere, usual_device, values_of
from zoo.comparison.studies import Study

KIND_LEVELS = {"estimate": 1, "lower bound": 2, "exact†": 3, "exact": 3}  # places in LIKELIHOOD_LEVELS
KINDS = ("exact", "exact†", "lower bound", "estimate")
_SEVERAL = "its seeds' likelihoods are of several kinds"
_LACKS = {
    "none": "it defines no likelihood",
    "estimate": "its likelihood is an estimate (≈)",
    "lower bound": "its likelihood is a bound (≤)",
}


@dataclass
class Candidate:
    """A configuration, its kind of likelihood, and the reasons why it is out."""

    group: Group
    key: str
    name: str
    kind: str
    reasons: list[Reason] = field(default_factory=list)


def candidates(question: Question) -> list[Candidate]:
    """Return every configuration of the study with the reasons why it is out; none if it is admitted."""
    return [_candidate(question, group) for group in question.study.ordered]


def by_kind(question: Question, admitted: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    """Return the candidates that are ranked together, by the kind of their likelihood.

    All are ranked together, under the empty name, unless likelihoods rank them: those of different kinds say
    different things. Exact ones come first.
    """
    if not question.density_weight:
        return {"": list(admitted)}
    kinds = sorted({one.kind for one in admitted}, key=KINDS.index)
    return {kind: [one for one in admitted if one.kind == kind] for kind in kinds}


def is_invertible(group: Group) -> bool:
    """Whether an inverse of its latents was measured."""
    return any(
        name.startswith("invertibility/") and metric.value is not None
        for run in group.finished
        for name, metric in run.record.metrics.items()
    )


def checkpoint_of(group: Group) -> str:
    """Return where trained weights lie, below the directory of their run; empty if none of them is there."""
    return next((name for run in group.finished if (name := run.checkpoint)), "")


def is_conditional(group: Group) -> bool:
    """Whether it is conditioned on labels."""
    return group.settings.get("model.conditional") is True


def kind_of(question: Question, group: Group) -> str:
    """Return the kind of a configuration's likelihood; ``mixed`` of several, ``none`` without any."""
    kinds = group.kinds(question.likelihood.name)
    return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "none"


def _candidate(question: Question, group: Group) -> Candidate:
    one = Candidate(group, key_of(group), question.study.name(group), kind_of(question, group))
    one.reasons = _reasons(question, one)
    return one


def _reasons(question: Question, one: Candidate) -> list[Reason]:
    """Return every reason why a configuration is out, each once.

    What lacks a likelihood that both is asked for and decides is out by what decides, which no constraint
    that is relaxed mends.
    """
    group, constraints = one.group, question.constraints
    if not group.finished:
        return [Reason("finished", "no run of it finished")]
    reasons = []
    if (why := collapsed(question.study).get(one.key)) is not None:
        reasons.append(Reason("collapsed", why))
    if KIND_LEVELS.get(one.kind, 0) < LIKELIHOOD_LEVELS.index(constraints.likelihood):
        reasons.append(Reason("likelihood", _LACKS.get(one.kind, _SEVERAL)))
    for constraint in LIMITS:
        if (limit := getattr(constraints, constraint)) is not None:
            reasons += _beyond(question.study, group, constraint, limit)
    if constraints.invertible and not is_invertible(group):
        reasons.append(Reason("invertible", "no inverse of its latents was measured"))
    if constraints.conditional and not is_conditional(group):
        reasons.append(Reason("conditional", "it was trained without labels"))
    if constraints.checkpoint and not checkpoint_of(group):
        reasons.append(Reason("checkpoint", "no trained weights lie beside its records"))
    lost = lost_of(question.study, group)
    if constraints.lost is not None and lost.share > constraints.lost:
        reasons.append(Reason("lost", f"lost {lost.total} of its {lost.runs} runs ({lost.how})", lost.share))
    reasons += _beside(question)
    reasons += _without_criteria(question, one)
    return list({reason.text: reason for reason in reasons}.values())


def _beside(question: Question) -> list[Reason]:
    """Return the reason why the data of the study say nothing of the dimension that is asked for."""
    asked, measured = question.constraints.dimension, dimension_of(question.study)
    if asked is None or (measured is not None and is_near(measured, asked)):
        return []
    if measured is None:
        return [Reason("dimension", "its records do not say how many dimensions the data have")]
    text = f"it was measured at {measured:,} dimension{'s' * (measured > 1)}, not near {asked:,}"
    return [Reason("dimension", text, measured)]


def _without_criteria(question: Question, one: Candidate) -> list[Reason]:
    """Return the reasons why a configuration cannot be ranked by what decides."""
    reasons = []
    for _, quantity in question.criteria:
        if quantity == question.likelihood and one.kind not in KINDS:
            reasons.append(Reason("criteria", _LACKS.get(one.kind, _SEVERAL)))
        elif not one.group.values(quantity):
            reasons.append(Reason("criteria", f"its {spoken(quantity)} was not measured"))
    return reasons


def _beyond(study: Study, group: Group, constraint: str, limit: float) -> list[Reason]:
    """Return the reason why a group is beyond a limit, if its mean is or was not measured on this device."""
    quantity, upper, verb = LIMITS[constraint]
    values = values_of(study, group, quantity)
    if not values:
        return [Reason(constraint, f"its {quantity.name} was not measured")]
    mean = statistics.fmean(values)
    if device := elsewhere(study, group, quantity):
        here, there = usual_device(study, quantity), f"timed on {device}: {limit_text(constraint, mean)}"
        return [Reason(constraint, f"its {quantity.name} on {here} is unknown ({there})")]
    if (mean <= limit) if upper else (mean >= limit):
        return []
    sign = ">" if upper else "<"
    return [
        Reason(
            constraint, f"{verb} {limit_text(constraint, mean)} {sign} {limit_text(constraint, limit)}", mean
        )
    ]
