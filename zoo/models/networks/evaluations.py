"""Count sequential network evaluations: what sampling costs when width is free.

One evaluation is one pass through a conditioner network, or one sequential step of an incremental pass
(a pixel of an autoregressive sampler). Networks call :func:`tick`; a judge reads the count:

>>> with count_evaluations() as counter:
...     tick()
>>> counter.count
1
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Counter:
    """Evaluations counted so far."""

    count: int = 0


_active: ContextVar[Counter | None] = ContextVar("zoo_evaluations", default=None)


def tick(count: int = 1) -> None:
    """Report ``count`` sequential evaluations."""
    counter = _active.get()
    if counter is not None:
        counter.count += count


@contextmanager
def count_evaluations() -> Iterator[Counter]:
    """Count the evaluations made within the block."""
    counter = Counter()
    token = _active.set(counter)
    try:
        yield counter
    finally:
        _active.reset(token)
