"""A claim, the evidence for or against it, and the verdict of one test.

A claim is a function that yields evidence: a :class:`Part` for each measurement, and a :class:`Missing` for
each one that the records do not allow. The files of ``sentences/`` hold one claim each. What follows from the
evidence is the matter of :mod:`.decision`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.comparison.claims.panels import Panel
from zoo.comparison.collect import Run
from zoo.comparison.statistics import Outcome

Verdict = Literal["supported", "not supported", "equivalent", "suggestive", "undecided"]
Direction = Literal["lower", "higher"]
SUPPORTED: Verdict = "supported"
REFUTED: Verdict = "not supported"
EQUIVALENT: Verdict = "equivalent"
SUGGESTIVE: Verdict = "suggestive"
UNDECIDED: Verdict = "undecided"


@dataclass(frozen=True)
class Variant:
    """Another reasonable test of the same measurement, beside the test that decides.

    A verdict is robust if most variants agree with it.

    Several variants may have one name, such as the tests that leave out one seed each. They count as one, by
    the share of them that keep the verdict. The names of one kind count as one too, by their mean share.

    Attributes:
        name: what differs from the deciding test.
        outcome: the result.
        claimed: the direction that supports the claim.
        kind: what is varied, such as the test or the distance; empty: the name is also the kind.
        verdict: the verdict of this variant; None: it follows from ``outcome``.
    """

    name: str
    outcome: Outcome
    claimed: Direction
    kind: str = ""
    verdict: Verdict | None = None


@dataclass(kw_only=True)
class Part:
    """One measurement of a claim.

    Attributes:
        sentence: the measurement in words, with its numbers.
        verdict: the verdict by this measurement alone, if it decides.
        test: the test's name and threshold; empty if nothing was tested.
        n: the number of values behind the test.
        outcome: the test's result.
        p: the p-value that the verdict rests on; None: it rests on none (a count, a construction).
        unit: unit of the effect, ``factor`` for a ratio. A rule has a margin for some units: a smaller effect
            counts as none. Empty: no equivalence is to be tested, or the sentence has tested it itself.
        variants: returns other tests of the same measurement, for the robustness of the verdict.
        name: what was measured, as sentences write it; empty: it is not named.
        spread: the larger of the two sides' standard deviations over seeds, of the logarithms if the effect
            is a factor; for pairs, that of their differences. None: the number of seeds that the two-stage
            rule asks for does not depend on this part.
        seeds: number of seeds of the side that has fewer; None where ``spread`` is.
        paired: whether the values are pairs.
        panel: the values, for the claim's figure.
        runs: the runs whose records were read.
        decides: whether the claim's verdict depends on it; otherwise it is reported beside.
        by_construction: whether the architecture fixes what was measured, so that nothing is inferred.
        caution: a few words that stand beside the verdict; empty: none.
        brief: what was found in a few words, where no single effect says it; empty: the effect does.
        within: the ends of the zone that the claim itself wants the effect in; None: it names none.
    """

    sentence: str
    n: str
    verdict: Verdict = UNDECIDED
    test: str = ""
    outcome: Outcome | None = None
    p: float | None = None
    unit: str = ""
    variants: Callable[[], list[Variant]] | None = None
    name: str = ""
    spread: float | None = None
    seeds: int | None = None
    paired: bool = False
    panel: Panel | None = None
    runs: list[Run] = field(default_factory=list)
    decides: bool = True
    by_construction: bool = False
    caution: str = ""
    brief: str = ""
    within: tuple[float, float] | None = None


@dataclass(kw_only=True)
class Missing:
    """A measurement that the records do not allow.

    Attributes:
        needs: the runs that it would take.
        commands: the commands that make them, in order; empty: the sweep of the claims about the data set.
        decides: whether the claim's verdict depends on it.
    """

    needs: str
    commands: tuple[str, ...] = ()
    decides: bool = True


Evidence = Iterator[Part | Missing]


@dataclass(frozen=True)
class Claim:
    """A sentence of the lecture and the function that finds the evidence for or against it.

    Attributes:
        key: a short name.
        sentence: the claim.
        order: its place in the lecture, by which the ledger is sorted.
        scope: the argument of ``find``: one ``study`` (runs of one data set and protocol) or ``all runs``.
        find: yields the evidence.
    """

    key: str
    sentence: str
    order: int
    scope: Literal["study", "all runs"]
    find: Callable[[Any], Iterable[Part | Missing]]


def claim(
    sentence: str, *, order: int, scope: Literal["study", "all runs"] = "study"
) -> Callable[[Callable[[Any], Evidence]], Claim]:
    """Make the decorated function a :class:`Claim`, whose key is the function's name with dashes."""

    def register(find: Callable[[Any], Evidence]) -> Claim:
        return Claim(find.__name__.replace("_", "-"), sentence, order, scope, find)

    return register


def judge(outcome: Outcome, claimed: Direction, than: float = 0.0) -> Verdict:
    """Return the verdict of one test.

    It is ``undecided`` if the test is not significant. Otherwise it is ``supported`` if the estimate is on
    the claimed side of ``than``, and ``not supported`` if it is on the other side.

    >>> judge(Outcome(-1.0, -1.5, -0.5, 0.001), "lower")
    'supported'
    """
    if not outcome.significant:
        return UNDECIDED
    return SUPPORTED if (outcome.estimate < than) == (claimed == "lower") else REFUTED
