"""How steadily a run trains: spikes, skipped steps, oscillation of the validation curves."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from zoo.record import Stability as StabilityReport

WINDOW = 100  # values that a spike is measured against
LEAST = 20  # values that must come before one that can be judged
DEVIATIONS = 5.0
LOSS_RISE, GRADIENT_RISE = 0.1, 1.0  # least height, relative to the median: a tenth above it; twice as large
_SCALE = 1.4826  # a normal distribution's standard deviation, in median absolute deviations


class Spikes:
    """Count the spikes of a sequence, one value at a time.

    A value is high when it lies above the median m of the last 100 by more than 5 of their standard
    deviations, taken as 1.4826 times the median absolute deviation, and by more than ``rise`` times abs(m).
    The first of consecutive high values is a spike; the others belong to it. Of normally distributed values,
    one in some millions is high. The first 20 values are not judged.

    Args:
        rise: the least height, relative to the median's size.

    Attributes:
        count: spikes so far.
    """

    def __init__(self, rise: float) -> None:
        self.rise, self.count = rise, 0
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self._high = False

    def see(self, value: float) -> None:
        """Add the next value; a value that is not finite is left out."""
        if not math.isfinite(value):
            return
        high = False
        if len(self.recent) >= LEAST:
            median = _median(self.recent)
            above = value - median
            if above > self.rise * abs(median):
                high = above > DEVIATIONS * _SCALE * _median([abs(v - median) for v in self.recent])
        self.count += high and not self._high
        self._high = high
        self.recent.append(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, for a checkpoint."""
        return {"count": self.count, "high": self._high, "recent": list(self.recent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that :meth:`state_dict` returned."""
        self.count, self._high = state["count"], state["high"]
        self.recent = deque(state["recent"], maxlen=WINDOW)


class Stability:
    """Counts of how steadily one run trains, from losses and gradient norms that training computes anyway.

    Over several processes the losses are means and the gradients those of the whole batch, so every process
    counts the same. The state is part of the checkpoint: a resumed run counts as an uninterrupted one does.

    Attributes:
        largest_gradient_norm: largest finite norm before clipping.
        non_finite_steps: updates in which a loss or a gradient of any player was not finite; a step along
            such a gradient is skipped.
        updates_watched: number of updates counted.
    """

    def __init__(self) -> None:
        self.largest_gradient_norm = 0.0
        self.non_finite_steps = 0
        self.updates_watched = 0
        self._losses: dict[str, Spikes] = {}
        self._gradients: dict[str, Spikes] = {}
        self._curves: dict[str, list[list[float]]] = {}
        self._skipped = False

    def step(self, player: str, norm: float) -> bool:
        """Add the gradient norm of a step, before clipping; return whether the step can be made."""
        if not math.isfinite(norm):
            self._skipped = True
            return False
        self.largest_gradient_norm = max(self.largest_gradient_norm, norm)
        self._gradients.setdefault(player, Spikes(GRADIENT_RISE)).see(norm)
        return True

    def update(self, losses: Mapping[str, float]) -> None:
        """Add an update's losses, by name."""
        self.updates_watched += 1
        self.non_finite_steps += self._skipped or not all(map(math.isfinite, losses.values()))
        self._skipped = False
        for name, value in losses.items():
            self._losses.setdefault(name, Spikes(LOSS_RISE)).see(value)

    def validation(self, name: str, updates: int, value: float) -> None:
        """Add a value of a validation curve after so many updates."""
        self._curves.setdefault(name, []).append([updates, value])

    def report(self) -> StabilityReport:
        """Return the ``stability`` of a record.

        The spikes are those of :class:`Spikes`, with rises 0.1 for losses and 1 for gradients, of all players
        together. ``oscillations`` has :func:`oscillation` for each validation curve; ``oscillation`` is that
        of the first curve, the criterion if there is one.
        """
        swings = {name: oscillation(points) for name, points in self._curves.items()}
        name = next(iter(swings), None)
        return StabilityReport(
            largest_gradient_norm=self.largest_gradient_norm,
            loss_spikes=sum(spikes.count for spikes in self._losses.values()),
            gradient_spikes=sum(spikes.count for spikes in self._gradients.values()),
            non_finite_steps=self.non_finite_steps + self._skipped,
            updates_watched=self.updates_watched,
            oscillation=swings[name] if name is not None else None,
            oscillation_of=name,
            oscillations=swings,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, for a checkpoint."""
        return {
            "largest_gradient_norm": self.largest_gradient_norm,
            "non_finite_steps": self.non_finite_steps,
            "updates_watched": self.updates_watched,
            "losses": {name: spikes.state_dict() for name, spikes in self._losses.items()},
            "gradients": {name: spikes.state_dict() for name, spikes in self._gradients.items()},
            "criterion": {name: [list(p) for p in points] for name, points in self._curves.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that :meth:`state_dict` returned."""
        for name in ("largest_gradient_norm", "non_finite_steps", "updates_watched"):
            setattr(self, name, state[name])
        self._losses = _load_spikes(LOSS_RISE, state["losses"])
        self._gradients = _load_spikes(GRADIENT_RISE, state["gradients"])
        self._curves = {name: [list(p) for p in points] for name, points in state["criterion"].items()}


def _load_spikes(rise: float, states: Mapping[str, Any]) -> dict[str, Spikes]:
    counters = {name: Spikes(rise) for name in states}
    for name, counter in counters.items():
        counter.load_state_dict(states[name])
    return counters


def oscillation(points: list[list[float]]) -> float | None:
    """Return how much a curve still swings when training ends, relative to its range over the whole run.

    This is the residual standard deviation (n - 2 degrees of freedom) of the validations in the last third of
    the updates about their own straight line, over the difference between the largest and the smallest
    validation of the whole run. 0: the curve settles, or moves steadily; 0.5: it swings between its extremes
    to the end (noise without any trend: about 0.3).

    Args:
        points: ``[updates, value]`` of each validation, in order.

    Returns:
        The ratio; None with fewer than three validations in the last third, or if all values are equal.
    """
    if not points:
        return None
    end = points[-1][0]
    late = [(u, v) for u, v in points if u > 2 / 3 * end]
    extent = max(v for _, v in points) - min(v for _, v in points)
    if len(late) < 3 or extent == 0:
        return None
    n = len(late)
    u_mean, v_mean = sum(u for u, _ in late) / n, sum(v for _, v in late) / n
    spread = sum((u - u_mean) ** 2 for u, _ in late)
    slope = sum((u - u_mean) * (v - v_mean) for u, v in late) / spread
    residual = sum((v - v_mean - slope * (u - u_mean)) ** 2 for u, v in late)
    return math.sqrt(residual / (n - 2)) / extent


def _median(values: Any) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
