"""The budget of a run and the course of its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["constant", "cosine", "linear"]


@dataclass(frozen=True)
class Schedule:
    """Two budgets, whichever ends first, and the learning rate on the way there.

    It has no state: where training stands is an argument, so that a resumed run cannot lose its place.

    >>> Schedule(shape="linear", updates=100, warmup=10).factor(55)
    0.5

    Attributes:
        shape: after warm-up the rate is ``constant``, or falls to zero where the budget ends, along a
            ``cosine`` or a line (``linear``).
        updates: budget of updates.
        warmup: updates of linear warm-up.
        max_seconds: budget of seconds spent in updates; None for no such budget.
    """

    shape: Shape
    updates: int
    warmup: int = 0
    max_seconds: float | None = None

    def factor(self, update: int, seconds: float = 0.0) -> float:
        """Return the factor on the learning rate of an update.

        Args:
            update: number of updates made before.
            seconds: seconds spent in them.
        """
        if update < self.warmup:
            return (update + 1) / self.warmup
        progress = (update - self.warmup) / max(1, self.updates - self.warmup)
        if self.max_seconds is not None:
            progress = max(progress, seconds / self.max_seconds)
        left = max(0.0, 1 - progress)
        if self.shape == "cosine":
            return 0.5 * (1 - math.cos(math.pi * left))
        return left if self.shape == "linear" else 1.0

    def finished(self, update: int, seconds: float = 0.0) -> bool:
        """Return whether one of the budgets is used up, after so many updates and seconds."""
        return update >= self.updates or (self.max_seconds is not None and seconds >= self.max_seconds)
