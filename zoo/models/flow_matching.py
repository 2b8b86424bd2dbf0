"""Flow matching: a continuous flow trained by regression, without solving the ODE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models import noise
from zoo.models.bijections.continuous import ContinuousFlow
from zoo.models.ffjord import ContinuousModel
from zoo.models.flow import Preprocessing
from zoo.models.networks.field import ConvField, DenseField


class FlowMatching(ContinuousModel):
    """Conditional flow matching on straight paths (Lipman et al. 2023, arXiv:2210.02747; Tong et al. 2024).

    With t = 0 at the data x and t = 1 at the noise e, the path is x_t = (1 - t) x + t e and the network
    regresses its velocity, e - x, whose mean given x_t is the velocity of a flow from the data's distribution
    to the standard normal. Density and samples come from the same ODE as FFJORD's.

    Args:
        spec: the data.
        coupling: of data and noise within a batch: ``independent``, or ``minibatch_ot`` (the assignment
            of least squared distance).
        hidden: hidden layers of the field (vectors).
        width: channels of the field (images).
        blocks: residual blocks of the field (images).
        solver, steps, atol, rtol, exact_dim: see :class:`~zoo.models.bijections.continuous.ContinuousFlow`.
        preprocessing, alpha: see :class:`~zoo.models.ffjord.ContinuousModel`.
    """

    rule = "matching"

    def __init__(
        self,
        spec: DataSpec,
        coupling: Literal["independent", "minibatch_ot"] = "independent",
        hidden: Sequence[int] = (128, 128, 128),
        width: int = 24,
        blocks: int = 1,
        solver: str = "dopri5",
        steps: int = 20,
        atol: float = 1e-5,
        rtol: float = 1e-5,
        exact_dim: int = 8,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
    ) -> None:
        if coupling not in ("independent", "minibatch_ot"):
            raise ZooError(f"model.coupling is independent or minibatch_ot; got '{coupling}'.")
        field: nn.Module = (
            ConvField(spec.shape, width, blocks) if spec.is_image else DenseField(spec.dim, hidden)
        )
        ode = ContinuousFlow(field, solver=solver, steps=steps, atol=atol, rtol=rtol, exact_dim=exact_dim)
        super().__init__(spec, ode, preprocessing, alpha)
        self.coupling = coupling

    def matching_loss(self, x: Tensor) -> Tensor:
        """Regression error of each example, shape ``(B,)``, in squared units of the preprocessed data.

        |v(t, x_t) - (e - x)|^2 / D with t uniform on [0, 1) and e standard normal, both from
        :mod:`zoo.models.noise` (Lipman et al. 2023, eq. 23, with their time reversed).

        Args:
            x: ``(B, *spec.shape)`` in data space.
        """
        x = x.to(device=self.device, dtype=self.dtype)
        if self.dequantise is not None:
            x = self.dequantise(x)
        x, _ = self.before(x)
        e = noise.normal(x)
        if self.coupling == "minibatch_ot":
            e = e[_assignment(x, e)]
        t = noise.uniform(x.flatten(1)[:, :1])
        wide = t.view(-1, *[1] * (x.ndim - 1))
        velocity = self.ode.field(t.flatten(), (1 - wide) * x + wide * e)
        return (velocity - (e - x)).square().flatten(1).mean(1)


@torch.no_grad()
def _assignment(x: Tensor, e: Tensor) -> Tensor:
    """Index of the noise for each example under the assignment of least squared distance, ``(B,)``."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x.flatten(1), e.flatten(1)).square()
    return torch.as_tensor(linear_sum_assignment(cost.cpu().numpy())[1], device=x.device)
