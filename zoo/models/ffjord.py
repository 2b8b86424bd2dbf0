"""FFJORD: a continuous flow trained by its likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.models.base import Family, Likelihood
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.continuous import FIXED, ContinuousFlow, Probe, Trace
from zoo.models.bijections.elementwise import Affine
from zoo.models.flow import Flow, Preprocessing, preprocess
from zoo.models.networks.field import DenseField, PatchField


class ContinuousModel(Flow):
    """What FFJORD and flow matching share: preprocessing, then one ODE from data to standard normal latents.

    log p(x) = log N(x(1); 0, I) + integral of tr(dv/dx) over [0, 1] + log|det| of the preprocessing, up to
    the solver's tolerance and, in high dimension, an unbiased estimate of the trace.

    Args:
        spec: the data.
        ode: the flow.
        preprocessing: of integer data: ``logit`` gives all mass to pixel values; ``centre`` is linear, and
            what mass the model puts outside their range is lost. Either is scaled to a size of about one.
        alpha: margin of the logit.
        conditional: condition the field on the label.
    """

    family: ClassVar[Family] = "continuous flow"
    likelihood: Likelihood = "estimate"

    def __init__(
        self,
        spec: DataSpec,
        ode: ContinuousFlow,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        conditional: bool = False,
    ) -> None:
        layers: list[Bijection] = [preprocess(spec, preprocessing, alpha)]
        if spec.levels is not None and preprocessing != "none":
            # the state starts and ends at the same scale: less way to go, so fewer steps of the solver
            layers.append(Affine(2.0 if preprocessing == "centre" else 1 / (1 + math.log(spec.levels))))
        super().__init__(spec, Chain([Chain(layers), ode]), conditional=conditional)

    @property
    def before(self) -> Chain:
        """The preprocessing."""
        return self.transform.get_submodule("layers.0")  # type: ignore[return-value]

    @property
    def ode(self) -> ContinuousFlow:
        """The continuous flow."""
        return self.transform.get_submodule("layers.1")  # type: ignore[return-value]

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        return self._to_data(self.ode.transport(self.base.sample(n, temperature), context))

    def _to_data(self, state: Tensor) -> Tensor:
        """What the ODE ends in, in data space."""
        x, _ = self.before.inverse(state)
        if self.dequantise is None or self.spec.levels is None:
            return x
        return self.dequantise.inverse(x).clamp(0, self.spec.levels - 1)

    def likelihood_details(self) -> dict[str, Any]:
        ode = self.ode
        solver: dict[str, Any] = {"solver": ode.solver}
        solver |= {"steps": ode.steps} if ode.solver in FIXED else {"atol": ode.atol, "rtol": ode.rtol}
        trace = "exact" if ode.trace(self.spec.dim) == "exact" else f"hutchinson, 1 {ode.probe} probe"
        return super().likelihood_details() | solver | {"trace": trace}


class FFJORD(ContinuousModel):
    """Free-form Jacobian of reversible dynamics (Grathwohl et al. 2019, arXiv:1810.01367).

    Trained by maximum likelihood through the ODE, with Hutchinson's trace; evaluated with the exact trace
    where the dimension allows. On vectors two hidden layers give the exact trace in closed form, always.
    Images keep one resolution.

    Args:
        spec: the data.
        hidden: hidden layers of the field (vectors).
        channels: hidden layers of the field (images).
        patch: pixels a side that the field joins (images).
        solver, steps, atol, rtol, train_tolerance, exact_dim, train_trace, adjoint, probe, kinetic, jacobian:
            see :class:`~zoo.models.bijections.continuous.ContinuousFlow`.
        preprocessing, alpha, conditional: see :class:`ContinuousModel`.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden: Sequence[int] = (64, 64, 64),
        channels: Sequence[int] = (64, 64),
        patch: int = 4,
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
    ) -> None:
        context = int(spec.classes or 0) if conditional else 0
        field: nn.Module = (
            PatchField(spec.shape, channels, patch, context)
            if spec.is_image
            else DenseField(spec.dim, hidden, context)
        )
        ode = ContinuousFlow(
            field, solver=solver, steps=steps, atol=atol, rtol=rtol, train_tolerance=train_tolerance,
            exact_dim=exact_dim, train_trace=train_trace, adjoint=adjoint, probe=probe,
            kinetic=kinetic, jacobian=jacobian,
        )  # fmt: skip
        super().__init__(spec, ode, preprocessing, alpha, conditional)
