"""Expectation maximisation, and the maximum in closed form where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.checks import Positive, settings
from zoo.data.module import DataModule
from zoo.errors import ZooError
from zoo.models.core.capabilities import HasMaximisation
from zoo.models.core.distributed import all_reduce_sum
from zoo.training.module import TrainingModule, label_argument, require, unpack
from zoo.training.settings import TrainingSettings


@settings
class MaximisationSettings(TrainingSettings):
    """The settings of every training module, with the defaults of expectation maximisation.

    Those of gradients (``optimizer``, ``lr``, ``clip``, ...) have no effect; ``batch_size`` is the number of
    examples whose statistics are added up at once, which changes the memory and not the result.
    """

    updates: Positive = 200
    batch_size: Positive = 1000
    validations: Positive = 200
    log_every: Positive = 1


class ExpectationMaximisation(TrainingModule):
    """One update is one step on the whole training set: add up the statistics, then maximise.

    The likelihood of the training set never falls from one update to the next (Dempster et al. 1977), up to
    the prior that a model may have. Validation is by the mean of -log_prob, as in maximum likelihood.

    Raises:
        ZooError: a model without such a step, or settings that only gradients have.
    """

    Settings = MaximisationSettings
    settings: MaximisationSettings
    unread = ("optimizer", "lr", "betas", "weight_decay", "eps", "schedule", "warmup", "clip")

    def __init__(self, model: nn.Module, *, seed: int = 0, **settings: Any) -> None:
        require(model, "expectation_maximisation", HasMaximisation)
        super().__init__(model, seed=seed, **settings)

    @classmethod
    def checked(cls, settings: Mapping[str, Any]) -> TrainingSettings:
        for name, allowed in (("ema", 0.0), ("accumulate", 1), ("compile", False)):
            if settings.get(name, allowed) != allowed:
                raise ZooError(
                    f"training.{name} is for gradients, which training=expectation_maximisation has none of; "
                    f"set it to {str(allowed).lower()}."
                )
        return super().checked(settings)

    def configure_optimizers(self) -> Any:
        return None

    @property
    def examples_per_step(self) -> int:
        """Number of training examples, all of which every update sees."""
        if self.training_set is None:
            raise ZooError("training=expectation_maximisation needs the whole training set: use zoo train.")
        return len(self.training_set.splits["train"])

    def update(self, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        model, size = cast(HasMaximisation, self.model), self.examples_per_step
        data = cast(DataModule, self.training_set)
        sums: dict[str, Tensor] = {}
        with torch.no_grad():
            for rows in torch.arange(self.global_rank, size, self.trainer.world_size).split(
                self.settings.batch_size
            ):
                part, labels = unpack(data.take("train", rows, self.with_labels))
                labels = None if labels is None else labels.to(self.device)
                statistics = model.statistics(part.to(self.device), **label_argument(labels))
                sums = {name: value + sums.get(name, 0) for name, value in statistics.items()}
            sums = {name: all_reduce_sum(value) for name, value in sums.items()}
            return {"train/loss": -model.maximise(sums) / x[0].numel()}

    def seen(self, examples: int) -> int:
        return self.examples_per_step

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.negative_log_likelihood(x, y)
