"""Maximum likelihood training, of the density or of a lower bound on it."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.core.capabilities import HasLogProb, declared
from zoo.training.module import TrainingModule, label_argument, require


class MaximumLikelihood(TrainingModule):
    """Minimise the mean of -log_prob / D, in nats per dimension (so that one clipping norm suits all D)."""

    def __init__(self, model: nn.Module, *, seed: int = 0, **settings: Any) -> None:
        require(model, "maximum_likelihood", HasLogProb)
        if (declaration := declared(model)).likelihood == "none":
            raise ZooError(
                f"{type(model).__name__} has no likelihood to maximise; use training={declaration.objective}."
            )
        settings |= {"validate_likelihood": 0}  # the criterion is the likelihood
        super().__init__(model, seed=seed, **settings)

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        model = cast(HasLogProb, self.model)
        return -model.log_prob(x, **label_argument(y)).mean() / x[0].numel()

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.negative_log_likelihood(x, y)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.latest["val/nll"] = self.latest["val/loss"]
