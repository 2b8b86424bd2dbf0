"""Which configuration to use under given constraints, and why not the others.

Everything is computed from the records of one data set under one protocol, and nothing is extrapolated: what
was not measured is listed with the sweep that would measure it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from zoo.comparison.collect import Run
from zoo.comparison.recommend.answer import (
    LIKELIHOOD_LEVELS,
    Answer,
    Block,
    Card,
    Constraints,
    Excluded,
    Number,
    Reason,
    Relaxation,
)
from zoo.comparison.recommend.dimension import NEAR, dimension_of, is_near
from zoo.comparison.recommend.numbers import limit_text, seconds_text
from zoo.comparison.recommend.question import Question
from zoo.comparison.recommend.shortlist import shortlist
from zoo.comparison.studies import Study, studies
from zoo.config.places import options
from zoo.errors import ZooError
from zoo.kinds import DataKind

__all__ = [
    "LIKELIHOOD_LEVELS",
    "Answer",
    "Block",
    "Card",
    "Constraints",
    "Excluded",
    "Number",
    "Reason",
    "Relaxation",
    "dimension_of",
    "limit_text",
    "recommend",
    "seconds_text",
]


def recommend(
    runs: Sequence[Run] | Sequence[Study],
    constraints: Constraints | None = None,
    models: Mapping[str, DataKind] | None = None,
) -> Answer:
    """Return which configurations to use.

    Args:
        runs: runs of any data, or their studies.
        constraints: that the configurations have to fulfil; None: none.
        models: the kind of data of each model that could be measured, by its name. Those that can be made
            for the data and have no run are listed as such.

    Raises:
        ZooError: no study is of the data set that the constraints name, or a weight is negative.
    """
    constraints = constraints or Constraints()
    every = [one for one in runs if isinstance(one, Study)]
    every = every or studies([one for one in runs if isinstance(one, Run)])
    study, notes = _chosen(every, constraints)
    question = Question(study, constraints)
    if not question.criteria:
        raise ZooError(
            f"The records of {study.title} have none of the weighted criteria; give other weights or "
            "another data set."
        )
    return shortlist(question, models or {}, notes)


def _chosen(every: Sequence[Study], constraints: Constraints) -> tuple[Study, list[str]]:
    """Return the study that answers, and notes about the choice."""
    weights = (constraints.fidelity, constraints.coverage, constraints.density)
    given = [weight for weight in weights if weight is not None]
    if min(given) < 0 or (len(given) == len(weights) and not any(given)):
        raise ZooError(
            "The weights of fidelity, coverage and density must not be negative, and one positive."
        )
    if constraints.dimension is not None and constraints.dimension < 1:
        raise ZooError(f"Data have at least one dimension; got {constraints.dimension}.")
    if constraints.lost is not None and not 0 <= constraints.lost <= 1:
        raise ZooError(
            f"The share of lost runs lies between 0 and 1 (0.05 is 5 %); got {constraints.lost:g}."
        )
    if constraints.likelihood not in LIKELIHOOD_LEVELS:
        raise ZooError(
            f"likelihood is one of {', '.join(LIKELIHOOD_LEVELS)}; got '{constraints.likelihood}'."
        )
    if not every:
        raise ZooError("There are no runs to recommend from.")
    if constraints.data is not None:
        named = [study for study in every if constraints.data in (study.data, study.label, study.title)]
        if not named:
            known = ", ".join(dict.fromkeys(study.title for study in every))
            sweep = f"zoo sweep families data={constraints.data} seed=0,1,2"
            hint = f" To measure it: {sweep}" if constraints.data in options("data") else ""
            raise ZooError(f"No run is on the data set '{constraints.data}'; the records have {known}.{hint}")
        chosen = named[0]
    elif constraints.dimension is not None:
        judged = [study for study in every if Question(study, constraints).criteria]
        sized = [(study, dim) for study in judged if (dim := dimension_of(study)) is not None]
        if not sized:
            raise ZooError("No record says how many dimensions its data have; name a data set instead.")
        goal = math.log(constraints.dimension)
        chosen, nearest = min(sized, key=lambda item: abs(math.log(item[1]) - goal))
        return chosen, _dimension_notes(chosen, nearest, constraints.dimension, sized)
    else:
        chosen = every[0]
    others = [study.title for study in every if study is not chosen]
    notes = []
    if others and constraints.data is None:
        notes.append(f"Of {chosen.title} alone; the records also have {_some(others)}.")
    elif any(study.label == chosen.label for study in every if study is not chosen):
        notes.append(
            f"{chosen.title} has most of this data set's runs; others were judged by another protocol."
        )
    return chosen, notes


def _dimension_notes(
    chosen: Study, nearest: int, asked: int, sized: Sequence[tuple[Study, int]]
) -> list[str]:
    """Return what to know of data that were chosen as the nearest in dimension."""
    others = [study.title for study, dimension in sized if dimension == nearest and study is not chosen]
    alike = [f"Of {chosen.title} alone; {_some(others)} also have {nearest:,} dimensions."] if others else []
    if nearest == asked:
        return alike
    if is_near(nearest, asked):
        return [
            f"Nothing was measured at {asked:,} dimensions; the nearest is {chosen.label} with {nearest:,}, "
            "and its numbers are not scaled.",
            *alike,
        ]
    return [
        f"Nothing was measured near {asked:,} dimensions: the nearest is {chosen.label} with {nearest:,}, "
        f"more than {NEAR:g} times away, which says nothing."
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
