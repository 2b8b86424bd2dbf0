"""Matching: regression on a target that the model itself defines (a velocity, the noise)."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from zoo.checks import Share, settings
from zoo.models.core import rng
from zoo.models.core.capabilities import HasMatchingLoss
from zoo.training.module import TrainingModule, label_argument, require
from zoo.training.settings import TrainingSettings


@settings
class MatchingSettings(TrainingSettings):
    """The settings of every training module, with averaged weights by default."""

    ema: Share = 0.999


class Matching(TrainingModule):
    """Minimise the mean of ``model.matching_loss(x)``, or ``(x, y=y)`` with labels; shape ``(B,)``."""

    Settings = MatchingSettings

    def __init__(self, model: nn.Module, *, seed: int = 0, **settings: Any) -> None:
        require(model, "matching", HasMatchingLoss)
        super().__init__(model, seed=seed, **settings)

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        return cast(HasMatchingLoss, self.model).matching_loss(x, **label_argument(y)).mean()

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        with rng.keyed(rng.content_keys(x)):  # the same times and noise at every validation
            return cast(HasMatchingLoss, self.evaluated).matching_loss(x, **label_argument(y))
