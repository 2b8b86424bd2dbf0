"""The optimisers that a configuration can name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

OptimizerName = Literal["adam", "adamw", "adamax", "adagrad", "adadelta", "rmsprop", "sgd"]


# Kinds of device on which Adam and SGD are always fused: a few kernels update all weights, and they can skip
# the step by a flag on the device.
FUSED_ON = {"cuda"}


@dataclass(frozen=True)
class Optimizer:
    """An optimiser's settings.

    Attributes:
        name: ``adam``, ``adamw``, ``adamax`` (Kingma & Ba 2015), ``adagrad`` (Duchi et al. 2011),
            ``adadelta`` (Zeiler 2012), ``rmsprop`` or ``sgd``.
        lr: learning rate, before the schedule's factor; adadelta as in its paper has 1.
        betas: decays of the two moving averages of Adam and Adamax. The first is the momentum of sgd and
            rmsprop, the second the decay of rmsprop's and adadelta's squared gradients. Adagrad has neither.
        weight_decay: weight w of the penalty w/2 |parameters|^2, whose gradient is added to that of the loss;
            in adamw alone the weights shrink by the factor 1 - lr w apart from the gradient.
        eps: number that keeps the optimiser's division finite; None for torch's own value. sgd has none.
    """

    name: OptimizerName
    lr: float
    betas: Sequence[float]
    weight_decay: float
    eps: float | None = None

    def build(self, parameters: Iterable[nn.Parameter], fused: bool = True) -> torch.optim.Optimizer:
        """Return the optimiser of these parameters.

        Each of its groups stores the learning rate as ``base_lr`` too, which the schedule's factor
        multiplies.

        Args:
            parameters: the parameters.
            fused: whether Adam and AdamW on a CPU update all parameters in one operation in place of a loop
                over them. That is faster, and rounds differently. On a GPU they and SGD always do so.
        """
        parameters = list(parameters)
        first, second = self.betas
        common: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.eps is not None and self.name != "sgd":
            common["eps"] = self.eps
        devices = {p.device.type for p in parameters}
        optimizer: torch.optim.Optimizer
        if self.name == "sgd":
            fused = devices <= FUSED_ON
            optimizer = torch.optim.SGD(parameters, momentum=first, fused=fused, **common)
            if fused and first > 0:  # torch leaves the buffer uninitialised if the first update is skipped
                for parameter in parameters:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        elif self.name == "rmsprop":
            optimizer = torch.optim.RMSprop(parameters, alpha=second, momentum=first, **common)
        elif self.name == "adagrad":
            optimizer = torch.optim.Adagrad(parameters, **common)
        elif self.name == "adadelta":
            optimizer = torch.optim.Adadelta(parameters, rho=second, **common)
        else:
            adam = {"adamw": torch.optim.AdamW, "adamax": torch.optim.Adamax}.get(self.name, torch.optim.Adam)
            fused = self.name != "adamax" and (devices <= FUSED_ON or (fused and devices == {"cpu"}))
            if fused:
                common["fused"] = True
            optimizer = adam(parameters, betas=(first, second), **common)
        if optimizer.defaults.get("fused"):
            # spectral norms and caches watch the version of a weight, which a fused update leaves
            optimizer.register_step_post_hook(lambda *_: torch.autograd.graph.increment_version(parameters))
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
        return optimizer


def step_if_finite(optimizer: Any, norm: Tensor) -> None:
    """Make an optimiser's step, unless the norm of its gradients is infinite or NaN.

    On a GPU a fused Adam or SGD checks the norm there. For the others, which have no such flag, the host
    waits until the norm is known: to undo their steps by copies would launch more kernels than the wait is
    worth. On a CPU there is nothing to wait for.

    Args:
        optimizer: torch's optimiser, or Lightning's around one.
        norm: norm of the gradients, a scalar.
    """
    inner = getattr(optimizer, "optimizer", optimizer)
    by_flag = isinstance(inner, torch.optim.Adam | torch.optim.SGD) and norm.device.type in FUSED_ON
    if by_flag and all(group.get("fused") for group in inner.param_groups):
        inner.found_inf = norm.isfinite().logical_not().float()  # torch reads it
    elif not math.isfinite(float(norm)):
        return
    optimizer.step()
