"""A question to the records of one study: its constraints, and the criteria by which they are ranked."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import cached_property

from zoo.comparison.configurations import Group
from zoo.comparison.groups import loss
from zoo.comparison.guards import recall_of
from zoo.comparison.quantities import BITS_PER_DIM, NLL, Quantity
from zoo.comparison.recommend.answer import Constraints
from zoo.comparison.recommend.numbers import value_text
from zoo.comparison.studies import Study


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
        """The likelihood of the study: bits/dim, or nats where no record has them."""
        has_bits = any("bits_per_dim" in run.record.metrics for run in self.study.runs)
        return BITS_PER_DIM if has_bits else NLL

    @cached_property
    def recall(self) -> Quantity | None:
        """The recall of the data by the samples; None if no record has it."""
        return recall_of(self.study)

    @cached_property
    def criteria(self) -> list[tuple[float, Quantity]]:
        """The weighted quantities that were measured."""
        return [(weight, quantity) for weight, quantity in self._weights.values() if weight and quantity]

    @property
    def notes(self) -> list[str]:
        """A sentence for each weight on a quantity that was not measured."""
        return [
            f"No record of {self.study.title} measures {name}, so its weight counts for nothing."
            for name, (weight, quantity) in self._weights.items()
            if weight and quantity is None
        ]

    @property
    def _weights(self) -> dict[str, tuple[float, Quantity | None]]:
        return {
            "fidelity": (self.constraints.fidelity, self.study.quality),
            "coverage": (self.constraints.coverage, self.recall),
            "density": (self.constraints.density, self.likelihood),
        }

    @property
    def criteria_text(self) -> str:
        """The criteria in words."""
        if len(self.criteria) == 1:
            return self.criteria[0][1].name
        parts = [f"{weight:g} x {quantity.name}" for weight, quantity in self.criteria]
        return " + ".join(parts) + ", each over its standard deviation among the admitted"

    @property
    def main_criterion(self) -> Quantity:
        """The criterion of largest weight."""
        return max(self.criteria, key=lambda item: item[0])[1]

    def main_loss(self, group: Group) -> float:
        """Return the mean loss in the criterion of largest weight; infinite where it was not measured."""
        values = group.values(self.main_criterion)
        return loss(statistics.fmean(values), self.main_criterion.direction) if values else math.inf

    def main_text(self, group: Group) -> str:
        """Return the mean of the criterion of largest weight, with its name."""
        mean = statistics.fmean(group.values(self.main_criterion))
        return f"{self.main_criterion.name} {value_text(self.main_criterion, mean)}"
