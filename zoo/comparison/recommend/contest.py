"""How often each of several configurations would be the best, if their training were repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.comparison.configurations import Group
from zoo.comparison.front import beats
from zoo.comparison.quantities import LATENCY, Quantity
from zoo.comparison.recommend.chance import draws, seed_of
from zoo.comparison.recommend.numbers import standard_error
from zoo.comparison.recommend.timed import elsewhere, values_of
from zoo.comparison.studies import Study

DRAWS = 2000
MOST = 0.5  # share of draws above which an answer is named as the better one


@dataclass(frozen=True)
class Contest:
    """The outcome over draws of the means.

    Attributes:
        top: share of draws in which each configuration has the least weighted loss.
        front: share of draws in which none of the others is better at everything that counts.
        wins: ``[i, j]``: share of draws in which configuration j is better than i at everything that counts.
    """

    top: np.ndarray
    front: np.ndarray
    wins: np.ndarray

    def better(self, i: int, answers: Sequence[int]) -> int:
        """Return the first answer that beats configuration ``i`` in most draws.

        If none does, return the configuration that beats it most often.
        """
        first = (j for j in answers if self.wins[i, j] > MOST)
        return next(first, int(self.wins[i].argmax()))


def contest(
    study: Study,
    groups: Sequence[Group],
    criteria: Sequence[tuple[float, Quantity]],
    likelihood: Quantity | None = None,
    kinds: Sequence[str] = (),
) -> Contest:
    """Return how often each configuration is on top, and on the front.

    The loss is the weighted sum of the criteria, each over its standard deviation among the configurations;
    positive distances count by their logarithms. A configuration is on the front unless another one beats it
    in loss and latency (:func:`~zoo.comparison.front.beats`), and has as good a likelihood if that counts.
    Latencies are compared only if they were measured on the device of most of the study's runs. A
    configuration that was timed on another device is beaten by a lower loss alone. It beats none that was
    timed on the usual device, since it may be slower there.

    Args:
        study: the study of the configurations.
        groups: configurations that have a value of every criterion.
        criteria: weights and quantities.
        likelihood: counts on the front between models of one kind; None: it does not count.
        kinds: of the configurations' likelihoods.
    """
    n = len(groups)
    score = np.zeros((n, DRAWS))
    for weight, quantity in criteria:
        losses = np.stack(_losses(study, groups, quantity)) if n else score
        score += weight * losses / (float(losses.mean(axis=1).std()) or 1.0 if n else 1.0)
    if not n:
        return Contest(np.zeros(0), np.zeros(0), np.zeros((0, 0)))
    latency = _losses(study, groups, LATENCY)
    bits = _losses(study, groups, likelihood) if likelihood is not None else []
    apart = [bool(elsewhere(study, group, LATENCY)) for group in groups]
    front, wins_of = np.zeros(n), np.zeros((n, n))
    for i in range(n):
        beaten = np.zeros(DRAWS, dtype=bool)
        for j in range(n):
            if i == j or (bits and kinds[i] != kinds[j]):
                continue
            if apart[i]:
                wins = score[j] < score[i]
            elif apart[j]:
                continue
            else:
                wins = beats(score[j], latency[j], score[i], latency[i])
            if bits:
                wins &= bits[j] <= bits[i]
            beaten |= wins
            wins_of[i, j] = wins.mean()
        front[i] = 1 - beaten.mean()
    return Contest(np.bincount(score.argmin(axis=0), minlength=n) / DRAWS, front, wins_of)


def _losses(study: Study, groups: Sequence[Group], quantity: Quantity) -> list[np.ndarray]:
    """Return plausible losses ``(DRAWS,)`` of each configuration; infinite where it was not measured.

    Distances and times are compared by their logarithms if those of all configurations are positive: an
    unbiased distance may be negative, and then all stay as they are. The draws depend on the configuration
    and the quantity alone, so that no other configuration and no constraint changes them.
    """
    measured = [values_of(study, group, quantity) for group in groups]
    logs = quantity.direction == "lower" and quantity.unit not in ("nats", "bits/dim")
    logs = logs and all(value > 0 for values in measured for value in values)
    losses = []
    for group, values in zip(groups, measured, strict=True):
        if not values:
            losses.append(np.full(DRAWS, math.inf))
            continue
        seed, error = seed_of(f"{group.id} {quantity.name}"), standard_error(group, quantity)
        drawn = draws(values, DRAWS, seed, logs=logs, error=error)
        losses.append(-drawn if quantity.direction == "higher" else drawn)
    return losses
