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

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.model.matching_loss(x, **given(y)).mean()  # type: ignore[operator]

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        with noise.keyed(noise.content_keys(x)):  # the same times and noise at every validation
            return self.evaluated.matching_loss(x, **given(y))  # type: ignore[operator]
