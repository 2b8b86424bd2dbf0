"""The page's data for the measured slide, the decision helper and the tuning curves.

The decision helper runs in the browser, so that it needs no server: ``script/decide.js`` applies the rules of
:mod:`zoo.comparison.recommend` to these data. A test checks that both give the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.comparison.configurations import Group
from zoo.comparison.guards import collapsed, key_of
from zoo.comparison.page.shorten import rounded, row_id, study_id
from zoo.comparison.quantities import LATENCY, THROUGHPUT, Quantity
from zoo.comparison.recommend import Constraints
from zoo.comparison.recommend.admission import checkpoint_of, is_conditional, is_invertible, kind_of
from zoo.comparison.recommend.dimension import dimension_of
from zoo.comparison.recommend.lost import Lost, lost_of
from zoo.comparison.recommend.numbers import (
    MEMORY,
    SIZE,
    beside_table,
    error_text,
    measured_numbers,
    number_texts,
    spoken,
    standard_error,
)
from zoo.comparison.recommend.question import Question
from zoo.comparison.recommend.shipped import OWN, OWN_SWEEP, SHIPPED, of_shipped
from zoo.comparison.recommend.timed import TRAINING, device_of, elsewhere, usual_device, values_of
from zoo.comparison.recommend.unmeasured import absent_models, judged_otherwise, sweep_of_data
from zoo.comparison.slide import laws_of, of_study, slide
from zoo.comparison.slide.questions import THRESHOLDS
from zoo.comparison.studies import Study
from zoo.comparison.tables.main import bounds_in_words
from zoo.comparison.tuning import efforts
from zoo.kinds import DataKind

Json = dict[str, Any]
TIMED = {"latency": LATENCY, "throughput": THROUGHPUT, "training": TRAINING}
LIMITED = {
    **TIMED,
    "memory": MEMORY,
    "parameters": SIZE,
}


def measured_slides(compared: Sequence[Study]) -> Json:
    """Return the slide of each study that has one, by the study's id, and the id of the fullest."""
    laws = laws_of(compared)
    slides = {study_id(study): of_study(study, laws) for study in compared}
    first = slide(compared)
    return {
        "thresholds": list(THRESHOLDS),
        "first": next((name for name, one in slides.items() if one == first), None),
        "by_study": {
            name: _slide(one, study) for (name, one), study in zip(slides.items(), compared, strict=True)
        },
    }


def _slide(one: Any, study: Study) -> Json:
    places = {run.record.run_id: row_id(group) for group in study.groups for run in group.runs}
    rows = []
    for row in one.rows:
        cells = []
        for question, cell in row.cells.items():
            cells.append(
                {
                    "question": question,
                    "verdict": cell.verdict,
                    "text": cell.text,
                    "test": cell.test,
                    "n": cell.n,
                    "claim": cell.claim,
                    "rows": list(dict.fromkeys(places[run] for run in cell.runs if run in places)),
                    "others": cell.others,
                    "counted": cell.counted,
                    "apart": cell.apart,
                }
            )
        rows.append({"family": row.family, "model": row.model, "cells": cells})
    return {"rows": rows, "absent": list(one.absent), "about": one.about if rows else ""}


def helper(study: Study, models: Mapping[str, DataKind]) -> Json:
    """Return the data of the decision helper: a study's criteria, and the numbers of every configuration.

    Args:
        study: the runs.
        models: the kind of data of each model that could be measured, by its name.
    """
    question = Question(study, Constraints())
    likelihood = question.likelihood
    criteria = {"fidelity": study.quality, "coverage": question.recall, "density": likelihood}
    dead, without_distance = collapsed(study), collapsed(study, factor=math.inf)
    quantities = {**criteria, **LIMITED}
    return {
        "criteria": {
            name: None
            if quantity is None
            else {
                "name": quantity.name,
                "spoken": spoken(quantity),
                "direction": quantity.direction,
                "unit": quantity.unit,
            }
            for name, quantity in criteria.items()
        },
        "known": question.knows_density,
        "proven": bounds_in_words(study, likelihood),
        "dimension": dimension_of(study),
        "absent": absent_models(study, models),
        "sweep": sweep_of_data(study),
        "timed": {name: usual_device(study, quantity) for name, quantity in TIMED.items()},
        "aged": judged_otherwise(study),
        "rows": [
            {
                **_candidate(group, question, quantities),
                "lost": _lost(lost_of(study, group)),
                "collapsed": dead.get(key_of(group), ""),
                "collapsed_apart": without_distance.get(key_of(group), ""),
            }
            for group in study.ordered
        ],
    }


def shipped(models: Mapping[str, DataKind]) -> Json:
    """Return the words and the sweep for shipped data, by number of dimensions; ``own``: for others."""
    return {
        **{str(size): list(of_shipped(one, models)) for size, one in SHIPPED.items()},
        "own": [OWN, OWN_SWEEP],
    }


def _candidate(group: Group, question: Question, quantities: Mapping[str, Quantity | None]) -> Json:
    kind, study = kind_of(question, group), question.study
    values = {name: values_of(study, group, quantity) for name, quantity in quantities.items()}
    apart = {name: elsewhere(study, group, quantity) for name, quantity in TIMED.items()}
    errors = {name: standard_error(group, q) for name, q in quantities.items() if q is not None}
    images = [
        run.record.cost.images_seen for run in group.finished if run.record.cost.images_seen is not None
    ]
    return {
        "kind": kind,
        "numbers": list(number_texts(measured_numbers(study, group, question.judged_by(kind))).items()),
        "values": {name: [_exactly(value) for value in sample] for name, sample in values.items() if sample},
        "errors": {name: _exactly(error) for name, error in errors.items() if error},
        "device": device_of(study, group),
        "elsewhere": {name: words for name, words in apart.items() if words},
        "invertible": is_invertible(group),
        "conditional": is_conditional(group),
        "checkpoint": checkpoint_of(group),
        "beside_table": beside_table(question.study, group),
        "error": error_text(len(group.finished)),
        "images": sum(images) / len(images) if images else None,
    }


def _lost(lost: Lost) -> Json:
    return {"total": lost.total, "runs": lost.runs, "how": lost.how, "text": lost.text}


def _exactly(value: float) -> float:
    """Return a number with ten digits: limits must not fall between it and what Python compares."""
    return float(f"{value:.10g}")


def tuning(study: Study) -> list[Json]:
    """Return the expected best of each family after k configurations; see :mod:`..tuning`."""
    return [
        {
            "family": effort.family,
            "kind": effort.kind,
            "n": effort.n,
            "selected_on": effort.selected_on,
            "k": list(effort.k),
            "expected": [rounded(value) for value in effort.expected],
            "low": [rounded(value) for value in effort.low],
            "high": [rounded(value) for value in effort.high],
        }
        for effort in efforts(study)
    ]
