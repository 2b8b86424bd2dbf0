"""The claims of a lecture, each tested against the records of a study. Imports no torch.

``sentences/`` holds the claims, one file each. ``verdict`` is their framework; ``sides`` chooses the
configurations that are compared, ``measure``, ``compare``, ``scaling``, ``instability``, ``sensitivity`` and
``sharp`` are the measurements that claims share; ``wording`` and ``render`` write the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo.comparison.claims import verdict
from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.claims.verdict import Decision
from zoo.comparison.collect import Run

__all__ = ["decide"]


def decide(runs: Sequence[Run]) -> list[Decision]:
    """Return the decision about every claim, in the order of the lecture; see :func:`.verdict.decide`."""
    return verdict.decide(runs, all_claims())
