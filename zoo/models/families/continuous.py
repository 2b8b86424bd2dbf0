"""The base class of continuous flows: FFJORD, flow matching and, by its probability flow, diffusion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.continuous import ContinuousFlow
from zoo.models.bijections.elementwise import Affine
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.core import rng
from zoo.models.core.capabilities import Diagnostic, Family, Likelihood, SamplingOrder
from zoo.models.core.distributions import Base, Distribution
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.flow import Flow, preprocess
from zoo.models.networks.unet import UNet, UNetSettings
from zoo.models.networks.vector_field import DenseField, PatchField, PatchSettings, SeluField

PATHS = 128  # paths whose straightness is measured
CHORDS = 10  # times at which the velocity of a path is compared with its chord

Field = Literal["unet", "patch"]
Dense = Literal["gated", "selu"]


class ContinuousModel(Flow):
    """A flow of preprocessing and ODEs from data to latents.

    log p(x) = log p(x(1)) under the base + integral of tr(dv/dx) over [0, 1] + log|det| of the preprocessing,
    up to the tolerance of the solver and, in high dimension, with an unbiased estimate of the trace.

    Args:
        spec: the data.
        flow: the continuous flow; or several, inside another bijection.
        pixels: preprocessing of integer data. ``logit`` puts all mass on pixel values; ``centre`` is linear,
            and mass outside their range is lost. Both are scaled to a deviation of about one.
        conditional: condition the field on the label.
        base: distribution of the latents; models trained by regression need the standard normal.

    Raises:
        ZooError: the dequantisation is not uniform.
    """

    family: ClassVar[Family] = "continuous flow"
    likelihood: Likelihood = "estimate"
    sampling: SamplingOrder = "solver"

    def __init__(
        self,
        spec: DataSpec,
        flow: Bijection,
        *,
        pixels: Pixels = Pixels(),
        conditional: bool = False,
        base: Base | Distribution = "normal",
    ) -> None:
        if pixels.dequantisation != "uniform":
            raise ZooError("model.pixels.dequantisation of a continuous flow must be uniform.")
        layers: list[Bijection] = [preprocess(spec, pixels)]
        if spec.levels is not None:
            # the same scale at both ends, so that the solver needs fewer steps
            factors = {"logit": 1 / (1 + math.log(spec.levels)), "centre": 2.0}
            if pixels.preprocessing in factors:
                layers.append(Affine(factors[pixels.preprocessing]))
        latents = (spec.dim,) if isinstance(flow, MultiScale) else None
        super().__init__(
            spec,
            Chain([Chain(layers), flow]),
            base=base,
            latent_shape=latents,
            conditional=conditional,
        )

    @property
    def before(self) -> Chain:
        """The preprocessing."""
        first = self.transform.get_submodule("layers.0")
        assert isinstance(first, Chain)
        return first

    @property
    def odes(self) -> list[ContinuousFlow]:
        """The continuous flows, from data to latents."""
        return [*self._odes()]

    @property
    def ode(self) -> ContinuousFlow:
        """The continuous flow; if there are several, the first one, next to the data."""
        return next(self._odes())  # the search ends there, before the modules of the field

    def _odes(self) -> Iterator[ContinuousFlow]:
        return (module for module in self.transform.modules() if isinstance(module, ContinuousFlow))

    def sample_path(self, n: int, frames: int) -> Tensor:
        """Return samples on their way through the ODE, from noise to data, at equal steps of its time."""
        if len(self.odes) > 1:
            return super().sample_path(n, frames)
        times = torch.linspace(1, 0, frames).tolist()
        path = self.ode.path(self.base.sample(n), times)
        return self._sound(torch.stack([self.before.invert(state) for state in path]), "samples")

    @property
    def unbiased_weights(self) -> bool:
        return self.exact_trace

    @property
    def exact_trace(self) -> bool:
        """Whether the trace is exact in evaluation, so that an estimate has no noise of its own."""
        # the first flow has the most dimensions: if its trace is exact, all are
        return self.ode.trace(self.spec.dim) == "exact"

    def _to_data(self, state: Tensor) -> Tensor:
        """Return the end of the ODE in data space."""
        return self._as_data(self.before.invert(state))

    def likelihood_details(self) -> dict[str, Any]:
        trace = "exact" if self.exact_trace else f"hutchinson, 1 {self.ode.solver.probe} probe"
        return super().likelihood_details() | self._solver() | {"trace": trace}

    def sampling_details(self) -> dict[str, Any]:
        return self._solver()

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """Return the ``straightness`` of the paths of samples, per dimension, in squared units of the state.

        S = E int_0^1 |(x(1) - x(0)) - v(t, x(t))|^2 dt / D (Liu et al. 2022, arXiv:2209.03003, section 3): 0
        where every path is a straight line at constant speed, which one Euler step would follow exactly.
        Paths are solved from as many latents as there are examples, at most 128, and compared with their
        chords at the midpoints of 10 equal intervals. A diffusion's paths follow its probability flow, for
        every sampler. Several flows in a row have no single path, so the result is empty.
        """
        if len(self.odes) > 1:
            return {}
        n = min(len(x), PATHS)
        with rng.rows(slice(0, n)):
            context = self._labels(None, n)
            z = self.base.sample(n, context=context)
        times = torch.cat([torch.ones(1), 1 - (torch.arange(CHORDS) + 0.5) / CHORDS, torch.zeros(1)])
        path = self.ode.path(z, times.tolist(), context)
        chord = path[0] - path[-1]
        bend = torch.zeros(n, dtype=torch.float64, device=x.device)
        for time, point in zip(times[1:-1].to(z), path[1:-1], strict=True):
            bend += (chord - self._velocity(time, point, context)).square().flatten(1).mean(1).double()
        bend /= CHORDS
        error = float(bend.std()) / math.sqrt(n) if n > 1 else None
        return {"straightness": Diagnostic(float(bend.mean()), "1", error, n)}

    @torch.no_grad()
    def path_energy(self, n: int) -> tuple[Tensor, Tensor]:
        """Return ``n`` starts drawn from the source, and int_0^1 |v|^2 dt along each one's path, ``(n,)``.

        The paths run from the source to the data, of continuous data without preprocessing, and the integral
        is solved along with them.

        Raises:
            ZooError: several flows in a row have no single path.
        """
        if len(self.odes) > 1 or self.spec.levels is not None:
            raise ZooError("The energy of a path needs one flow of continuous data.")
        context = self._labels(None, n)
        start = self.base.sample(n, context=context)
        return start, self.ode.energy(start, context)

    def _velocity(self, t: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        return self.ode.field(t, x) if context is None else self.ode.field(t, x, context)

    def _solver(self) -> dict[str, Any]:
        solver = self.ode.solver
        care = {"atol": solver.atol, "rtol": solver.rtol} if solver.adaptive else {"steps": solver.steps}
        return {"solver": solver.method, **care}


def make_field(
    spec: DataSpec,
    *,
    field: Field,
    hidden: Sequence[int],
    unet: UNetSettings,
    patch: PatchSettings,
    conditional: bool,
    dense: Dense = "gated",
) -> nn.Module:
    """Return the velocity network of a model trained by regression.

    Args:
        spec: the data.
        field: network for images, ``unet`` or ``patch``.
        hidden: widths of the hidden layers (vectors).
        unet: size of the U-Net.
        patch: size of the patch field.
        conditional: condition the network on the label.
        dense: network for vectors, ``gated`` or ``selu``.
    """
    context = context_size(spec, conditional)
    if not spec.is_image:
        return (DenseField if dense == "gated" else SeluField)(spec.dim, hidden, context=context)
    if field == "unet":
        return UNet(spec.shape, unet, context=context)
    return PatchField(spec.shape, patch, context=context)
