"""The constraints that the decision helper takes, and the answer that it gives."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from zoo.comparison.recommend.lost import Lost

Likelihood = Literal["any", "estimate", "bound", "exact"]
# each is stricter than the one before
LIKELIHOOD_LEVELS: tuple[Likelihood, ...] = ("any", "estimate", "bound", "exact")


@dataclass(frozen=True)
class Constraints:
    """What a model has to fulfil; None, False and ``any`` ask for nothing.

    Attributes:
        likelihood: the least kind: ``estimate`` (any number), ``bound`` (a guaranteed one) or ``exact``.
        latency: of one sample, seconds, at most.
        throughput: samples per second at the best batch, at least.
        training: device-seconds, at most.
        memory: peak bytes of training, at most.
        parameters: at most.
        invertible: latents from which the data come back, as measured.
        conditional: conditioned on labels.
        checkpoint: trained weights that lie beside a record.
        lost: share of runs that diverged, failed or collapsed, at most.
        data: name or label of the data set; None: the one with most runs.
        dimension: of the data. If no data set is named, the one of the nearest dimension answers; data that
            are not near (:func:`~zoo.comparison.recommend.dimension.is_near`) say nothing.
        fidelity: weight of the distance between samples and data; None: 1, or 0 where the density of the data
            is known.
        coverage: weight of the recall of the data by the samples.
        density: weight of the likelihood, which ranks models of one kind alone; None: 0, or 1 where the
            density of the data is known, since the divergence from it can then be measured.
    """

    likelihood: Likelihood = "any"
    latency: float | None = None
    throughput: float | None = None
    training: float | None = None
    memory: float | None = None
    parameters: float | None = None
    invertible: bool = False
    conditional: bool = False
    checkpoint: bool = False
    lost: float | None = None
    data: str | None = None
    dimension: int | None = None
    fidelity: float | None = None
    coverage: float = 0.0
    density: float | None = None


@dataclass(frozen=True)
class Number:
    """A measured number of a card.

    Attributes:
        name: of the quantity.
        unit: of the values.
        mean: over seeds.
        low, high: 95 % interval of the mean, by the t distribution over seeds; for one seed by the standard
            error of its evaluation; None if neither is known. For a positive distance or time the interval is
            computed from logarithms.
        n: number of seeds.
        kind: of a likelihood.
    """

    name: str
    unit: str
    mean: float
    low: float | None
    high: float | None
    n: int
    kind: str = ""


@dataclass(frozen=True)
class Card:
    """A configuration that fulfils the constraints.

    Attributes:
        key: the configuration's hash without the seed.
        name, model, family: as tables write them.
        command: makes its first run; None where the record has none.
        run_id: of the first finished run, for samples and evidence.
        numbers: what was measured, by name.
        on_top: share of draws in which it is the best by the weights.
        error_known: whether every criterion has an error, of seeds or of the evaluation; without one the
            shares say nothing.
        ranked: whether the share of draws on top says anything: there are rivals, a known error and several
            seeds.
        on_front: share of draws in which none of the others is better by every criterion.
        letters: its groups of ties in the only criterion, as the table has them; empty if the table does not
            rank it (of each model it ranks one configuration), or if there are several criteria.
        why: the reason why it is an answer, as a sentence.
        seeds: number of finished runs.
        lost: the runs that diverged, failed or collapsed, with the interval of their share.
        device: the device on which its latency was measured; empty if it was not measured.
        elsewhere: whether this is another device than that of most of the study's runs; its times are then
            not compared with theirs.
        checkpoint: where trained weights lie, below the directory of their run; empty if there are none.
        tried: number of configurations of its model, and of its family, among the records.
        beside_table: which row stands for the model in the table, and that this one was chosen among several
            by the data that judge it; empty if it is that row.
        images_seen: by training; None if unknown.
    """

    key: str
    name: str
    model: str
    family: str
    command: str | None
    run_id: str
    numbers: dict[str, Number]
    on_top: float
    error_known: bool
    ranked: bool
    on_front: float
    letters: str
    why: str
    seeds: int
    lost: Lost
    device: str
    elsewhere: bool
    checkpoint: str
    tried: tuple[int, int]
    beside_table: str
    images_seen: float | None


@dataclass(frozen=True)
class Reason:
    """Why a configuration is out.

    Attributes:
        constraint: the field of :class:`Constraints`, or ``finished``, ``collapsed``, ``dominated``.
        text: in words, with the numbers.
        needed: the value of a numerical constraint that would let it in; None for others.
    """

    constraint: str
    text: str
    needed: float | None = None


@dataclass(frozen=True)
class Excluded:
    """A configuration that is not an answer, and every reason."""

    key: str
    name: str
    model: str
    family: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Relaxation:
    """A constraint which, relaxed to ``value``, would make another configuration an answer.

    Attributes:
        constraint: the field of :class:`Constraints`.
        value: what it would have to be; None for one that would have to go.
        name: of that configuration.
        text: the sentence.
    """

    constraint: str
    value: float | str | None
    name: str
    text: str


@dataclass(frozen=True)
class Block:
    """Configurations that are ranked together.

    Attributes:
        kind: of their likelihoods, if likelihoods rank them; empty otherwise.
        cards: the answers: possibly the best first, then those that are better at something else.
        certainty: how sure the order is, in words.
    """

    kind: str
    cards: tuple[Card, ...]
    certainty: str


@dataclass(frozen=True)
class Answer:
    """The reasoned short list.

    Attributes:
        data, protocol: of the records used.
        constraints: of the question.
        criteria: the weighted criteria in words.
        blocks: the answers; one block of each kind if likelihoods rank them, else one of all.
        excluded: all others with their reasons.
        relaxations: what would change the answer, the nearest first.
        unmeasured: what the records do not hold, each with the command that measures it.
        notes: limits of the answer.
    """

    data: str
    protocol: str
    constraints: Constraints
    criteria: str
    blocks: tuple[Block, ...]
    excluded: tuple[Excluded, ...]
    relaxations: tuple[Relaxation, ...]
    unmeasured: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def cards(self) -> tuple[Card, ...]:
        """The answers of all blocks."""
        return tuple(card for block in self.blocks for card in block.cards)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain values that JSON can hold."""
        return dataclasses.asdict(self)
