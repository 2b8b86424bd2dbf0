"""Maximum likelihood, of the density or of its lower bound."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.core.capabilities import HasLogProb, declared
from zoo.training.module import Rule, given, require


class MaximumLikelihood(Rule):
    """Minimise the mean of -log_prob / D, in nats per dimension (so that one clipping norm suits all D)."""

    def __init__(self, model: nn.Module, **settings: Any) -> None:
        require(model, "maximum_likelihood", HasLogProb)
        if (declaration := declared(model)).likelihood == "none":
            raise ZooError(
                f"{type(model).__name__} has no likelihood to maximise; use training={declaration.objective}."
            )
        super().__init__(model, **settings | {"validate_likelihood": 0})  # its criterion is the likelihood

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        return -self.model.log_prob(x, **given(y)).mean() / x[0].numel()  # type: ignore[operator]

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.negative_log_likelihood(x, y)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.latest["val/nll"] = self.latest["val/loss"]
