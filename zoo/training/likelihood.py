"""Maximum likelihood, of the density or of its lower bound."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.training.rule import Rule, require


class MaximumLikelihood(Rule):
    """Minimise the mean of -log_prob / D, in nats per dimension (so that one clipping norm suits all D)."""

    def __init__(self, model: nn.Module, **settings: Any) -> None:
        require(model, "maximum_likelihood", "log_prob")
        if getattr(model, "likelihood", "exact") == "none":
            rule = getattr(model, "rule", "adversarial")
            raise ZooError(f"{type(model).__name__} has no likelihood to maximise; use training={rule}.")
        super().__init__(model, **settings)

    def update(self, batch: Tensor) -> dict[str, Tensor]:
        loss = -self.model.log_prob(batch).mean() / batch[0].numel()  # type: ignore[operator]
        norm = self.descend(loss, self.optimizers(), self.model)
        return {"train/loss": loss, "train/gradient_norm": norm}

    def validation_values(self, batch: Tensor) -> Tensor:
        return -self.evaluated.log_prob(batch) / batch[0].numel()  # type: ignore[operator]
