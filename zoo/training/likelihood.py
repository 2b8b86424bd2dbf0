"""Maximum likelihood training, of the density or of a lower bound on it."""

from __future__ import annotations

from typing import Any, Literal, cast

from torch import Tensor, nn

from zoo.checks import NotNegative, settings
from zoo.errors import ZooError
from zoo.models.core.capabilities import (
    HasLogProb,
    HasValidationLogProb,
    HasWeightedKL,
    declared,
    missing,
)
from zoo.training.module import TrainingModule, label_argument, require
from zoo.training.settings import TrainingSettings


@settings
class LikelihoodSettings(TrainingSettings):
    """The settings of every training module, and those of maximum likelihood.

    Attributes:
        loss_per: unit of the loss: nats per ``dimension``, so that one clipping norm suits all data, or per
            ``example``, in which papers state weight decay and the optimisers' small constants. Validation
            losses are always per dimension.
        beta_warmup: updates in which the weight of a VAE's KL grows linearly from 0 to ``model.beta`` (Bowman
            et al. 2016; Sønderby et al. 2016). Validation always has the bound itself, with the weight 1.
    """

    loss_per: Literal["dimension", "example"] = "dimension"
    beta_warmup: NotNegative = 0


class MaximumLikelihood(TrainingModule):
    """Minimise the mean of -log_prob.

    A model with a cheaper estimate for validation (:class:`HasValidationLogProb`) is validated by it.
    """

    Settings = LikelihoodSettings
    settings: LikelihoodSettings

    def __init__(self, model: nn.Module, *, seed: int = 0, **settings: Any) -> None:
        require(model, "maximum_likelihood", HasLogProb)
        if (declaration := declared(model)).likelihood == "none":
            raise ZooError(
                f"{type(model).__name__} has no likelihood to maximise; use training={declaration.objective}."
            )
        settings |= {"validate_likelihood": 0}  # the criterion is the likelihood
        super().__init__(model, seed=seed, **settings)
        warmup = self.settings.beta_warmup
        if warmup and missing(model, HasWeightedKL):
            raise ZooError(
                f"training.beta_warmup weighs the KL of a VAE; set it to 0 for {type(model).__name__}."
            )
        if warmup and self.settings.compile:
            raise ZooError("training.beta_warmup changes the loss; set training.compile=false.")
        self.beta = cast(HasWeightedKL, model).beta if warmup else 1.0

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        model = cast(HasLogProb, self.model)
        if self.settings.beta_warmup:
            share = min(1.0, self.updates / self.settings.beta_warmup)
            cast(HasWeightedKL, self.model).beta = share * self.beta
        loss = -model.log_prob(x, **label_argument(y)).mean()
        return loss if self.settings.loss_per == "example" else loss / x[0].numel()

    def validation_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        if not missing(self.evaluated, HasValidationLogProb):
            model = cast(HasValidationLogProb, self.evaluated)
            return -model.validation_log_prob(x, **label_argument(y)) / x[0].numel()
        return self.negative_log_likelihood(x, y)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.latest["val/nll"] = self.latest["val/loss"]
