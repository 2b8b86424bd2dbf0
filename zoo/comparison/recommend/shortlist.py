"""The reasoned short list: the configurations that are possibly the best, each with its numbers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from zoo.comparison.configurations import Group
from zoo.comparison.front import THICKNESS
from zoo.comparison.groups import LEAST_RANKED, Entry, Place, loss, pairwise, rank
from zoo.comparison.quantities import LATENCY, Quantity
from zoo.comparison.recommend.admission import Candidate, by_kind, candidates, checkpoint_of
from zoo.comparison.recommend.answer import Answer, Block, Card, Excluded, Reason
from zoo.comparison.recommend.contest import Contest, contest
from zoo.comparison.recommend.lost import lost_of
from zoo.comparison.recommend.numbers import (
    beside_table,
    measured_numbers,
    share,
    spoken,
    standard_error,
    value_text,
)
from zoo.comparison.recommend.question import Question
from zoo.comparison.recommend.relaxation import relaxations
from zoo.comparison.recommend.timed import device_of, elsewhere, values_of
from zoo.comparison.recommend.unmeasured import unmeasured
from zoo.comparison.statistics import LEVEL, holm
from zoo.comparison.studies import Study
from zoo.comparison.tables.main import bounds_in_words, column_letters
from zoo.kinds import DataKind

LIKELY = 0.05  # share of draws on top from which a configuration counts as possibly the best
POSSIBLE = 0.01  # the same of one that is tied with the best
FRONT = 0.25  # share of draws on the front from which a configuration is an answer
SURE = 0.95
# what the tests say of one: tied with the best, too uncertain to be told from anything, or surely worse
Standing = Literal["tied", "unclear", "worse"]
ONLY = "the only one"  # why a configuration without rivals is an answer


def shortlist(question: Question, models: Mapping[str, DataKind], notes: Sequence[str]) -> Answer:
    """Return the answer to a question.

    Args:
        question: the constraints and the records.
        models: the kind of data of each model that could be measured, by its name.
        notes: limits of the answer that are known already.
    """
    everyone = candidates(question)
    admitted = by_kind(question, [one for one in everyone if not one.reasons]) or {"": []}
    blocks, answers = [], []
    for kind, members in admitted.items():
        block, chosen = _block(question, kind, members)
        blocks.append(block)
        answers += chosen
    cards = [card for block in blocks for card in block.cards]
    excluded = [
        Excluded(one.key, one.name, one.group.model, one.group.family, tuple(one.reasons))
        for one in everyone
        if one.reasons
    ]
    proven = bounds_in_words(question.study, question.likelihood) if question.density_weight else []
    return Answer(
        data=question.study.title,
        protocol=question.study.protocol,
        constraints=question.constraints,
        criteria=question.criteria_text,
        blocks=tuple(blocks),
        excluded=tuple(excluded),
        relaxations=tuple(relaxations(question, everyone, answers)),
        unmeasured=tuple(unmeasured(question, models, cards, everyone)),
        notes=(*notes, *question.notes, *proven),
    )


def _block(question: Question, kind: str, admitted: Sequence[Candidate]) -> tuple[Block, list[Candidate]]:
    """Return the answers among configurations that are ranked together; the others get their reason."""
    likelihood = question.likelihood if question.constraints.likelihood != "any" else None
    kinds = [one.kind for one in admitted]
    outcome = contest(question.study, [one.group for one in admitted], question.criteria, likelihood, kinds)
    tested = _tested(question, admitted)
    tied = {key for key, standing in tested.items() if standing == "tied"}
    letters = _letters(question)
    answers = _answers(admitted, outcome, tied)
    tied &= {admitted[i].key for i in answers}
    losses = [question.main_loss(one.group) for one in admitted]
    answers.sort(key=lambda i: (admitted[i].key not in tied, -outcome.top[i], losses[i]))
    out = sorted(set(range(len(admitted))) - set(answers))
    beaten = [(admitted[i], admitted[outcome.better(i, answers)]) for i in out]
    ps = holm([_p_of(question, *pair) for pair in beaten])
    for (one, better), p in zip(beaten, ps, strict=True):
        one.reasons.append(Reason("dominated", _comparison_text(question, one, better, p)))
    tested = {key: standing for key, standing in tested.items() if standing != "tied" or key in tied}
    alone = len(admitted) == 1
    mixed = any(elsewhere(question.study, one.group, LATENCY) for one in admitted)
    cards = tuple(_card(question, admitted[i], outcome, i, letters, tested, alone, mixed) for i in answers)
    untested = [card.name for card in cards if tested and card.ranked and card.key not in tested]
    certainty = _alone(cards[0].name, kind) if alone else _certainty(cards, len(tied), untested)
    return Block(kind, cards, certainty), [admitted[i] for i in answers]


def _answers(admitted: Sequence[Candidate], outcome: Contest, tied: set[str]) -> list[int]:
    """Return the places of the configurations that are possibly the best, or on the front."""
    return [
        i
        for i, one in enumerate(admitted)
        if outcome.top[i] >= (POSSIBLE if one.key in tied else LIKELY) or outcome.front[i] >= FRONT
    ]


def _letters(question: Question) -> dict[str, str]:
    """Return the letters that the table has in the column of the only criterion, by configuration.

    A number has the same letters wherever it stands, whatever the constraints.
    """
    return column_letters(question.study, question.criteria[0][1]) if len(question.criteria) == 1 else {}


def _tested(question: Question, admitted: Sequence[Candidate]) -> dict[str, Standing]:
    """Return how the configurations stand to the best in the only criterion by the tests, by key.

    Each model takes part with its configuration of the best mean: every further pair would cost the tests
    power. The others are left out, and so is everything if there is nothing to test.
    """
    if len(question.criteria) != 1:
        return {}
    quantity = question.criteria[0][1]
    entrants: dict[str, Candidate] = {}

    def mean_loss(one: Candidate) -> float:
        return loss(statistics.fmean(one.group.values(quantity)), quantity.direction)

    for one in sorted(admitted, key=mean_loss):
        entrants.setdefault(one.group.model, one)
    rows = [Entry(one.key, one.name, tuple(one.group.values(quantity))) for one in entrants.values()]
    places = [place for place in rank(rows, quantity).places if place.letters]
    if len(places) < 2:
        return {}

    def standing(place: Place) -> Standing:
        alike = bool(set(place.letters) & set(places[0].letters))
        return "tied" if place.best else "unclear" if alike else "worse"

    return {place.key: standing(place) for place in places}


def _gains(question: Question, one: Candidate, better: Candidate) -> list[Quantity]:
    """Return the criteria in which another configuration has the better mean."""
    found = []
    for _, quantity in question.criteria:
        a, b = (statistics.fmean(side.group.values(quantity)) for side in (one, better))
        if loss(b, quantity.direction) < loss(a, quantity.direction):
            found.append(quantity)
    return found


def _p_of(question: Question, one: Candidate, better: Candidate) -> float:
    """Return the largest p-value of Welch's test among :func:`_gains`; 1 if there is nothing to test."""
    ps = []
    for quantity in _gains(question, one, better):
        rows = [Entry(side.key, side.name, tuple(side.group.values(quantity))) for side in (one, better)]
        several = all(len(row.values) >= LEAST_RANKED for row in rows)
        ps.append(float(pairwise(rows, quantity)[0, 1]) if several else 1.0)
    return max(ps, default=1.0)


