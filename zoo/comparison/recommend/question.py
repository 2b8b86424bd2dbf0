"""One question to the records of one study: who is out, who is best, and what would change it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from zoo.comparison.configurations import Group
from zoo.comparison.groups import Entry, loss, rank
from zoo.comparison.guards import collapsed, key_of
from zoo.comparison.quantities import BITS_PER_DIM, LATENCY, NLL, THROUGHPUT, Quantity
from zoo.comparison.recommend.answer import (
    LIKELIHOODS,
    Answer,
    Card,
    Constraints,
    Excluded,
    Reason,
    Relaxation,
)
from zoo.comparison.recommend.contest import Contest, contest
from zoo.comparison.recommend.numbers import (
    LIMITS,
    MEMORY,
    SIZE,
    TRAINING,
    limit_text,
    loosened,
    number_of,
    recall_of,
    value_text,
)
from zoo.comparison.studies import Study

KIND_LEVELS = {"estimate": 1, "lower bound": 2, "exact†": 3, "exact": 3}  # places in LIKELIHOODS
LIKELY = 0.05  # share of draws on top from which a configuration counts as possibly the best
POSSIBLE = 0.01  # the same of one that the tests cannot tell from the best
FRONT = 0.25  # share of draws on the front from which a configuration is an answer
SURE = 0.95
SEEDS = 3  # fewer are named as a limit of the answer
_LACKS = {
    "none": "it defines no likelihood",
    "estimate": "its likelihood is an estimate (≈)",
    "lower bound": "its likelihood is a bound (≤)",
}
_RELAXABLE = {
    "likelihood": "that likelihood",
    "latency": "the latency",
    "throughput": "the throughput",
    "training": "the training time",
    "memory": "the memory",
    "parameters": "the limit of parameters",
    "invertible": "invertible latents",
    "conditional": "labels",
    "lost": "the limit of lost runs",
}


@dataclass
class Candidate:
    """A configuration, its kind of likelihood, and the reasons why it is out."""

    group: Group
    key: str
    name: str
    kind: str
    reasons: list[Reason] = field(default_factory=list)


class Question:
    """One question to one study.

    Args:
        study: the records.
        asked: the constraints.
        models: names of the models that could be measured.
        notes: limits of the answer that are known already.
    """

    def __init__(self, study: Study, asked: Constraints, models: Sequence[str], notes: Sequence[str]) -> None:
        self.study, self.asked, self.models = study, asked, models
        self.likelihood = BITS_PER_DIM if any("bits_per_dim" in r.record.metrics for r in study.runs) else NLL
        self.recall = recall_of(study)
        weights = {
            "fidelity": (asked.fidelity, study.quality),
            "coverage": (asked.coverage, self.recall),
            "density": (asked.density, self.likelihood),
        }
        self.criteria = [(weight, quantity) for weight, quantity in weights.values() if weight and quantity]
        self.notes = [
            *notes,
            *(
                f"No record of {study.title} measures {name}, so its weight counts for nothing."
                for name, (weight, quantity) in weights.items()
                if weight and quantity is None
            ),
        ]

    def answer(self) -> Answer:
        """Return the reasoned short list."""
        candidates = [self._candidate(group) for group in self.study.ordered]
        admitted = self._of_one_kind([one for one in candidates if not one.reasons])
        likelihood = self.likelihood if self.asked.likelihood != "any" else None
        kinds = [one.kind for one in admitted]
        found = contest([one.group for one in admitted], self.criteria, likelihood, kinds)
        letters, tied = self._ties(admitted, found)
        answers = []
        for i, one in enumerate(admitted):
            possible = found.top[i] >= (POSSIBLE if one.key in tied else LIKELY)
            if possible or found.front[i] >= FRONT:
                answers.append(i)
        tied &= {admitted[i].key for i in answers}
        for i, one in enumerate(admitted):
            if i not in answers:
                better = admitted[found.beaten_by[i]]
                one.reasons.append(Reason("dominated", self._comparison_text(one, better)))
        order = {i: (admitted[i].key not in tied, -found.top[i], -found.front[i], i) for i in answers}
        answers.sort(key=order.__getitem__)
        cards = [self._card(admitted[i], found, i, letters, tied) for i in answers]
        excluded = [
            Excluded(one.key, one.name, one.group.model, one.group.family, tuple(one.reasons))
            for one in candidates
            if one.reasons
        ]
        return Answer(
            data=self.study.title,
            protocol=self.study.protocol,
            constraints=self.asked,
            criteria=self._criteria_text(),
            cards=tuple(cards),
            excluded=tuple(excluded),
            certainty=_certainty(cards, len(tied)),
            relaxations=tuple(self._relaxations(candidates, [admitted[i] for i in answers])),
            unmeasured=tuple(self._unmeasured(cards, candidates)),
            notes=tuple(self.notes),
        )

    # who is out

    def _candidate(self, group: Group) -> Candidate:
        kinds = group.kinds(self.likelihood.name)
        kind = kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "none"
        one = Candidate(group, key_of(group), self.study.name(group), kind)
        one.reasons = self._reasons(one)
        return one

    def _reasons(self, one: Candidate) -> list[Reason]:
        group, asked = one.group, self.asked
        if not group.finished:
            return [Reason("finished", "no run of it finished")]
        reasons = []
        if one.key in self._collapsed:
            reasons.append(Reason("collapsed", self._collapsed[one.key]))
        if KIND_LEVELS.get(one.kind, 0) < LIKELIHOODS.index(asked.likelihood):
            reasons.append(
                Reason("likelihood", _LACKS.get(one.kind, "its seeds' likelihoods are of several kinds"))
            )
        for constraint in LIMITS:
            if (limit := getattr(asked, constraint)) is not None:
                reasons += _beyond(group, constraint, limit)
        if asked.invertible and not _is_invertible(group):
            reasons.append(Reason("invertible", "no inverse of its latents was measured"))
        if asked.conditional and not _is_conditional(group):
            reasons.append(Reason("conditional", "it was trained without labels"))
        lost = len(group.runs) - len(group.finished)
        if asked.lost is not None and lost > asked.lost * len(group.runs):
            text = f"{lost} of its {len(group.runs)} runs did not finish"
            reasons.append(Reason("lost", text, lost / len(group.runs)))
        reasons += [
            Reason("criteria", f"its {quantity.name} was not measured")
            for _, quantity in self.criteria
            if not group.values(quantity)
        ]
        return reasons

    @cached_property
    def _collapsed(self) -> dict[str, str]:
        return collapsed(self.study)

    def _of_one_kind(self, admitted: list[Candidate]) -> list[Candidate]:
        """Return the candidates of the most common kind of likelihood, if likelihoods are ranked at all."""
        if not self.asked.density or not admitted:
            return admitted
        counts = Counter(one.kind for one in admitted)
        kind = max(counts, key=lambda k: (counts[k], KIND_LEVELS.get(k, 0)))
        for one in admitted:
            if one.kind != kind:
                text = f"its likelihood ({one.kind}) is of another kind than the others' ({kind})"
                one.reasons.append(Reason("density", text))
        return [one for one in admitted if one.kind == kind]

    # who is best

    def _ties(self, admitted: Sequence[Candidate], found: Contest) -> tuple[dict[str, str], set[str]]:
        """Return the letters of the only criterion, and the keys of those tied with the best in it.

        Each model takes part with the configuration that is most often the best: every further pair would
        cost the tests power.
        """
        if len(self.criteria) != 1:
            return {}, set()
        quantity = self.criteria[0][1]
        entrants: dict[str, Candidate] = {}
        for i in sorted(range(len(admitted)), key=lambda i: (-found.top[i], -found.front[i])):
            entrants.setdefault(admitted[i].group.model, admitted[i])
        rows = [Entry(one.key, one.name, tuple(one.group.values(quantity))) for one in entrants.values()]
        places = rank(rows, quantity).places
        return {place.key: place.letters for place in places}, {place.key for place in places if place.best}

    def _criteria_text(self) -> str:
        if len(self.criteria) == 1:
            return self.criteria[0][1].name
        parts = [f"{weight:g} x {quantity.name}" for weight, quantity in self.criteria]
        return " + ".join(parts) + ", each over its standard deviation among the admitted"

    def _comparison_text(self, one: Candidate, better: Candidate) -> str:
        """Return in which numbers another configuration is better, with the numbers."""
        likelihood = [self.likelihood] if self.asked.likelihood != "any" and one.kind == better.kind else []
        points = []
        for quantity in dict.fromkeys([*(quantity for _, quantity in self.criteria), LATENCY, *likelihood]):
            ours, theirs = one.group.values(quantity), better.group.values(quantity)
            if ours and theirs:
                a, b = statistics.fmean(ours), statistics.fmean(theirs)
                if loss(b, quantity.direction) < loss(a, quantity.direction):
                    points.append(
                        f"{quantity.name} {value_text(quantity, b)} against {value_text(quantity, a)}"
                    )
        return f"{better.name} is better" + (f": {', '.join(points)}" if points else "")

    # the cards

    def _card(
        self, one: Candidate, found: Contest, place: int, letters: dict[str, str], tied: set[str]
    ) -> Card:
        group, top = one.group, float(found.top[place])
        metrics = [q for q in (self.study.quality, self.recall, self.likelihood) if q is not None]
        numbers = [
            number_of(group, quantity, one.kind if quantity is self.likelihood else "")
            for quantity in (*metrics, LATENCY, THROUGHPUT, TRAINING, MEMORY, SIZE)
        ]
        first = group.finished[0].record
        seen = [
            run.record.cost.images_seen for run in group.finished if run.record.cost.images_seen is not None
        ]
        return Card(
            key=one.key,
            name=one.name,
            model=group.model,
            family=group.family,
            command=first.provenance.command,
            run_id=first.run_id,
            numbers={number.name: number for number in numbers if number is not None},
            on_top=round(top, 4),
            on_front=round(float(found.front[place]), 4),
            letters=letters.get(one.key, ""),
            why=self._why(top, len(tied) > 1 and one.key in tied),
            seeds=len(group.finished),
            lost=len(group.runs) - len(group.finished),
            tried=(
                sum(other.model == group.model for other in self.study.groups),
                sum(other.family == group.family for other in self.study.groups),
            ),
            images_seen=statistics.fmean(seen) if seen else None,
        )

    def _why(self, top: float, tied: bool) -> str:
        if top >= SURE and not tied:
            return f"best in {self._criteria_text()}"
        if tied or top >= LIKELY:
            return f"tied with the best in {self._criteria_text()}"
        as_likely = " and has as good a likelihood" if self.asked.likelihood != "any" else ""
        return f"none that is better in {self._criteria_text()} is as fast{as_likely}"

    # what would change it

    def _relaxations(self, candidates: Sequence[Candidate], answers: Sequence[Candidate]) -> list[Relaxation]:
        """Return for each constraint the nearest configuration that it alone keeps out and that leads."""
        best = min((self._mean_loss(one) for one in answers), default=math.inf)
        nearest: dict[str, tuple[float, Relaxation]] = {}
        for one in candidates:
            if len(one.reasons) != 1 or one.reasons[0].constraint not in _RELAXABLE:
                continue
            ranked_apart = self.asked.density and answers and one.kind != answers[0].kind
            if ranked_apart or self._mean_loss(one) >= best:
                continue
            distance, relaxation = self._relaxation(one, one.reasons[0])
            known = nearest.get(relaxation.constraint)
            if known is None or distance < known[0]:
                nearest[relaxation.constraint] = distance, relaxation
        return [relaxation for _, relaxation in sorted(nearest.values(), key=lambda item: item[0])]

    def _relaxation(self, one: Candidate, reason: Reason) -> tuple[float, Relaxation]:
        """Return what lets a configuration in, and how far that is, as the logarithm of a factor."""
        constraint, limit, needed = reason.constraint, getattr(self.asked, reason.constraint), reason.needed
        gain = f"{one.name} comes in ({self._criterion_text(one)})."
        if constraint in LIMITS and needed is None:
            return math.inf, Relaxation(
                constraint, None, one.name, f"Without {_RELAXABLE[constraint]} {gain}"
            )
        if constraint == "lost" and needed is not None:
            return needed - limit, Relaxation(
                constraint, needed, one.name, f"At {limit_text('lost', needed)} {gain}"
            )
        if needed is None:
            return 0.0, Relaxation(constraint, None, one.name, f"Without {_RELAXABLE[constraint]} {gain}")
        value = loosened(needed, LIMITS[constraint][1])
        far = abs(math.log(needed / limit)) if needed > 0 and limit > 0 else math.inf
        return far, Relaxation(constraint, value, one.name, f"At {limit_text(constraint, value)} {gain}")

    def _mean_loss(self, one: Candidate) -> float:
        """Return the mean loss in the criterion of largest weight; infinite where it was not measured."""
        _, quantity = self._main_criterion
        values = one.group.values(quantity)
        return loss(statistics.fmean(values), quantity.direction) if values else math.inf

    def _criterion_text(self, one: Candidate) -> str:
        _, quantity = self._main_criterion
        return f"{quantity.name} {value_text(quantity, statistics.fmean(one.group.values(quantity)))}"

    @property
    def _main_criterion(self) -> tuple[float, Quantity]:
        return max(self.criteria, key=lambda item: item[0])

    # what was not measured

    def _unmeasured(self, cards: Sequence[Card], candidates: Sequence[Candidate]) -> list[tuple[str, str]]:
        """Return what the records do not hold, each with the sweep that measures it."""
        data = self.study.data
        missing = []
        measured = {group.model for group in self.study.groups if group.finished}
        if absent := [model for model in self.models if model not in measured]:
            shown = ", ".join(absent[:6]) + (f" and {len(absent) - 6} more" if len(absent) > 6 else "")
            missing.append((f"{shown}: no finished run on {data}", _sweep(data, absent)))
        if few := list(dict.fromkeys(card.model for card in cards if card.seeds < SEEDS)):
            missing.append((f"{', '.join(few)}: fewer than {SEEDS} seeds", _sweep(data, few)))
        if self.asked.conditional and not cards:
            alone = [
                one.group for one in candidates if {r.constraint for r in one.reasons} == {"conditional"}
            ]
            models = dict.fromkeys(group.model for group in alone if "model.conditional" in group.settings)
            if models:
                command = f"{_sweep(data, list(models))} model.conditional=true"
                missing.append((f"no conditional model on {data}", command))
        if self.asked.dimension is not None and self.asked.dimension != dimension_of(self.study):
            missing.append((f"no data of {self.asked.dimension:,} dimensions", _sweep("NAME", ())))
        return missing


def dimension_of(study: Study) -> int | None:
    """Return the number of dimensions of a study's data; None if no record says it."""
    shapes = (
        run.record.provenance.data.shape for run in study.runs if run.record.provenance.data is not None
    )
    return next((math.prod(shape) for shape in shapes if shape), None)


