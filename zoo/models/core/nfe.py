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
from dataclasses import dataclass


@dataclass
class Counter:
    """Evaluations counted so far."""

    count: int = 0


_active: Counter | None = None  # global for the reasons that the noise has, see noise.py


def tick(count: int = 1) -> None:
    """Report ``count`` sequential evaluations."""
    if _active is not None:
        _active.count += count


@contextmanager
def count_evaluations() -> Iterator[Counter]:
    """Count the evaluations made within the block."""
    global _active
    before, _active = _active, Counter()
    try:
        yield _active
    finally:
        _active = before