def _comparison_text(question: Question, one: Candidate, better: Candidate, p: float) -> str:
    """Return in which numbers another configuration is better, with the numbers, and whether a test says so.

    Times within the thickness of the front (:data:`~zoo.comparison.front.THICKNESS`) count as equal. Times of
    two devices are not compared.

    Args:
        question: whose criteria count.
        one: the configuration that is not an answer.
        better: the one that is better.
        p: adjusted for all such comparisons.
    """
    study, gains = question.study, _gains(question, one, better)
    points = {quantity: _means(study, quantity, one, better) for quantity in gains}
    times = _means(study, LATENCY, one, better)
    apart = any(elsewhere(study, side.group, LATENCY) for side in (one, better))
    if times and not apart and times[0] > THICKNESS * times[1]:
        points[LATENCY] = times
    if question.constraints.likelihood != "any" and one.kind == better.kind:
        ours, theirs = _means(study, question.likelihood, one, better)
        if theirs < ours:
            points[question.likelihood] = ours, theirs
    texts = [
        f"{spoken(quantity)} {value_text(quantity, theirs)} against {value_text(quantity, ours)}"
        for quantity, (ours, theirs) in points.items()
    ]
    single = any(len(side.group.finished) < LEAST_RANKED for side in (one, better))
    if single:
        verb = f"has the better number{'s' * (len(points) > 1)} (one seed, not tested)"
    else:
        verb = "is better" if p < LEVEL else "has the better mean (the test does not tell them apart)"
    return f"{better.name} {verb}" + (f": {', '.join(texts)}" if texts else "")


def _means(study: Study, quantity: Quantity, one: Candidate, better: Candidate) -> tuple[float, ...]:
    """Return the means of a quantity of two configurations (:func:`values_of`); empty if one lacks it."""
    sides = [values_of(study, side.group, quantity) for side in (one, better)]
    return tuple(map(statistics.fmean, sides)) if all(sides) else ()


