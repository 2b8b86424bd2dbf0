"""FFJORD: a continuous flow trained by its likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.models.bijections.base import Chain
from zoo.models.bijections.continuous import FIXED, ContinuousFlow
from zoo.models.flow import Flow, Preprocessing, preprocess
from zoo.models.networks.field import ConvField, DenseField


class ContinuousModel(Flow):
    """What FFJORD and flow matching share: preprocessing, then one ODE from data to latent."""

    family = "continuous flow"

    def __init__(self, spec: DataSpec, before: Chain, ode: ContinuousFlow) -> None:
        super().__init__(spec, Chain([before, ode]))
        self.likelihood = "estimate"

    @property
    def before(self) -> Chain:
        """The preprocessing."""
        return self.transform.get_submodule("layers.0")  # type: ignore[return-value]

    @property
    def ode(self) -> ContinuousFlow:
        """The continuous flow."""
        return self.transform.get_submodule("layers.1")  # type: ignore[return-value]

    def _sample(self, n: int, temperature: float) -> Tensor:
        x, _ = self.before.inverse(self.ode.transport(self.base.sample(n, temperature)))
        if self.dequantise is None or self.spec.levels is None:
            return x
        return self.dequantise.inverse(x).clamp(0, self.spec.levels - 1)

    def likelihood_details(self) -> dict[str, Any]:
        ode = self.ode
        solver: dict[str, Any] = {"solver": ode.solver}
        solver |= {"steps": ode.steps} if ode.solver in FIXED else {"atol": ode.atol, "rtol": ode.rtol}
        trace = "exact" if ode.uses_exact_trace(self.spec.dim) else "hutchinson, 1 rademacher probe"
        return super().likelihood_details() | solver | {"trace": trace}


class FFJORD(ContinuousModel):
    """Free-form Jacobian of reversible dynamics (Grathwohl et al. 2019, arXiv:1810.01367).

    Trained by maximum likelihood through the ODE, with Hutchinson's trace; evaluated with the exact trace
    where the dimension allows. Images keep one resolution.

    Args:
        spec: the data.
        hidden: hidden layers of the field (vectors).
        width: channels of the field (images).
        blocks: residual blocks of the field (images).
        solver, steps, atol, rtol, train_tolerance, exact_dim, train_trace, adjoint: see
            :class:`~zoo.models.bijections.continuous.ContinuousFlow`.
        preprocessing: ``logit`` or ``centre``, for pixels.
        alpha: margin of the logit.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden: Sequence[int] = (64, 64, 64),
        width: int = 16,
        blocks: int = 1,
        solver: str = "dopri5",
        steps: int = 20,
        atol: float = 1e-5,
        rtol: float = 1e-5,
        train_tolerance: float | None = 1e-3,
        exact_dim: int = 8,
        train_trace: Literal["hutchinson", "exact"] = "hutchinson",
        adjoint: bool = False,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
    ) -> None:
        ode = ContinuousFlow(
            make_field(spec, hidden, width, blocks),
            solver=solver, steps=steps, atol=atol, rtol=rtol, train_tolerance=train_tolerance,
            exact_dim=exact_dim, train_trace=train_trace, adjoint=adjoint,
        )  # fmt: skip
        super().__init__(spec, preprocess(spec, preprocessing, alpha), ode)


def make_field(spec: DataSpec, hidden: Sequence[int], width: int, blocks: int) -> nn.Module:
    """The vector field for data of this shape."""
    if spec.is_image:
        return ConvField(spec.shape[0], width, blocks, spec.shape[1], spec.shape[2])
    return DenseField(spec.dim, hidden)