def _sweep(data: str, models: Sequence[str]) -> str:
    axis = f" model={','.join(models)}" if models else ""
    return f"zoo sweep families data={data}{axis} seed=0,1,2"


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


def _is_invertible(group: Group) -> bool:
    return any(
        name.startswith("invertibility/") and metric.value is not None
        for run in group.finished
        for name, metric in run.record.metrics.items()
    )


def _is_conditional(group: Group) -> bool:
    return group.settings.get("model.conditional") is True


def _certainty(cards: Sequence[Card], tied: int) -> str:
    """Return how sure the order of the answers is."""
    if not cards:
        return "No measured configuration fulfils the constraints."
    likely = [card for card in cards if card.on_top >= LIKELY]
    shares = ", ".join(f"{card.name} {card.on_top:.0%}" for card in likely)
    seeds = sorted({card.seeds for card in cards})
    n = f"n = {seeds[0]}" + (f" to {seeds[-1]} seeds" if len(seeds) > 1 else " seeds" if seeds[0] > 1 else "")
    if seeds[-1] == 1:
        return f"Best in draws from the evaluation's error alone: {shares}. One training seed each: no ranks."
    tie = f" The tests cannot tell the first {tied} apart." if tied > 1 else ""
    return f"Best in draws of the means over seeds (t): {shares}; {n}.{tie}"
