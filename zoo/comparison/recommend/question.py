"""A question to the records of one study: its constraints, and the criteria by which they are ranked."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import cached_property

from zoo.comparison.configurations import Group
from zoo.comparison.criterion import KL, knows_density
from zoo.comparison.groups import loss
from zoo.comparison.guards import recall_of
from zoo.comparison.quantities import BITS_PER_DIM, NLL, Quantity
from zoo.comparison.recommend.answer import Constraints
from zoo.comparison.recommend.numbers import spoken, value_text
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import KIND_MARKS


@dataclass(frozen=True)
class Question:
    """The constraints that a configuration of a study has to fulfil, and what ranks those that do.

    Attributes:
        study: the records.
        constraints: with the weights of what decides.
    """

    study: Study
    constraints: Constraints

    @cached_property
    def likelihood(self) -> Quantity:
        """The likelihood of the study: the divergence from the data's density where that is known, else bits
        per dimension, or nats where no record has them.
        """
        if self.knows_density:
            return KL
        has_bits = any("bits_per_dim" in run.record.metrics for run in self.study.runs)
        return BITS_PER_DIM if has_bits else NLL

    @cached_property
    def knows_density(self) -> bool:
        """Whether the density of the data is known, so that divergences from it were measured."""
        return knows_density(self.study)

    @cached_property
    def density_weight(self) -> float:
        """The weight of the likelihood. Where it is above 0, each kind of likelihood is ranked by itself."""
        return self._weights["density"][0]

    @cached_property
    def recall(self) -> Quantity | None:
        """The recall of the data by the samples; None if no record has it."""
        return recall_of(self.study)

    @cached_property
    def criteria(self) -> list[tuple[float, Quantity]]:
        """The weighted quantities that were measured."""
        return [(weight, quantity) for weight, quantity in self._weights.values() if weight and quantity]

    def judged_by(self, kind: str) -> dict[Quantity, str]:
        """Return the quantities that judge samples and density, the likelihood with its kind."""
        judges = dict.fromkeys(filter(None, (self.study.quality, self.recall)), "")
        return {**judges, self.likelihood: kind}

    @property
    def notes(self) -> list[str]:
        """Sentences on what decides: what decides where nobody chose, and weights without effect."""
        asked = self.constraints
        known = [
            f"The density of {self.study.title} is known: what decides is the divergence from it (kl), "
            "within each kind of likelihood."
        ]
        by_default = self.knows_density and asked.fidelity is None and asked.density is None
        return known * by_default + [
            f"No record of {self.study.title} measures {name}, so its weight counts for nothing."
            for name, (weight, quantity) in self._weights.items()
            if weight and quantity is None
        ]

    @property
    def _weights(self) -> dict[str, tuple[float, Quantity | None]]:
        fidelity, density = self.constraints.fidelity, self.constraints.density
        return {
            "fidelity": (float(not self.knows_density) if fidelity is None else fidelity, self.study.quality),
            "coverage": (self.constraints.coverage, self.recall),
            "density": (float(self.knows_density) if density is None else density, self.likelihood),
        }

    @property
    def criteria_text(self) -> str:
        """The criteria in words."""
        if len(self.criteria) == 1:
            return spoken(self.criteria[0][1])
        parts = [f"{weight:g} x {spoken(quantity)}" for weight, quantity in self.criteria]
        return " + ".join(parts) + ", each over its standard deviation among the admitted"

    @property
    def main_criterion(self) -> Quantity:
        """The criterion of largest weight."""
        return max(self.criteria, key=lambda item: item[0])[1]

    def main_loss(self, group: Group) -> float:
        """Return the mean loss in the criterion of largest weight; infinite where it was not measured."""
        values = group.values(self.main_criterion)
        return loss(statistics.fmean(values), self.main_criterion.direction) if values else math.inf

    def main_text(self, group: Group, kind: str = "") -> str:
        """Return the mean of the criterion of largest weight, with its name.

        Args:
            group: a configuration.
            kind: of its likelihood, whose mark the mean gets if it is one.
        """
        mean = statistics.fmean(group.values(self.main_criterion))
        text = value_text(self.main_criterion, mean)
        if self.main_criterion == self.likelihood:
            text = f"{KIND_MARKS.get(kind, '')}{text}{'†' * (kind == 'exact†')}"
        return f"{spoken(self.main_criterion)} {text}"
