"""The lecture's slide, measured: a row for each family, its questions as columns, a verdict in each cell.

The rules of the verdicts stand in :mod:`.questions`. They follow those of the claims ledger, and are the same
for every family.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.comparison.claims.measure import DEPTH
from zoo.comparison.claims.scaling import Scaling, scalings
from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group, is_number
from zoo.comparison.guards import key_of
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.slide.questions import QUESTIONS, Cell, Question, density, parallel, sharp, stable
from zoo.comparison.studies import Study, studies

FLOWS = {"parallel": "coupling flow", "sequential": "autoregressive flow", "solver": "residual flow"}
ROWS = (
    "autoregressive", "vae", "gan", "coupling flow", "autoregressive flow", "residual flow",
    "continuous flow", "diffusion",
)  # fmt: skip
EVIDENCE: dict[Question, dict[str, str]] = {  # the claim of the ledger about a family, by question and row
    "parallel": dict.fromkeys(ROWS, "autoregressive") | {"coupling flow": "flows-parallel-sharp"},
    "sharp": {"vae": "vae-blurry", "gan": "vae-blurry", "coupling flow": "flows-parallel-sharp"},
    "stable": dict.fromkeys(("gan", "coupling flow", "autoregressive flow"), "gan-unstable"),
    "density": {row: "likelihood-quality" for row in ROWS if row != "gan"},
}
OTHER_QUESTION: dict[Question, str] = {  # why the verdict of a cell and that of its claim may differ
    "stable": "The claim is about another GAN: one without its tricks (with momentum, and without averaged "
    "weights and R1), at several learning rates, compared with each flow. This cell counts the runs of the "
    "rows that stand for the models in the table, so the two verdicts may differ."
}


@dataclass(frozen=True)
class Row:
    """One family, and the model that stands for it.

    Attributes:
        family: one of :data:`ROWS`, or a user's own.
        model: the one with most finished seeds, then most variations, then fewest parameters.
        key: its configuration's hash without the seed.
        seeds: number of its finished seeds.
        cells: by question.
    """

    family: str
    model: str
    key: str
    seeds: int
    cells: dict[Question, Cell]


@dataclass(frozen=True)
class Slide:
    """The measured slide of one study.

    Attributes:
        data, protocol: of the study.
        rows: the families that were measured, in the order of :data:`ROWS`.
        absent: the families of :data:`ROWS` without a finished run.
    """

    data: str
    protocol: str
    rows: tuple[Row, ...]
    absent: tuple[str, ...]

    @property
    def about(self) -> str:
        """The data set, and how many seeds each family's model has: ``digits, n = 3 to 5 seeds a model``."""
        seeds = [row.seeds for row in self.rows]
        span = f"{min(seeds)} to {max(seeds)}" if min(seeds) < max(seeds) else f"{seeds[0]}"
        return f"{self.data}, n = {span} seed{'s' * (max(seeds) > 1)} a model"

    def to_dict(self) -> dict[str, Any]:
        """Return the slide as plain values that JSON can hold."""
        return dataclasses.asdict(self)


def slide(runs: Sequence[Run] | Sequence[Study], data: str | None = None) -> Slide | None:
    """Return the slide of the study that answers most questions; None if no study has a finished run.

    Args:
        runs: runs of any data, or their studies.
        data: name or label of a data set, to choose among studies.
    """
    every = [one for one in runs if isinstance(one, Study)]
    every = every or studies([one for one in runs if isinstance(one, Run)])
    chosen = [study for study in every if data is None or data in (study.data, study.label, study.title)]
    laws = laws_of(every)
    slides = [measured for study in chosen if (measured := of_study(study, laws)).rows]
    return max(slides, key=_answered, default=None)


def laws_of(every: Sequence[Study]) -> dict[str, Scaling]:
    """Return how the sequential evaluations of a sample grow with its dimensions, by model.

    It holds the models that were run at three or more sizes of one data set. The sizes of a model may be
    those of several studies.
    """
    laws = scalings([run for study in every for run in study.runs], DEPTH)
    return {law.model: law for law in laws}


