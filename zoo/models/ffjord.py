"""FFJORD: a continuous flow trained by its likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo.checks import switch, whole
from zoo.data.spec import DataSpec
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.continuous import FIXED, ContinuousFlow, Probe, Trace
from zoo.models.bijections.elementwise import Affine
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.core import rng
from zoo.models.core.capabilities import Diagnostic, Family, Likelihood, SamplingOrder
from zoo.models.core.distributions import Base
from zoo.models.families.flow import Flow, Preprocessing, context_size, preprocess
from zoo.models.networks.vector_field import Activation, DenseField, PatchField, Stretched

PATHS = 128  # whose straightness is measured
CHORDS = 10  # times at which a path's velocity is compared with its chord


class ContinuousModel(Flow):
    """What FFJORD and flow matching share: preprocessing, then ODEs from data to latents.

    log p(x) = log p(x(1)), of the base, + integral of tr(dv/dx) over [0, 1] + log|det| of the
    preprocessing, up to the solver's tolerance and, in high dimension, an unbiased estimate of the trace.

    Args:
        spec: the data.
        flow: the continuous flow; or several, in a bijection that holds them.
        preprocessing: of integer data: ``logit`` gives all mass to pixel values; ``centre`` is linear, and
            what mass the model puts outside their range is lost. Either is scaled to a size of about one.
        alpha: margin of the logit.
        conditional: condition the field on the label.
        base: distribution of the latents; what is trained by regression needs the standard normal.
    """

    family: ClassVar[Family] = "continuous flow"
    likelihood: Likelihood = "estimate"
    sampling: SamplingOrder = "solver"

    def __init__(
        self,
        spec: DataSpec,
        flow: Bijection,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        conditional: bool = False,
        base: Base = "normal",
    ) -> None:
        layers: list[Bijection] = [preprocess(spec, preprocessing, alpha)]
        if spec.levels is not None and preprocessing != "none":
            # the state starts and ends at the same scale: less way to go, so fewer steps of the solver
            layers.append(Affine(2.0 if preprocessing == "centre" else 1 / (1 + math.log(spec.levels))))
        latents = (spec.dim,) if isinstance(flow, MultiScale) else None
        super().__init__(spec, Chain([Chain(layers), flow]), base, latents, conditional)

    @property
    def before(self) -> Chain:
        """The preprocessing."""
        return self.transform.get_submodule("layers.0")  # type: ignore[return-value]

    @property
    def odes(self) -> list[ContinuousFlow]:
        """The continuous flows, from data to latents."""
        return [module for module in self.transform.modules() if isinstance(module, ContinuousFlow)]

    @property
    def ode(self) -> ContinuousFlow:
        """The continuous flow; of several, the one that sees the data."""
        return self.odes[0]

    def _to_data(self, state: Tensor) -> Tensor:
        """What the ODE ends in, in data space."""
        return self._as_data(self.before.invert(state))

    def likelihood_details(self) -> dict[str, Any]:
        ode = self.ode  # no other sees more dimensions, so none has an exact trace where this has none
        trace = "exact" if ode.trace(self.spec.dim) == "exact" else f"hutchinson, 1 {ode.probe} probe"
        return super().likelihood_details() | self._solver() | {"trace": trace}

    def sampling_details(self) -> dict[str, Any]:
        return self._solver()

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """``straightness`` of the paths that samples take, per dimension, in squared units of the state.

        S = E int_0^1 |(x(1) - x(0)) - v(t, x(t))|^2 dt / D (Liu et al. 2022, arXiv:2209.03003, section 3): 0
        where every path is a straight line run through at constant speed, which one Euler step would follow
        exactly. Paths are solved from as many latents as there are examples, at most 128, and seen at 10
        times, the midpoints of equal intervals. A diffusion's paths are those of its probability flow,
        whatever its sampler. Several flows in a row have no one path, and no straightness.
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

    def _velocity(self, t: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        return self.ode.field(t, x) if context is None else self.ode.field(t, x, context)

    def _solver(self) -> dict[str, Any]:
        ode = self.ode
        steps = {"steps": ode.steps} if ode.solver in FIXED else {"atol": ode.atol, "rtol": ode.rtol}
        return {"solver": ode.solver, **steps}


class FFJORD(ContinuousModel):
    """Free-form Jacobian of reversible dynamics (Grathwohl et al. 2019, arXiv:1810.01367).

    Trained by maximum likelihood through the ODE, with Hutchinson's trace; evaluated with the exact trace
    where the dimension allows. On vectors two hidden layers give the exact trace in closed form, always.

    Images keep one resolution, or have several ``scales``: flows, a squeeze and as many flows again, after
    which half of the channels leave; the last scale, or one of odd height or width, has flows only.

    Args:
        spec: the data.
        hidden: hidden layers of the field (vectors).
        channels: hidden layers of the field (images).
        patch: pixels a side that the field joins; 1 for plain convolutions (images).
        activation: of the field, ``tanh`` or ``softplus``.
        flows: continuous flows in a row; with ``scales``, in a row at each resolution.
        scales: at most what halving allows (images).
        learn_time: learn the time T that each flow takes, which starts at 1.
        solver, steps, atol, rtol, train_tolerance, exact_dim, train_trace, adjoint, probe, kinetic, jacobian:
            see :class:`~zoo.models.bijections.continuous.ContinuousFlow`.
        preprocessing, alpha, conditional, base: see :class:`ContinuousModel`.

    Raises:
        ZooError: no flow or no scale.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden: Sequence[int] = (64, 64),
        channels: Sequence[int] = (64, 64),
        patch: int = 4,
        activation: Activation = "tanh",
        flows: int = 1,
        scales: int = 1,
        learn_time: bool = False,
        solver: str = "dopri5",
        steps: int = 20,
        atol: float = 1e-5,
        rtol: float = 1e-5,
        train_tolerance: float | None = 1e-3,
        exact_dim: int = 8,
        train_trace: Trace = "hutchinson",
        adjoint: bool = False,
        probe: Probe = "rademacher",
        kinetic: float = 0.0,
        jacobian: float = 0.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        conditional: bool = False,
        base: Base = "normal",
    ) -> None:
        whole(1, hidden=hidden, channels=channels, patch=patch, flows=flows, scales=scales)
        switch(learn_time=learn_time)
        context = context_size(spec, conditional)

        def ode(shape: tuple[int, ...]) -> ContinuousFlow:
            field: nn.Module = (
                PatchField(shape, channels, patch, context, activation)
                if spec.is_image
                else DenseField(spec.dim, hidden, context, activation)
            )
            return ContinuousFlow(
                Stretched(field) if learn_time else field,
                solver=solver, steps=steps, atol=atol, rtol=rtol, train_tolerance=train_tolerance,
                exact_dim=exact_dim, train_trace=train_trace, adjoint=adjoint, probe=probe,
                kinetic=kinetic, jacobian=jacobian,
            )  # fmt: skip

        def row(shape: tuple[int, ...]) -> list[Bijection]:
            return [ode(shape) for _ in range(flows)]

        def scale(shape: tuple[int, ...], left: int) -> MultiScale:
            c, h, w = shape
            if left == 1 or h % 2 or w % 2:
                return MultiScale(Chain(row(shape)), shape, None, None)
            inside = (4 * c, h // 2, w // 2)
            deeper = scale((2 * c, *inside[1:]), left - 1)
            return MultiScale(Chain([*row(shape), Squeeze(), *row(inside)]), inside, deeper, None)

        flow: Bijection
        if spec.is_image and scales > 1:
            flow = scale(spec.shape, scales)
        else:
            flow = Chain(row(spec.shape)) if flows > 1 else ode(spec.shape)
        super().__init__(spec, flow, preprocessing, alpha, conditional, base)
