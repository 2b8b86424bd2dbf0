"""What the records of a study do not hold, each with the sweep that measures it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from zoo.comparison.recommend.admission import Candidate
from zoo.comparison.recommend.answer import Card
from zoo.comparison.recommend.dimension import description_of, dimension_of, is_near
from zoo.comparison.recommend.question import Question
from zoo.comparison.recommend.shipped import OWN, OWN_SWEEP, SHIPPED, of_shipped
from zoo.comparison.statistics import LEAST_SEEDS
from zoo.comparison.studies import Study
from zoo.kinds import DataKind, suits
from zoo.record import PROTOCOL_VERSION

OF_DATA = ("data=", "data.")  # how the overrides begin that choose a data set


def unmeasured(
    question: Question,
    models: Mapping[str, DataKind],
    cards: Sequence[Card],
    candidates: Sequence[Candidate],
) -> list[tuple[str, str]]:
    """Return what the records do not hold, each with the sweep that measures it."""
    study, asked = question.study, question.constraints.dimension
    measured = dimension_of(study)
    missing = []
    if asked is not None and asked != measured:
        shipped = SHIPPED.get(asked)
        words, sweep = (OWN, OWN_SWEEP) if shipped is None else of_shipped(shipped, models)
        missing.append((f"no data of {asked:,} dimensions{words}", sweep))
        if measured is None or not is_near(measured, asked):
            return missing
    aged = judged_otherwise(study)
    if absent := absent_models(study, models):
        shown = ", ".join(absent[:6]) + (f" and {len(absent) - 6} more" if len(absent) > 6 else "")
        missing.append((f"{shown}: no finished run on {study.data}{aged}", _sweep(study, absent)))
    missing += [
        (f"{card.name}: fewer than {LEAST_SEEDS} seeds{aged}", more_seeds(card.command))
        for card in cards
        if card.seeds < LEAST_SEEDS and card.command
    ]
    if question.constraints.conditional and not cards:
        alone = [one.group for one in candidates if {r.constraint for r in one.reasons} == {"conditional"}]
        able = list(dict.fromkeys(group.model for group in alone if "model.conditional" in group.settings))
        if able:
            command = f"{_sweep(study, able)} model.conditional=true"
            missing.append((f"no conditional model on {study.data}{aged}", command))
    return missing


def absent_models(study: Study, models: Mapping[str, DataKind]) -> list[str]:
    """Return the models that can be made for a study's data and have no finished run on them.

    Args:
        study: the runs.
        models: the kind of data that each model declares, by its name.
    """
    measured = {group.model for group in study.groups if group.finished}
    data = description_of(study)
    shape, levels = (data.shape, data.levels) if data is not None else (None, None)
    return [name for name, kind in models.items() if name not in measured and suits(kind, shape, levels)]


def sweep_of_data(study: Study) -> str:
    """Return the beginning of the command of a sweep whose runs can be compared with those of a study.

    It chooses the data, and judges, as the study's runs did.
    """
    chosen = [f"data={study.data}"]
    for run in study.runs:
        overrides = run.record.provenance.overrides or ()
        if any(o.startswith(OF_DATA) for o in overrides):
            chosen = [o for o in overrides if o.startswith((*OF_DATA, "evaluation."))]
            break
    return f"zoo sweep families {shlex.join(chosen)}"


def judged_otherwise(study: Study) -> str:
    """Return, to end a sentence, that today's zoo judges by another protocol than a study's; else nothing."""
    protocols = [run.record.provenance.protocol for run in study.runs]
    versions = {protocol.version for protocol in protocols if protocol is not None}
    if PROTOCOL_VERSION in versions:
        return ""
    of = f"version {max(versions)} of the protocol" if versions else "an earlier protocol"
    return (
        f" (the study was judged by {of}, and today's is version {PROTOCOL_VERSION}: to compare them, the "
        "whole study has to be run again)"
    )


def more_seeds(command: str) -> str:
    """Return the command that makes a run with three seeds.

    >>> more_seeds("zoo train model=glow data=digits seed=0 sweep=quickstart")
    'zoo train -m model=glow data=digits seed=0,1,2'
    """
    words = [word for word in command.split(" ") if not word.startswith(("seed=", "sweep="))]
    return " ".join(["zoo train -m", *words[2:], "seed=0,1,2"])


def _sweep(study: Study, models: Sequence[str]) -> str:
    return f"{sweep_of_data(study)} model={','.join(models)} seed=0,1,2"
