"""Flow matching: a continuous flow trained by regression, without solving the ODE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models import noise
from zoo.models.bijections.continuous import ContinuousFlow
from zoo.models.ffjord import ContinuousModel, make_field
from zoo.models.flow import Preprocessing, preprocess


class FlowMatching(ContinuousModel):
    """Conditional flow matching on straight paths (Lipman et al. 2023, arXiv:2210.02747; Tong et al. 2024).

    With t = 0 at the data x and t = 1 at the noise e, the path is x_t = (1 - t) x + t e and the network
    regresses its velocity, e - x. Density and samples come from the same ODE as FFJORD's. Pixels go through
    the logit, so that no mass lies outside their range; ``centre`` loses what does.

    Args:
        spec: the data.
        coupling: of data and noise within a batch: ``independent``, or ``optimal_transport`` (the assignment
            of least squared distance).
        hidden: hidden layers of the field (vectors).
        width: channels of the field (images).
        blocks: residual blocks of the field (images).
        solver, steps, atol, rtol, exact_dim: see :class:`~zoo.models.bijections.continuous.ContinuousFlow`.
        preprocessing: ``logit`` or ``centre``, for pixels.
        alpha: margin of the logit.
    """

    rule = "matching"

    def __init__(
        self,
        spec: DataSpec,
        coupling: Literal["independent", "optimal_transport"] = "independent",
        hidden: Sequence[int] = (128, 128, 128),
        width: int = 32,
        blocks: int = 1,
        solver: str = "dopri5",
        steps: int = 20,
        atol: float = 1e-5,
        rtol: float = 1e-5,
        exact_dim: int = 8,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
    ) -> None:
        if coupling not in ("independent", "optimal_transport"):
            raise ZooError(f"model.coupling is independent or optimal_transport; got '{coupling}'.")
        ode = ContinuousFlow(
            make_field(spec, hidden, width, blocks),
            solver=solver, steps=steps, atol=atol, rtol=rtol, exact_dim=exact_dim,
        )  # fmt: skip
        super().__init__(spec, preprocess(spec, preprocessing, alpha), ode)
        self.coupling = coupling

    def matching_loss(self, x: Tensor) -> Tensor:
        """Mean squared error of the velocity for each example, ``(B,)``; Lipman et al. 2023, eq. 23."""
        x = x.to(self.dtype)
        if self.dequantise is not None:
            x = self.dequantise(x)
        x, _ = self.before(x)
        e = noise.normal(x)
        if self.coupling == "optimal_transport":
            e = e[_assignment(x, e)]
        t = noise.uniform(x[:, :1].flatten(1)[:, :1])
        wide = t.view(-1, *[1] * (x.ndim - 1))
        velocity = self.ode.field(t.flatten(), (1 - wide) * x + wide * e)
        return (velocity - (e - x)).square().flatten(1).mean(1)


@torch.no_grad()
def _assignment(x: Tensor, e: Tensor) -> Tensor:
    """Index of the noise for each example under the assignment of least squared distance, ``(B,)``."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x.flatten(1), e.flatten(1)).square()
    return torch.as_tensor(linear_sum_assignment(cost.cpu().numpy())[1], device=x.device)
