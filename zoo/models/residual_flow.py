"""Residual flow: an i-ResNet whose log-determinant is estimated without bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zoo.checks import above, whole
from zoo.data.spec import DataSpec
from zoo.models.bijections.residual import Count, Estimator, Gradient, InvertibleResidual
from zoo.models.core.distributions import Base
from zoo.models.families.flow import Preprocessing, context_size
from zoo.models.iresnet import ResidualModel, check_coefficient
from zoo.models.networks.lipschitz import Activation, LipschitzNetwork


class ResidualFlow(ResidualModel):
    """Residual flow (Chen et al. 2019, arXiv:1906.02735).

    i-ResNet's blocks with a looser Lipschitz bound, which the Russian-roulette estimator of the
    log-determinant allows, its Neumann-series gradient, and LipSwish before every layer.

    Args:
        spec: the data.
        hidden: widths inside a block (vectors), and inside the dense blocks that end an image flow.
        width: channels inside a block (images).
        dense_blocks: dense blocks at the end (images).
        coefficient: spectral norm of each layer, below 1.
        activation: before every layer: ``lipswish``, ``elu`` or ``sincos`` (not the paper's: pairs of waves,
            which lose no slope).
        train_tolerance: see :class:`~zoo.models.networks.lipschitz.SpectralNorm`.
        exact_dim, eval_exact_dim, estimator, gradient, terms, eval_terms, count, tolerance: see
            :class:`~zoo.models.bijections.residual.InvertibleResidual`.
        blocks, scales, squeeze_first, split, memory_efficient, preprocessing, alpha, conditional,
            base: see :class:`~zoo.models.iresnet.ResidualModel`.

    Raises:
        ZooError: a coefficient outside (0, 1), no block, scale or term.
    """

    def __init__(
        self,
        spec: DataSpec,
        blocks: int = 4,
        scales: int = 2,
        squeeze_first: bool = True,
        split: bool = False,
        hidden: Sequence[int] = (64, 64, 64),
        width: int = 32,
        dense_blocks: int = 0,
        coefficient: float = 0.98,
        activation: Activation = "lipswish",
        train_tolerance: float | None = 1e-3,
        exact_dim: int = 2,
        eval_exact_dim: int = 64,
        estimator: Estimator = "roulette",
        gradient: Gradient = "neumann",
        terms: int = 2,
        eval_terms: int = 20,
        count: Count = "geometric",
        tolerance: float = 1e-5,
        memory_efficient: bool = False,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        conditional: bool = False,
        base: Base = "normal",
    ) -> None:
        check_coefficient(coefficient)
        whole(1, hidden=hidden, width=width)
        above(0, tolerance=tolerance, train_tolerance=train_tolerance)
        whole(0, dense_blocks=dense_blocks)
        context = context_size(spec, conditional)

        def make(widths: Sequence[int]) -> Callable[[tuple[int, ...]], InvertibleResidual]:
            def block(shape: tuple[int, ...]) -> InvertibleResidual:
                g = LipschitzNetwork(shape, widths, coefficient, activation, True, train_tolerance, context)
                return InvertibleResidual(
                    g, exact_dim, eval_exact_dim, estimator, gradient, terms, eval_terms, count, tolerance
                )

            return block

        super().__init__(
            spec, make((width, width) if spec.is_image else hidden), blocks, scales, squeeze_first, split,
            [make(hidden)] * dense_blocks, memory_efficient, preprocessing, alpha, conditional, base,
        )  # fmt: skip
        self.count = count

    def likelihood_details(self) -> dict[str, Any]:
        details = super().likelihood_details()
        roulette = details.get("estimator") == "roulette"
        return details | ({"extra_terms": self.count} if roulette else {})