def _card(
    question: Question,
    one: Candidate,
    outcome: Contest,
    place: int,
    letters: dict[str, str],
    tested: Mapping[str, Standing],
    alone: bool,
    mixed: bool,
) -> Card:
    group, top = one.group, float(outcome.top[place])
    first, error_known = group.finished[0].record, _error_known(question, group)
    seen = [run.record.cost.images_seen for run in group.finished if run.record.cost.images_seen is not None]
    return Card(
        key=one.key,
        name=one.name,
        model=group.model,
        family=group.family,
        command=first.provenance.command,
        run_id=first.run_id,
        numbers=measured_numbers(question.study, group, question.judged_by(one.kind)),
        on_top=round(top, 4),
        error_known=error_known,
        ranked=not alone and error_known and len(group.finished) > 1,
        on_front=round(float(outcome.front[place]), 4),
        letters=letters.get(one.key, ""),
        why=ONLY if alone else _why(question, one, top, tested, error_known, mixed),
        seeds=len(group.finished),
        lost=lost_of(question.study, group),
        device=device_of(question.study, group),
        elsewhere=bool(elsewhere(question.study, group, LATENCY)),
        checkpoint=checkpoint_of(group),
        tried=(
            sum(other.model == group.model for other in question.study.groups),
            sum(other.family == group.family for other in question.study.groups),
        ),
        beside_table=beside_table(question.study, group),
        images_seen=statistics.fmean(seen) if seen else None,
    )


def _error_known(question: Question, group: Group) -> bool:
    """Return whether every criterion has an error: of two or more seeds, or of the evaluation."""
    return all(
        len(group.values(quantity)) > 1 or standard_error(group, quantity) is not None
        for _, quantity in question.criteria
    )


def _why(
    question: Question,
    one: Candidate,
    top: float,
    tested: Mapping[str, Standing],
    error_known: bool,
    mixed: bool,
) -> str:
    """Return why a configuration is an answer; ``mixed``: some rivals were timed on another device."""
    group, standing = one.group, tested.get(one.key)
    if top >= LIKELY and not error_known:
        return f"the best number in {question.criteria_text}, whose error is not known"
    if top >= LIKELY and len(group.finished) == 1:
        return f"one seed, which has no rank in {question.criteria_text}"
    if standing == "tied" and list(tested.values()).count("tied") > 1:
        return f"not told apart from the best in {question.criteria_text}"
    if top >= SURE:
        return f"best in {question.criteria_text}"
    if standing == "tied":
        return f"the best of the tested in {question.criteria_text}"
    if top >= LIKELY:
        if standing == "unclear":
            but = "so uncertain that the tests cannot tell it from the best, nor from worse ones"
        elif standing == "worse":
            but = "although the tests tell it from the best"
        elif tested:
            but = f"not tested (another configuration of {group.model} is)"
        else:
            but = "not tested"
        return f"possibly the best in {question.criteria_text}, {but}"
    as_likely = " and has as good a likelihood" if question.constraints.likelihood != "any" else ""
    alike = ", of those that were timed on one device" if mixed else ""
    return f"none that is better in {question.criteria_text} is as fast{as_likely}{alike}"


def _alone(name: str, kind: str) -> str:
    """Return why nothing is said of the order of a single answer."""
    return f"{name} is the only one{' of its kind' * bool(kind)} that fulfils the constraints."


def _certainty(cards: Sequence[Card], tied: int, untested: Sequence[str]) -> str:
    """Return how sure the order of the answers is.

    Args:
        cards: the answers.
        tied: number of those that the tests cannot tell from the best.
        untested: names of those that were not tested, since another configuration of their model was.
    """
    if not cards:
        return "No measured configuration fulfils the constraints."
    if unknown := [card.name for card in cards if not card.error_known]:
        have = "has" if len(unknown) == 1 else "have"
        return (
            f"Not at all: {', '.join(unknown)} {have} one seed and no known error, so that the order may be "
            "chance."
        )
    ranked = [card for card in cards if card.ranked]
    if not ranked:
        return "One training seed each: no ranks."
    likely = [card for card in ranked if card.on_top >= LIKELY]
    shares = ", ".join(f"{card.name} {share(card.on_top)}" for card in likely)
    seeds = sorted({card.seeds for card in ranked})
    n = f"n = {seeds[0]}" + (f" to {seeds[-1]} seeds" if len(seeds) > 1 else " seeds")
    tie = f" The tests cannot tell the first {tied} apart." if tied > 1 else ""
    if untested:
        tie += f" Not tested, since another configuration of the model is: {', '.join(untested)}."
    single = ", ".join(card.name for card in cards if not card.ranked)
    rest = f" One training seed, so no rank: {single}." if single else ""
    drawn = f"Best in draws of the means over seeds (t): {shares}; {n}." if shares else f"Ranked with {n}."
    return f"{drawn}{tie}{rest}"
