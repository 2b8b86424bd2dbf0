"""Flow matching: a continuous flow trained by regression, without solving the ODE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from zoo.checks import NotNegativeFloat, Positive, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.continuous import ContinuousFlow, Solver
from zoo.models.core import rng
from zoo.models.core.functional import squared_distances
from zoo.models.core.settings import Pixels
from zoo.models.core.sources import Source, make_source
from zoo.models.families.continuous import ContinuousModel, Dense, Field, make_field
from zoo.models.networks.unet import UNetSettings
from zoo.models.networks.vector_field import PatchSettings

Coupling = Literal["independent", "minibatch_ot"]
Path = Literal["straight", "gaussian"]


class FlowMatching(ContinuousModel):
    """Conditional flow matching (Lipman et al. 2023, arXiv:2210.02747; Tong et al. 2024, arXiv:2302.00482).

    With t = 0 at the data x and t = 1 at the source's point e, the network regresses the velocity of a path
    between them, whose mean given x_t is the velocity of a flow from the distribution of the data to the
    source. Density and samples come from the same ODE as in FFJORD. The path is, with sigma s,

    - ``straight``: x_t = (1 - t) x + t e + s n with n ~ N(0, I), and velocity e - x (Tong et al. 2024);
    - ``gaussian``: x_t = (1 - t) x + (s + (1 - s) t) e, and velocity (1 - s) e - x (Lipman et al. 2023).

    Both are the straight line at s = 0; otherwise the flow begins at the data with noise of deviation s.

    Args:
        spec: the data.
        coupling: coupling of data and source within a batch: ``independent``, or ``minibatch_ot`` (the
            assignment of least squared distance; the batch must then be in one process and undivided).
        resample: draw the pairs of a batch from the transport plan with replacement, as Tong et al.'s program
            does, instead of taking each once (``minibatch_ot`` only).
        path: ``straight`` or ``gaussian``.
        sigma: deviation s of the path.
        source: ``normal``, or ``moons``: see :class:`~zoo.models.core.sources.Moons` (the plane only).
        conditional: condition the field on the label.
        field: network of images: ``unet``, or ``patch``, the field of FFJORD.
        hidden: widths of the hidden layers of the field (vectors).
        dense: network of vectors: ``gated``, the field of FFJORD, or ``selu``, to which the time is one more
            input (Tong et al.).
        unet: size of the U-Net.
        patch: size of the patch field.
        solver: solver of the ODE.
        pixels: preprocessing of pixels.

    Raises:
        ZooError: a conditional model with the coupling ``minibatch_ot``, or settings that exclude each other.
    """

    objective = "matching"
    for_vectors = ("hidden", "dense")
    for_images = ("field", "unet", "patch")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        coupling: Coupling = "independent",
        resample: bool = False,
        path: Path = "straight",
        sigma: NotNegativeFloat = 0.0,
        source: Source = "normal",
        conditional: bool = False,
        field: Field = "unet",
        hidden: Sequence[Positive] = (128, 128, 128),
        dense: Dense = "gated",
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
        if resample and coupling != "minibatch_ot":
            raise ZooError("model.resample=true needs a plan to draw from: model.coupling=minibatch_ot.")
        if path == "gaussian" and source != "normal":
            raise ZooError("model.path=gaussian is for a normal source; use model.path=straight.")
        if path == "gaussian" and sigma >= 1:
            raise ZooError(f"model.sigma must be below 1 with model.path=gaussian; got {sigma:g}.")
        network = make_field(
            spec, field=field, hidden=hidden, dense=dense, unet=unet, patch=patch, conditional=conditional
        )
        super().__init__(
            spec,
            ContinuousFlow(network, solver),
            pixels=pixels,
            conditional=conditional,
            base=make_source(source, spec.shape),
        )
        self.coupling, self.resample, self.path, self.sigma = coupling, resample, path, sigma
        self.whole_batch = coupling == "minibatch_ot"

    def matching_loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the regression error of each example, ``(B,)``, in squared units of the preprocessed data.

        It is |v(t, x_t) - velocity|^2 / D with t uniform on [0, 1) and e from the source, both from
        :mod:`zoo.models.core.rng` (Lipman et al. 2023, eq. 23, with time reversed).

        Args:
            x: ``(B, *spec.shape)`` in data space.
            y: labels ``(B,)`` of a conditional model.
        """
        x, context = x.to(device=self.device, dtype=self.dtype), self.one_hot(y, len(x))
        if self.dequantise is not None:
            x = self.dequantise(x)
        x, _ = self.before(x)
        e = self.base.sample(len(x))
        if self.coupling == "minibatch_ot":
            partner = assignment(x, e)
            if self.resample:  # the plan has one entry in each row
                rows = (rng.uniform(x.flatten(1)[:, :1]).flatten() * len(x)).long().clamp(max=len(x) - 1)
                x, e = x[rows], e[partner[rows]]
            else:
                e = e[partner]
        t = rng.uniform(x.flatten(1)[:, :1])
        wide = t.view(-1, *[1] * (x.ndim - 1))
        if self.path == "gaussian":
            between = (1 - wide) * x + (self.sigma + (1 - self.sigma) * wide) * e
            target = (1 - self.sigma) * e - x
        else:
            between, target = (1 - wide) * x + wide * e, e - x
            if self.sigma:
                between = between + self.sigma * rng.normal(x)
        velocity = self._velocity(t.flatten(), between, context)
        return (velocity - target).square().flatten(1).mean(1)


@torch.no_grad()
def assignment(x: Tensor, e: Tensor) -> Tensor:
    """Return the assignment of noise, indices ``(B,)``, with the least sum of squared distances."""
    from scipy.optimize import linear_sum_assignment

    return torch.as_tensor(linear_sum_assignment(squared_distances(x, e).cpu().numpy())[1], device=x.device)
