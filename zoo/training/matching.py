"""Matching: regress a target that the model itself defines (a velocity, the noise)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.models import noise
from zoo.training.rule import Rule, given, require


class Matching(Rule):
    """Minimise the mean of ``model.matching_loss(x)``, shape ``(B,)``; of labelled data, ``(x, y=y)``."""

    def __init__(self, model: nn.Module, **settings: Any) -> None:
        require(model, "matching", "matching_loss")
        super().__init__(model, **settings)

    def update(self, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        loss = self.model.matching_loss(x, **given(y)).mean()  # type: ignore[operator]
        norm = self.descend(loss, self.optimizers(), self.model)
        return {"train/loss": loss, "train/gradient_norm": norm}

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        with noise.keyed(noise.content_keys(x)):  # the same times and noise at every validation
            return self.evaluated.matching_loss(x, **given(y))  # type: ignore[operator]
