"""The tricks of a GAN in a full factorial: what each does on average, and on which others that depends."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import Part
from zoo.comparison.claims.measure import Measure, distance_of, drawn_alike, failed
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.sides import best_rates, has_momentum, of_family
from zoo.comparison.claims.wording import p_text, times_text
from zoo.comparison.configurations import Group, is_number
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, Outcome, holm
from zoo.comparison.studies import Study
from zoo.comparison.tables import number

Cell = tuple[bool, ...]  # which tricks are on, in the order of TRICKS
LEAST_VALUES = 2  # of a cell
TEST = (
    f"Welch's t of a contrast of mean logarithms over the cells of a full factorial, two-sided at "
    f"{LEVEL:.0%}, at least {LEAST_SEEDS} seeds a cell, each cell at its own best learning rate; Holm's "
    "correction over the interactions"
)


@dataclass(frozen=True)
class Trick:
    """A setting that a GAN may have or lack.

    Attributes:
        name: in sentences.
        setting: where a configuration has it.
        on: whether a value of the setting means that the trick is in use.
    """

    name: str
    setting: str
    on: Callable[[Any], bool]


MOMENTUM_OFF = Trick("momentum off", "training.betas", lambda betas: not has_momentum(betas))
R1 = Trick("R1", "training.r1", bool)
SPECTRAL = Trick("spectral normalisation", "model.critic_norm", lambda norm: norm == "spectral")
AUGMENTATION = Trick("augmentation", "training.augment", bool)
TRICKS = (MOMENTUM_OFF, R1, SPECTRAL, AUGMENTATION)


def over_the_others(study: Study, trick: Trick) -> Iterator[Part]:
    """Yield what a trick does on average over all combinations of the others, if all were run.

    The effect is the ratio of distances with and without the trick, a geometric mean over the combinations of
    the others. Beside it stand the least and the largest ratio of a single combination, and for each other
    trick by how much it changes the ratio (their interaction). It decides nothing: a claim's verdict rests on
    the GAN as it is shipped, with and without the trick.
    """
    measure = distance_of(study)
    for gan in of_family(study, "gan"):
        cells, how = _cells(study, gan.model)
        samples = {cell: _logarithms(measure, group) for cell, group in cells.items()}
        if cells and min(map(len, samples.values())) >= LEAST_VALUES:
            yield _part(measure, cells, samples, TRICKS.index(trick), how)
            return


def _cells(study: Study, model: str) -> tuple[dict[Cell, Group], str]:
    """Return a model's full factorial, each cell at its best learning rate, and how the rates were chosen.

    The cells differ in the tricks and the learning rate alone, and were run at equally many rates. Of several
    factorials the one of most updates is taken; none: no cells.
    """
    factorials: dict[str, dict[Cell, list[Group]]] = {}
    varied = {trick.setting for trick in TRICKS}
    for group in study.of(model):
        if len(group.runs) >= LEAST_SEEDS and is_number(group.settings.get("training.lr")):
            common = {k: v for k, v in group.settings.items() if k not in varied | {"training.lr"}}
            cell = tuple(trick.on(group.settings.get(trick.setting)) for trick in TRICKS)
            factorials.setdefault(repr(sorted(common.items())), {}).setdefault(cell, []).append(group)

    def updates(factorial: Mapping[Cell, Sequence[Group]]) -> float:
        number_of = next(iter(factorial.values()))[0].settings.get("training.updates")
        return number_of if is_number(number_of) else 0

    for factorial in sorted(factorials.values(), key=updates, reverse=True):
        grids = {cell: {g.settings["training.lr"]: g for g in groups} for cell, groups in factorial.items()}
        sizes = {len(groups) for groups in factorial.values()} | {len(grid) for grid in grids.values()}
        if len(grids) == 2 ** len(TRICKS) and len(sizes) == 1:
            order = list(product((False, True), repeat=len(TRICKS)))
            best, how = best_rates(study, [grids[cell] for cell in order])
            return {cell: grids[cell][rate] for cell, rate in zip(order, best, strict=True)}, how
    return {}, ""


def _logarithms(measure: Measure, group: Group) -> list[float]:
    """Return the logarithms of a group's positive values."""
    return [math.log(value) for value in measure.of(group) if value > 0]


def _part(
    measure: Measure, cells: Mapping[Cell, Group], samples: Mapping[Cell, list[float]], index: int, how: str
) -> Part:
    """Return the effect of the trick at an index of :data:`TRICKS`, and its interactions."""
    others = [i for i in range(len(TRICKS)) if i != index]
    effect = _contrast(measure, cells, samples, [index])
    interactions = [_contrast(measure, cells, samples, [index, other]) for other in others]
    adjusted = holm([outcome.p for outcome in interactions])
    single = {
        cell: math.exp(statistics.fmean(samples[_with(cell, index)]) - statistics.fmean(samples[cell]))
        for cell in samples
        if not cell[index]
    }
    least, largest = (choose(single, key=single.__getitem__) for choose in (min, max))
    changes = [
        f"{TRICKS[other].name} {number(outcome.estimate)} times (corrected {p_text(p)})"
        for other, outcome, p in zip(others, interactions, adjusted, strict=True)
    ]
    lost = sum(len(failed(group, measure.quantity)) for group in cells.values())
    remark = f" {lost} failed runs have no distance and are left out." if lost else ""
    return Part(
        sentence=f"{TRICKS[index].name.capitalize()} over all {len(single)} combinations of the other "
        f"tricks: {measure.name} {times_text(effect)}; from {number(single[least])} ({_called(least)}) to "
        f"{number(single[largest])} ({_called(largest)}). Another trick changes this ratio: "
        f"{', '.join(changes)}. Each cell at its best learning rate, {how}.{remark}",
        test=TEST,
        n=f"{len(cells)} cells of {min(map(len, samples.values()))} or more",
        outcome=effect,
        panel=Dots(
            measure.axis,
            rows(
                [group.named(_called(cell)) for cell, group in cells.items()],
                [*map(measure.of, cells.values())],
            ),
            log=True,
        ),
        runs=[run for group in cells.values() for run in group.finished],
        decides=False,
    )


def _contrast(
    measure: Measure, cells: Mapping[Cell, Group], samples: Mapping[Cell, list[float]], factors: Sequence[int]
) -> Outcome:
    """Return by how many times a trick multiplies the distance, or by how many times another changes that.

    Args:
        measure: the distance.
        cells: the groups by the tricks that they have.
        samples: the logarithms of their distances.
        factors: places in :data:`TRICKS`. One: the mean over the cells with this trick, divided by that over
            the cells without it. Two: this ratio where the other trick is on, divided by the ratio where it
            is off.
    """
    share = 2 ** len(factors) / len(cells)
    weights = [share * math.prod(1 if cell[i] else -1 for i in factors) for cell in cells]
    shared = [drawn_alike(group, measure.quantity, relative=True) for group in cells.values()]
    return tests.as_factor(tests.contrast([samples[cell] for cell in cells], weights, shared))


def _with(cell: Cell, index: int) -> Cell:
    return (*cell[:index], True, *cell[index + 1 :])


def _called(cell: Cell) -> str:
    """Return which tricks a cell has, in words."""
    return ", ".join(trick.name for trick, on in zip(TRICKS, cell, strict=True) if on) or "none of them"
