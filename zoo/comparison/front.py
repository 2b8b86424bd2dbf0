"""The front of quality against cost: one rule for the decision helper, the page and the figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

THICKNESS = 1.25  # times within this factor count as equal: they differ with the load of the machine


def beats(loss: Any, log_cost: Any, than_loss: Any, than_log_cost: Any) -> Any:
    """Return whether one beats another: better and not surely slower, or as good and surely faster.

    Surely is by more than the factor :data:`THICKNESS`. The arguments are numbers, or arrays of draws of the
    same shape.
    """
    slack = math.log(THICKNESS)
    better = (loss < than_loss) & (log_cost <= than_log_cost + slack)
    return better | ((loss == than_loss) & (log_cost < than_log_cost - slack))


def front(points: Sequence[tuple[float, float]], kinds: Sequence[str] = ()) -> list[int]:
    """Return the places of the points (time, loss), times above 0, that no other one beats.

    Args:
        points: to be compared.
        kinds: of the points' likelihoods, where these are the losses: only points of one kind are compared.

    >>> front([(1.0, 9.0), (1.2, 4.0), (10.0, 4.0)])
    [1]
    >>> front([(1.0, 9.0), (1.2, 4.0), (10.0, 4.0)], ["exact", "exact", "estimate"])
    [1, 2]
    """
    logs = [(math.log(time), loss) for time, loss in points]
    of = list(kinds) or [""] * len(logs)
    return [
        place
        for place, (time, loss) in enumerate(logs)
        if not any(
            kind == of[place] and beats(better, cost, loss, time)
            for kind, (cost, better) in zip(of, logs, strict=True)
        )
    ]
