"""Matching: regress a target that the model itself defines (a velocity, the noise)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.models import noise
from zoo.training.rule import Rule, require


class Matching(Rule):
    """Minimise the mean of ``model.matching_loss(x)``, shape ``(B,)``."""

    def __init__(self, model: nn.Module, **settings: Any) -> None:
        require(model, "matching", "matching_loss")
        super().__init__(model, **settings)

    def update(self, batch: Tensor) -> dict[str, Tensor]:
        loss = self.model.matching_loss(batch).mean()  # type: ignore[operator]
        norm = self.descend(loss, self.optimizers(), self.model)
        return {"train/loss": loss, "train/gradient_norm": norm}

    def validation_values(self, batch: Tensor) -> Tensor:
        with noise.keyed(noise.content_keys(batch)):  # the same times and noise at every validation
            return self.evaluated.matching_loss(batch)  # type: ignore[operator]
