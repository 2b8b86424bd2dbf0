"""What the records of a study do not hold, each with the sweep that measures it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zoo.comparison.recommend.admission import Candidate
from zoo.comparison.recommend.answer import Card
from zoo.comparison.recommend.question import Question
from zoo.comparison.statistics import LEAST_SEEDS
from zoo.comparison.studies import Study


def unmeasured(
    question: Question, models: Sequence[str], cards: Sequence[Card], candidates: Sequence[Candidate]
) -> list[tuple[str, str]]:
    """Return what the records do not hold, each with the sweep that measures it."""
    data = question.study.data
    missing = []
    measured = {group.model for group in question.study.groups if group.finished}
    if absent := [model for model in models if model not in measured]:
        shown = ", ".join(absent[:6]) + (f" and {len(absent) - 6} more" if len(absent) > 6 else "")
        missing.append((f"{shown}: no finished run on {data}", _sweep(data, absent)))
    if few := list(dict.fromkeys(card.model for card in cards if card.seeds < LEAST_SEEDS)):
        missing.append((f"{', '.join(few)}: fewer than {LEAST_SEEDS} seeds", _sweep(data, few)))
    if question.constraints.conditional and not cards:
        alone = [one.group for one in candidates if {r.constraint for r in one.reasons} == {"conditional"}]
        able = list(dict.fromkeys(group.model for group in alone if "model.conditional" in group.settings))
        if able:
            command = f"{_sweep(data, able)} model.conditional=true"
            missing.append((f"no conditional model on {data}", command))
    if question.constraints.dimension is not None and question.constraints.dimension != dimension_of(
        question.study
    ):
        missing.append((f"no data of {question.constraints.dimension:,} dimensions", _sweep("NAME", ())))
    return missing


def dimension_of(study: Study) -> int | None:
    """Return the number of dimensions of a study's data; None if no record has it."""
    shapes = (
        run.record.provenance.data.shape for run in study.runs if run.record.provenance.data is not None
    )
    return next((math.prod(shape) for shape in shapes if shape), None)


def _sweep(data: str, models: Sequence[str]) -> str:
    axis = f" model={','.join(models)}" if models else ""
    return f"zoo sweep families data={data}{axis} seed=0,1,2"