def of_study(study: Study, laws: Mapping[str, Scaling] | None = None) -> Slide:
    """Return the slide of one study.

    Args:
        study: the runs.
        laws: what :func:`laws_of` returns for all studies; None: none is known, since a study has one size.
    """
    laws = laws or {}
    by_family: dict[str, list[Group]] = {}
    for group in study.baselines():
        if group.finished:
            by_family.setdefault(row_of(group), []).append(group)
    order = {family: place for place, family in enumerate(ROWS)}
    families = sorted(by_family, key=lambda family: (order.get(family, len(ROWS)), family))
    rows = tuple(_row(study, family, by_family[family], laws) for family in families)
    absent = tuple(family for family in ROWS if family not in by_family)
    return Slide(study.title, study.protocol, rows, absent)


def row_of(group: Group) -> str:
    """Return the row that a configuration belongs to; that of a flow depends on its order of sampling."""
    if group.family != "flow":
        return group.family
    orders = Counter(run.record.sampling.order for run in group.finished if run.record.sampling.order)
    return FLOWS[orders.most_common(1)[0][0]] if orders else "flow"


def _answered(measured: Slide) -> int:
    """Return the number of cells with an answer."""
    return sum(cell.verdict != "not measured" for row in measured.rows for cell in row.cells.values())


def _row(study: Study, family: str, groups: list[Group], laws: Mapping[str, Scaling]) -> Row:
    """Return the row of a family, for which the first of its models stands.

    Only the stability is that of all its models together. To each other question every other model has a
    verdict of its own (:attr:`.Cell.others`).
    """

    def place(group: Group) -> tuple[int, int, float, str]:
        return *study.standing(group), min(group.values(PARAMETERS), default=math.inf), group.model

    groups = sorted(groups, key=place)
    first = groups[0]
    answers: dict[Question, Callable[[Group], Cell]] = {
        "parallel": lambda group: parallel(group, laws.get(group.model)),
        "sharp": lambda group: sharp(study, group),
        "density": lambda group: density(study, group),
    }
    cells: dict[Question, Cell] = {}
    for question in QUESTIONS:
        claim = EVIDENCE[question].get(family, "")
        if question == "stable":
            apart = OTHER_QUESTION[question] if claim else ""
            counted = _counted(groups)
            cell = dataclasses.replace(stable(study, groups), counted=counted, apart=apart)
        else:
            others = {group.model: answers[question](group).verdict for group in groups[1:]}
            cell = dataclasses.replace(answers[question](first), others=others)
        cells[question] = dataclasses.replace(cell, claim=claim)
    seeds = len({run.record.seed for run in first.finished})
    return Row(family, first.model, key_of(first), seeds, cells)


def _counted(groups: Sequence[Group]) -> str:
    """Return the models of a row with what they have in common: ``gan, wgan: 300 updates, lr 0.001``."""
    spans = []
    for setting, words in (("training.updates", "{} updates"), ("training.lr", "lr {}")):
        values = sorted({v for group in groups if is_number(v := group.settings.get(setting))})
        if values:
            ends = f"{values[0]:g}" + (f" to {values[-1]:g}" if len(values) > 1 else "")
            spans.append(words.format(ends))
    models = ", ".join(group.model for group in groups)
    return f"{models}: {', '.join(spans)}" if spans else models


def markdown(measured: Slide, link: Callable[[Row, Cell], str | None] = lambda row, cell: None) -> str:
    """Return the slide as a Markdown table of verdicts with their intervals.

    Args:
        measured: the slide.
        link: returns the address of the evidence for a cell of a row, or None.
    """
    heading = "| family | " + " | ".join(f"{question}?" for question in QUESTIONS) + " |"
    lines = [heading, "|---" * (len(QUESTIONS) + 1) + "|"]
    for row in measured.rows:
        cells = []
        for question in QUESTIONS:
            cell = row.cells[question]
            address = link(row, cell)
            word = f"**{cell.verdict}**" if cell.verdict != "not measured" else "—"
            word = f"[{word}]({address})" if address and cell.runs else word
            cells.append(f"{word} {cell.short}".strip())
        lines.append(f"| {row.family} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
