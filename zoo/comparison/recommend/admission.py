"""Which configurations fulfil the constraints of a question, and every reason why the others do not."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field

from zoo.comparison.configurations import Group
from zoo.comparison.guards import collapsed, key_of
from zoo.comparison.recommend.answer import LIKELIHOOD_LEVELS, Reason
from zoo.comparison.recommend.numbers import LIMITS, limit_text
from zoo.comparison.recommend.question import Question

KIND_LEVELS = {"estimate": 1, "lower bound": 2, "exact†": 3, "exact": 3}  # places in LIKELIHOOD_LEVELS
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


def of_one_kind(question: Question, admitted: list[Candidate]) -> list[Candidate]:
    """Return the candidates of the most common kind of likelihood, if likelihoods are ranked at all.

    The others get the reason why they are out.
    """
    if not question.constraints.density or not admitted:
        return admitted
    counts = Counter(one.kind for one in admitted)
    kind = max(counts, key=lambda k: (counts[k], KIND_LEVELS.get(k, 0)))
    for one in admitted:
        if one.kind != kind:
            text = f"its likelihood ({one.kind}) is of another kind than the others' ({kind})"
            one.reasons.append(Reason("density", text))
    return [one for one in admitted if one.kind == kind]


def is_invertible(group: Group) -> bool:
    """Whether an inverse of its latents was measured."""
    return any(
        name.startswith("invertibility/") and metric.value is not None
        for run in group.finished
        for name, metric in run.record.metrics.items()
    )


def is_conditional(group: Group) -> bool:
    """Whether it is conditioned on labels."""
    return group.settings.get("model.conditional") is True


def _candidate(question: Question, group: Group) -> Candidate:
    kinds = group.kinds(question.likelihood.name)
    kind = kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "none"
    one = Candidate(group, key_of(group), question.study.name(group), kind)
    one.reasons = _reasons(question, one)
    return one


def _reasons(question: Question, one: Candidate) -> list[Reason]:
    """Return every reason why a configuration is out."""
    group, constraints = one.group, question.constraints
    if not group.finished:
        return [Reason("finished", "no run of it finished")]
    reasons = []
    if (why := collapsed(question.study).get(one.key)) is not None:
        reasons.append(Reason("collapsed", why))
    if KIND_LEVELS.get(one.kind, 0) < LIKELIHOOD_LEVELS.index(constraints.likelihood):
        reasons.append(
            Reason("likelihood", _LACKS.get(one.kind, "its seeds' likelihoods are of several kinds"))
        )
    for constraint in LIMITS:
        if (limit := getattr(constraints, constraint)) is not None:
            reasons += _beyond(group, constraint, limit)
    if constraints.invertible and not is_invertible(group):
        reasons.append(Reason("invertible", "no inverse of its latents was measured"))
    if constraints.conditional and not is_conditional(group):
        reasons.append(Reason("conditional", "it was trained without labels"))
    lost = len(group.runs) - len(group.finished)
    if constraints.lost is not None and lost > constraints.lost * len(group.runs):
        text = f"{lost} of its {len(group.runs)} runs did not finish"
        reasons.append(Reason("lost", text, lost / len(group.runs)))
    reasons += [
        Reason("criteria", f"its {quantity.name} was not measured")
        for _, quantity in question.criteria
        if not group.values(quantity)
    ]
    return reasons


def _beyond(group: Group, constraint: str, limit: float) -> list[Reason]:
    """Return the reason why a group is beyond a limit, if its mean is or was not measured."""
    quantity, upper, verb = LIMITS[constraint]
    values = group.values(quantity)
    if not values:
        return [Reason(constraint, f"its {quantity.name} was not measured")]
    mean = statistics.fmean(values)
    if (mean <= limit) if upper else (mean >= limit):
        return []
    sign = ">" if upper else "<"
    return [
        Reason(
            constraint, f"{verb} {limit_text(constraint, mean)} {sign} {limit_text(constraint, limit)}", mean
        )
    ]
