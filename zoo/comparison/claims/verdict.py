"""The framework of the claims ledger: claims, their evidence, and the verdict that follows from it.

A claim is a function that yields evidence: a :class:`Part` for each measurement, and a :class:`Missing` for
each one that the records do not allow. The files of ``sentences/`` hold one claim each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from zoo.comparison.claims.panels import Panel
from zoo.comparison.claims.statistics import Outcome
from zoo.comparison.collect import Run
from zoo.comparison.studies import Study, studies

Verdict = Literal["supported", "not supported", "undecided"]
SUPPORTED: Verdict = "supported"
REFUTED: Verdict = "not supported"
UNDECIDED: Verdict = "undecided"

# The sweep that makes the runs of the claims about a data set; for other data sets it is the digits' one.
SWEEPS = {"digits": "claims_digits", "mnist": "claims_mnist"}


@dataclass(kw_only=True)
class Part:
    """One measurement of a claim.

    Attributes:
        sentence: the measurement in words, with its numbers.
        verdict: the verdict that it gives, if it decides.
        test: the test's name and threshold; empty if nothing was tested.
        n: the number of values behind the test.
        outcome: the test's result.
        panel: the values, for the claim's figure.
        runs: the runs whose records were read.
        decides: whether the claim's verdict depends on it; otherwise it is reported beside.
    """

    sentence: str
    n: str
    verdict: Verdict = UNDECIDED
    test: str = ""
    outcome: Outcome | None = None
    panel: Panel | None = None
    runs: list[Run] = field(default_factory=list)
    decides: bool = True


@dataclass(kw_only=True)
class Missing:
    """A measurement that the records do not allow.

    Attributes:
        needs: the runs that it would take.
        commands: the commands that make them, in order; empty: the data set's sweep in :data:`SWEEPS`.
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
        order: its place in the lecture; the ledger is sorted by it.
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
    """Make the decorated function a :class:`Claim`; its name, with dashes, becomes the key."""

    def register(find: Callable[[Any], Evidence]) -> Claim:
        return Claim(find.__name__.replace("_", "-"), sentence, order, scope, find)

    return register


@dataclass
class Decision:
    """The evidence for one claim, from one study (or from all runs), and the verdict.

    Attributes:
        claim: that is judged.
        data: the data set as the study is labelled.
        protocol: hash of the protocol.
        parts: the measurements.
        missing: those that the records do not allow.
        sweep: the sweep that makes the runs of claims about these data.
    """

    claim: Claim
    data: str
    protocol: str
    parts: list[Part]
    missing: list[Missing]
    sweep: str = SWEEPS["digits"]

    @property
    def verdict(self) -> Verdict:
        """Not supported if any deciding part is; supported if all are and none is missing; else undecided."""
        verdicts = {part.verdict for part in self.deciding}
        if REFUTED in verdicts:
            return REFUTED
        complete = not any(missing.decides for missing in self.missing)
        return SUPPORTED if verdicts == {SUPPORTED} and complete else UNDECIDED

    @property
    def deciding(self) -> list[Part]:
        """The measurements that the verdict depends on."""
        return [part for part in self.parts if part.decides]

    @property
    def name(self) -> str:
        """The name of the decision's figure and of its place on the page."""
        name = re.sub(r"[^\w-]+", "_", f"{self.claim.key}-{self.data}-{self.protocol[:6]}")
        return name.replace("_-", "-").strip("_-")

    @property
    def runs(self) -> list[Run]:
        """The runs behind the evidence, each once."""
        return list({run.record.run_id: run for part in self.parts for run in part.runs}.values())

    def commands(self, missing: Missing) -> tuple[str, ...]:
        """Return the commands that make the runs which a measurement lacks."""
        return missing.commands or (f"zoo sweep {self.sweep}",)


def decide(runs: Sequence[Run], claims: Sequence[Claim]) -> list[Decision]:
    """Return the decisions about each claim: of every study with a deciding measurement, else of the largest.

    Args:
        runs: the runs, of any data sets and protocols.
        claims: the claims, in the order of the ledger.
    """
    every_study = studies(runs)
    decisions = []
    for one in claims:
        if one.scope == "all runs":
            judged = [_decision(one, "all data", "", runs)]
        else:
            judged = [
                replace(_decision(one, study.label, study.protocol, study), sweep=sweep_of(study))
                for study in every_study
            ]
        decisions += [decision for decision in judged if decision.deciding] or judged[:1]
    return decisions


def sweep_of(study: Study) -> str:
    """Return the name of the sweep that makes the runs of claims about a study's data set."""
    return SWEEPS.get(study.data, SWEEPS["digits"])


def _decision(one: Claim, data: str, protocol: str, source: Any) -> Decision:
    evidence = list(one.find(source))
    parts = [item for item in evidence if isinstance(item, Part)]
    return Decision(one, data, protocol, parts, [item for item in evidence if isinstance(item, Missing)])


def judge(outcome: Outcome, claimed: Literal["lower", "higher"], than: float = 0.0) -> Verdict:
    """Return the verdict of a test.

    It is ``supported`` if the estimate is significantly on the claimed side of ``than``, ``not supported`` if
    it is on the other side, and ``undecided`` if the test is not significant.

    >>> judge(Outcome(-1.0, -1.5, -0.5, 0.001), "lower")
    'supported'
    """
    if not outcome.significant:
        return UNDECIDED
    return SUPPORTED if (outcome.estimate < than) == (claimed == "lower") else REFUTED
