"""i-ResNet: residual networks made invertible by a Lipschitz bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.residual import InvertibleResidual
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.flow import Flow, Preprocessing, preprocess
from zoo.models.networks.lipschitz import LipschitzNetwork


class IResNet(Flow):
    """Invertible residual network (Behrmann et al. 2019, arXiv:1811.00995).

    Blocks x + g(x) with an activation normalisation before each; images are squeezed once where height and
    width are even. The log-determinant is exact up to ``exact_dim`` dimensions (then ``likelihood`` is
    ``exact``) and otherwise a truncated series with a stochastic trace, an ``estimate`` whose bias
    :meth:`likelihood_details` bounds.

    Args:
        spec: the data.
        blocks: residual blocks.
        hidden: widths inside a block (vectors).
        width: channels inside a block (images).
        coefficient: spectral norm of each layer, below 1.
        exact_dim, terms, eval_terms, tolerance: see
            :class:`~zoo.models.bijections.residual.InvertibleResidual`.
        preprocessing: ``logit`` or ``centre``, for pixels.
        alpha: margin of the logit.

    Raises:
        ZooError: a coefficient outside (0, 1), or no term.
    """

    def __init__(
        self,
        spec: DataSpec,
        blocks: int = 6,
        hidden: Sequence[int] = (64, 64, 64),
        width: int = 32,
        coefficient: float = 0.9,
        exact_dim: int = 8,
        terms: int = 5,
        eval_terms: int = 20,
        tolerance: float = 1e-5,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
    ) -> None:
        if not 0 < coefficient < 1:
            raise ZooError(f"model.coefficient must lie between 0 and 1 for an inverse; got {coefficient}.")
        chain: list[Bijection] = [preprocess(spec, preprocessing, alpha)]
        shape = spec.shape
        if spec.is_image and shape[1] % 2 == 0 and shape[2] % 2 == 0:
            chain.append(Squeeze())
            shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
        residuals: list[InvertibleResidual] = []
        for _ in range(blocks):
            g = LipschitzNetwork(shape, (width, width) if spec.is_image else hidden, coefficient)
            residuals.append(InvertibleResidual(g, exact_dim, terms, eval_terms, tolerance))
            chain += [ActNorm(shape[0]), residuals[-1]]
        super().__init__(spec, Chain(chain), latent_shape=shape)
        self.likelihood = "exact" if spec.dim <= exact_dim else "estimate"
        self.eval_terms = eval_terms

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        x = self.base.sample(n, temperature)
        for layer in reversed(list(self.transform.layers)):  # type: ignore[arg-type]
            # the fixed point alone: a sample needs no log-determinant
            x = layer.invert(x) if isinstance(layer, InvertibleResidual) else layer.inverse(x)[0]
        if self.dequantise is None or self.spec.levels is None:
            return x
        return self.dequantise.inverse(x).clamp(0, self.spec.levels - 1)

    def likelihood_details(self) -> dict[str, Any]:
        details = super().likelihood_details()
        if self.likelihood == "exact":
            return details | {"log_det": "exact"}
        blocks = [m for m in self.modules() if isinstance(m, InvertibleResidual)]
        return details | {
            "log_det": "power series, 1 rademacher probe",
            "terms": self.eval_terms,
            "bias_bound_nats": sum(block.bias_bound(self.spec.dim) for block in blocks),
        }
