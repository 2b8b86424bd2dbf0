"""The claims of a lecture, each tested against the records of a study. Imports no torch.

``sentences/`` holds the claims, one file each. ``evidence`` has the classes of a claim and of what it finds.
``sides`` chooses the configurations that are compared. The measurements that claims share are in ``measure``,
``compare``, ``factorial``, ``scaling``, ``instability``, ``sensitivity`` and ``sharp``; ``robustness`` makes
the other tests of a measurement. ``decision`` draws the verdicts, by the rules of ``registry``. ``render``
writes the ledger, with texts of ``wording`` and figures of ``panels``.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo.comparison.claims import decision
from zoo.comparison.claims.decision import Decision
from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.collect import Run

__all__ = ["decide"]


def decide(runs: Sequence[Run]) -> list[Decision]:
    """Return the decision about every claim, in the order of the lecture; see :func:`.decision.decide`."""
    return decision.decide(runs, all_claims())
