"""Flow matching: a continuous flow trained by regression, without solving the ODE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from zoo.checks import Positive, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.continuous import ContinuousFlow, Solver
from zoo.models.core import rng
from zoo.models.core.settings import Pixels
from zoo.models.families.continuous import ContinuousModel, Field, make_field
from zoo.models.networks.unet import UNetSettings
from zoo.models.networks.vector_field import PatchSettings


class FlowMatching(ContinuousModel):
    """Conditional flow matching on straight paths (Lipman et al. 2023, arXiv:2210.02747; Tong et al. 2024).

    With t = 0 at the data x and t = 1 at the noise e, the path is x_t = (1 - t) x + t e and the network
    regresses its velocity, e - x, whose mean given x_t is the velocity of a flow from the distribution of the
    data to the standard normal. Density and samples come from the same ODE as in FFJORD.

    Args:
        spec: the data.
        coupling: coupling of data and noise within a batch: ``independent``, or ``minibatch_ot`` (the
            assignment of least squared distance; the batch must then be in one process and undivided).
        conditional: condition the field on the label.
        field: network of images: ``unet``, or ``patch``, the field of FFJORD.
        hidden: widths of the hidden layers of the field (vectors).
        unet: size of the U-Net.
        patch: size of the patch field.
        solver: solver of the ODE.
        pixels: preprocessing of pixels.

    Raises:
        ZooError: a conditional model with the coupling ``minibatch_ot``.
    """

    objective = "matching"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        coupling: Literal["independent", "minibatch_ot"] = "independent",
        conditional: bool = False,
        field: Field = "unet",
        hidden: Sequence[Positive] = (128, 128, 128),
        unet: UNetSettings = UNetSettings(),
        patch: PatchSettings = PatchSettings(),
        solver: Solver = Solver(),
        pixels: Pixels = Pixels(),
    ) -> None:
        if conditional and coupling == "minibatch_ot":
            raise ZooError(
                "model.coupling=minibatch_ot would tie the noise to the label of a conditional model; "
                "use independent."
            )
        network = make_field(
            spec, field=field, hidden=hidden, unet=unet, patch=patch, conditional=conditional
        )
        super().__init__(spec, ContinuousFlow(network, solver), pixels=pixels, conditional=conditional)
        self.coupling = coupling
        self.whole_batch = coupling == "minibatch_ot"
        self.whole_batch = coupling == "minibatch_ot"

    def matching_loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the regression error of each example, ``(B,)``, in squared units of the preprocessed data.

        It is |v(t, x_t) - (e - x)|^2 / D with t uniform on [0, 1) and e standard normal, both from
        :mod:`zoo.models.core.rng` (Lipman et al. 2023, eq. 23, with time reversed).

        Args:
            x: ``(B, *spec.shape)`` in data space.
            y: labels ``(B,)`` of a conditional model.
        """
        x, context = x.to(device=self.device, dtype=self.dtype), self.one_hot(y, len(x))
        if self.dequantise is not None:
            x = self.dequantise(x)
        x, _ = self.before(x)
        e = rng.normal(x)
        if self.coupling == "minibatch_ot":
            e = e[assignment(x, e)]
        t = rng.uniform(x.flatten(1)[:, :1])
        wide = t.view(-1, *[1] * (x.ndim - 1))
        velocity = self._velocity(t.flatten(), (1 - wide) * x + wide * e, context)
        return (velocity - (e - x)).square().flatten(1).mean(1)


@torch.no_grad()
def assignment(x: Tensor, e: Tensor) -> Tensor:
    """Return the assignment of noise, indices ``(B,)``, with the least sum of squared distances."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x.flatten(1), e.flatten(1)).square()
    return torch.as_tensor(linear_sum_assignment(cost.cpu().numpy())[1], device=x.device)
