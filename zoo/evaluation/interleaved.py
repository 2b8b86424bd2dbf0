"""Time several models in turns. A fixed product of matrices (the canary) shows when the machine was busy.

Models that are timed one after another are timed under different loads. Here they take turns: in every round
each model and batch size is timed once, in shuffled order, so that a busy minute meets all of them alike.
Further rounds follow where too few calls were undisturbed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import nn

from zoo.evaluation.device import placement
from zoo.evaluation.speed import Clock, timed_calls
from zoo.record.timing import LEAST_CALLS, Calls

TOLERANCE = 0.05  # above the canary's least time, beyond which a call is discarded
CANARY = 384  # rows of the square matrices whose product is the canary: about a millisecond on a core
PRODUCTS = (
    5  # canaries beside a call; the fastest counts, so that one interruption is not taken for a busy machine
)
PATIENCE = 10  # times the rounds asked for; then those that lack undisturbed calls get no further turns

Canary = Callable[[], object]
Turn = tuple[str, int]  # a name and a batch size
Measured = dict[
    Turn, dict[int, tuple[float, float]]
]  # by round: seconds of a call, and of the canary beside it


def matrix_product(device: torch.device) -> Canary:
    """Return the canary: a function that multiplies two fixed matrices on a device."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(CANARY, CANARY, generator=generator).to(device) for _ in range(2))

    def product() -> object:
        out = left @ right
        return out[0, 0].item()  # waits for the device

    return product


@torch.no_grad()
def interleaved_times(
    models: Mapping[str, nn.Module],
    *,
    rounds: int,
    batches: Sequence[int],
    seed: int,
    limit: float,
    clock: Clock = time.perf_counter,
    canary: Canary | None = None,
) -> dict[str, dict[int, Calls]]:
    """Return the seconds of ``model.sample(batch)`` of every model and batch size, by round.

    Args:
        models: by name, in evaluation mode, all on one device.
        rounds: how often each model and batch size has its turn. Those with fewer than :data:`LEAST_CALLS`
            calls that count (or ``rounds``, if that is less) have further turns, in at most :data:`PATIENCE`
            times as many rounds.
        batches: the batch sizes.
        seed: of the order of the turns.
        limit: seconds; a model whose call exceeds it has no further turns at this and larger batches.
        clock: function that returns a monotonic time in seconds.
        canary: work of constant size, timed before and after each call (the least of :data:`PRODUCTS` times
            counts); by default :func:`matrix_product`.

    Returns:
        For each name and batch size the calls that count. A call is discarded if a canary beside it took over
        :data:`TOLERANCE` more than the least canary of the session. A batch size that was too slow is absent.
    """
    device, _ = placement(next(iter(models.values())))
    canary = canary or matrix_product(device)
    canary()
    order, turns = random.Random(seed), [(name, batch) for name in models for batch in sorted(set(batches))]
    measured: Measured = {turn: {} for turn in turns}
    largest = dict.fromkeys(models, max(batches))
    for number in range(PATIENCE * rounds):
        if number >= rounds:
            turns = _lacking(measured, min(LEAST_CALLS, rounds))
        for name, batch in order.sample(turns, len(turns)):
            if batch > largest[name]:
                continue
            before = _least_seconds(canary, clock)
            times, _ = timed_calls(models[name], batch, 1, limit, clock, device)
            after = _least_seconds(canary, clock)
            measured[name, batch][number] = times[0], max(before, after)
            if times[0] > limit:
                largest[name] = min(largest[name], batch - 1)
    calls_of: dict[str, dict[int, Calls]] = {name: {} for name in models}
    bound = _bound(measured)
    for (name, batch), calls in measured.items():
        quiet = {str(n): call for n, call in calls.items() if call[1] <= bound}
        if calls and batch <= largest[name]:
            seconds = {n: took for n, (took, _) in quiet.items()}
            beside = {n: took for n, (_, took) in quiet.items()}
            calls_of[name][batch] = Calls(seconds, len(calls) - len(quiet), beside)
    return calls_of


def _bound(measured: Measured) -> float:
    """Return the seconds of a canary up to which the call beside it counts."""
    least = min((beside for calls in measured.values() for _, beside in calls.values()), default=0.0)
    return (1 + TOLERANCE) * least


def _lacking(measured: Measured, least: int) -> list[Turn]:
    """Return those that have fewer calls that count than the given number."""
    bound = _bound(measured)
    return [
        turn
        for turn, calls in measured.items()
        if sum(beside <= bound for _, beside in calls.values()) < least
    ]


def _least_seconds(work: Canary, clock: Clock) -> float:
    """Return the least seconds of a few repetitions of the canary."""
    times = [clock()]
    for _ in range(PRODUCTS):
        work()
        times.append(clock())
    return min(end - start for start, end in pairwise(times))
