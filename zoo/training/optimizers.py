"""The optimisers that a configuration can name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

OptimizerName = Literal["adam", "adamw", "rmsprop", "sgd"]


@dataclass(frozen=True)
class Optimizer:
    """An optimiser's settings.

    Attributes:
        name: ``adam``, ``adamw``, ``rmsprop`` or ``sgd``.
        lr: learning rate, before the schedule's factor.
        betas: decays of the two moving averages of Adam. The first is the momentum of sgd and rmsprop, the
            second the decay of rmsprop's squared gradients.
        weight_decay: weight decay; decoupled from the gradient in adamw alone.
    """

    name: OptimizerName
    lr: float
    betas: Sequence[float]
    weight_decay: float

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimiser of these parameters; each group keeps its rate as ``base_lr`` too."""
        first, second = self.betas
        optimizer: torch.optim.Optimizer
        if self.name == "sgd":
            optimizer = torch.optim.SGD(
                parameters, lr=self.lr, momentum=first, weight_decay=self.weight_decay
            )
        elif self.name == "rmsprop":
            optimizer = torch.optim.RMSprop(
                parameters, lr=self.lr, alpha=second, momentum=first, weight_decay=self.weight_decay
            )
        else:
            adam = torch.optim.AdamW if self.name == "adamw" else torch.optim.Adam
            optimizer = adam(parameters, lr=self.lr, betas=(first, second), weight_decay=self.weight_decay)
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
        return optimizer
