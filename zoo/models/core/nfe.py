"""The number of function evaluations (NFE): the sequential network passes of a computation.

One evaluation is one pass through a conditioner network, or one sequential step of an incremental pass
(a pixel of an autoregressive sampler). Networks call :func:`add_nfe`; the evaluation reads the count:

>>> with count_nfe() as counter:
...     add_nfe()
>>> counter.count
1
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Counter:
    """The number of evaluations so far."""

    count: int = 0


_active: Counter | None = None  # a module global, for the reasons given in rng.py


def add_nfe(count: int = 1) -> None:
    """Add ``count`` sequential evaluations to the active counter, if there is one."""
    if _active is not None:
        _active.count += count


@contextmanager
def count_nfe() -> Iterator[Counter]:
    """Count the evaluations that are made within the block."""
    global _active
    before, _active = _active, Counter()
    try:
        yield _active
    finally:
        _active = before
