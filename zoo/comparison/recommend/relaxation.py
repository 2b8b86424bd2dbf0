"""For each constraint the value at which a better configuration would fulfil it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zoo.comparison.recommend.admission import KIND_LEVELS, Candidate, by_kind
from zoo.comparison.recommend.answer import LIKELIHOOD_LEVELS, Reason, Relaxation
from zoo.comparison.recommend.numbers import LIMITS, limit_text, loosened
from zoo.comparison.recommend.question import Question

_RELAXABLE = {
    "likelihood": "any likelihood",
    "latency": "the latency",
    "throughput": "the throughput",
    "training": "the training time",
    "memory": "the memory",
    "parameters": "the limit of parameters",
    "invertible": "invertible latents",
    "conditional": "labels",
    "checkpoint": "the weights",
    "dimension": "the dimension",
    "lost": "the limit of lost runs",
}
_ENOUGH = {  # how a sentence begins that asks for less of the likelihood, but not for nothing
    "bound": "If a bound of the likelihood is enough,",
    "estimate": "If an estimate of the likelihood is enough,",
}


def relaxations(
    question: Question, candidates: Sequence[Candidate], answers: Sequence[Candidate]
) -> list[Relaxation]:
    """Return for each constraint the nearest configuration that it alone keeps out and that leads.

    It leads if it is better than every answer that it is ranked with. Where likelihoods rank, that is told of
    each kind by itself; the first of a kind adds an answer and is better than nothing. The kind of likelihood
    that is asked for is relaxed step by step, and a further step is told only if it admits a better one.
    """
    best: dict[str, float] = {}
    for kind, members in by_kind(question, answers).items():
        best[kind] = min((question.main_loss(one.group) for one in members), default=math.inf)
    nearest: dict[tuple[str, float | str | None, str], tuple[tuple[float, float], Relaxation]] = {}
    for one in candidates:
        if len(one.reasons) != 1 or one.reasons[0].constraint not in _RELAXABLE:
            continue
        rivals = one.kind if question.density_weight else ""
        if question.main_loss(one.group) >= best.get(rivals, math.inf):
            continue
        distance, relaxation = _relaxation(question, one, one.reasons[0], rivals in best)
        place = distance, question.main_loss(one.group)
        step = relaxation.value if relaxation.constraint == "likelihood" else None
        known = nearest.get((relaxation.constraint, step, rivals))
        if known is None or place < known[0]:
            nearest[relaxation.constraint, step, rivals] = place, relaxation
    found = []
    for (constraint, _, rivals), ((_, loss), relaxation) in sorted(
        nearest.items(), key=lambda item: item[1][0][0]
    ):
        if constraint == "likelihood":
            if loss >= best.get(rivals, math.inf):
                continue
            best[rivals] = loss
        found.append(relaxation)
    return found


def _gain(question: Question, one: Candidate, has_rivals: bool) -> str:
    """Return in a sentence what a configuration adds to the answers once a constraint is relaxed."""
    value = question.main_text(one.group, one.kind)
    if not question.density_weight:
        return f"{one.name} comes in ({value})."
    if has_rivals:
        return f"{one.name} comes in and leads its kind of likelihood ({value})."
    return f"{one.name} would add an answer of its kind of likelihood ({value}); kinds are never compared."


def _relaxation(
    question: Question, one: Candidate, reason: Reason, has_rivals: bool
) -> tuple[float, Relaxation]:
    """Return what lets a configuration in, and how far that is, as the logarithm of a factor.

    A step to the next kind of likelihood counts as a factor of e.
    """
    constraint, limit, needed = (
        reason.constraint,
        getattr(question.constraints, reason.constraint),
        reason.needed,
    )
    gain = _gain(question, one, has_rivals)
    if constraint == "likelihood":
        place = KIND_LEVELS.get(one.kind, 0)
        level = LIKELIHOOD_LEVELS[place]
        begin = _ENOUGH.get(level, f"Without {_RELAXABLE[constraint]}")
        steps = LIKELIHOOD_LEVELS.index(limit) - place
        return steps, Relaxation(constraint, level, one.name, f"{begin} {gain}")
    if constraint in LIMITS and needed is None:
        return math.inf, Relaxation(constraint, None, one.name, f"Without {_RELAXABLE[constraint]} {gain}")
    if constraint == "lost" and needed is not None:
        return needed - limit, Relaxation(
            constraint, needed, one.name, f"At {limit_text('lost', needed)} {gain}"
        )
    if constraint == "dimension" and needed is not None:
        data = f"At {needed:,.0f} dimensions ({question.study.label})"
        return abs(math.log(needed / limit)), Relaxation(constraint, needed, one.name, f"{data} {gain}")
    if needed is None:
        return 0.0, Relaxation(constraint, None, one.name, f"Without {_RELAXABLE[constraint]} {gain}")
    value = loosened(needed, LIMITS[constraint][1])
    far = abs(math.log(needed / limit)) if needed > 0 and limit > 0 else math.inf
    return far, Relaxation(constraint, value, one.name, f"At {limit_text(constraint, value)} {gain}")
