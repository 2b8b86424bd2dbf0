"""i-ResNet: residual networks made invertible by a Lipschitz bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.checks import above, switch, whole
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain, Reshape
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.residual import Gradient, InvertibleResidual
from zoo.models.bijections.reversible import Reversible
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.core.capabilities import Diagnostic
from zoo.models.core.distributions import Base
from zoo.models.families.flow import Flow, Preprocessing, context_size, preprocess
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.lipschitz import LipschitzNetwork


class ResidualModel(Flow):
    """What i-ResNet and residual flows share: blocks x + g(x), an activation normalisation before each.

    Images are squeezed between scales, and before the first where asked; odd sizes are not halved further.
    With ``split`` half of the channels leave after each scale, under a learned prior. The log-determinant of
    small events is exact (then ``likelihood`` is ``exact``); else it is a series with a stochastic trace,
    an ``estimate`` whose bias :meth:`likelihood_details` bounds.

    Args:
        spec: the data.
        block: event shape to a residual block.
        blocks: residual blocks of each scale (vectors: ``blocks * scales`` in all).
        scales: at most what halving allows (images).
        squeeze_first: a squeeze before the first scale too (images).
        split: half of the channels leave after each scale (images).
        dense: event shape to the blocks that end the flow, on the flattened image.
        memory_efficient: recompute activations by inversion
            (:class:`~zoo.models.bijections.reversible.Reversible`).
        preprocessing: ``logit`` or ``centre``, for pixels.
        alpha: margin of the logit.
        conditional: condition the blocks on the label.
        base: distribution of the latents.

    Raises:
        ZooError: no block or no scale.
    """

    def __init__(
        self,
        spec: DataSpec,
        block: Callable[[tuple[int, ...]], InvertibleResidual],
        blocks: int,
        scales: int = 1,
        squeeze_first: bool = True,
        split: bool = False,
        dense: Sequence[Callable[[tuple[int, ...]], InvertibleResidual]] = (),
        memory_efficient: bool = False,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        conditional: bool = False,
        base: Base = "normal",
    ) -> None:
        whole(1, blocks=blocks, scales=scales)
        switch(squeeze_first=squeeze_first, split=split, memory_efficient=memory_efficient)
        sequence = Reversible if memory_efficient else Chain
        made: list[tuple[InvertibleResidual, int]] = []

        def stack(makers: Sequence[Callable[..., InvertibleResidual]], shape: tuple[int, ...]) -> Chain:
            residuals = [make(shape) for make in makers]
            made.extend((residual, math.prod(shape)) for residual in residuals)
            return sequence(Chain([ActNorm(shape[0]), residual]) for residual in residuals)

        def scale(shape: tuple[int, ...], left: int, squeeze: bool) -> Bijection:
            layers: list[Bijection] = []
            if squeeze:
                layers.append(Squeeze())
                shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
            layers.append(stack([block] * blocks, shape))
            if left == 1 or not _even(shape):
                if dense:
                    flat = (math.prod(shape),)
                    layers += [Reshape(shape, flat), stack(dense, flat)]
                    shape = flat
                return MultiScale(Chain(layers), shape, None, None)
            stay = (shape[0] + 1) // 2
            if not split or stay == shape[0]:
                return Chain([*layers, scale(shape, left - 1, True)])
            deeper = scale((stay, *shape[1:]), left - 1, True)
            context = context_size(spec, conditional)
            prior: nn.Module = ConvNet(stay, 2 * (shape[0] - stay), 32, 0, context=context)
            return MultiScale(Chain(layers), shape, deeper, prior)

        body = (
            scale(spec.shape, scales, squeeze_first and _even(spec.shape))
            if spec.is_image
            else stack([block] * (blocks * scales), spec.shape)
        )
        transform = Chain([preprocess(spec, preprocessing, alpha), body])
        super().__init__(spec, transform, base, (spec.dim,), conditional)
        self.sampling = "solver"
        self._blocks = made
        exact = all(residual.is_exact(dim) for residual, dim in made)
        self.likelihood = "exact" if exact else "estimate"

    def likelihood_details(self) -> dict[str, Any]:
        details = super().likelihood_details()
        if self.likelihood == "exact":
            return details | {"log_det": "exact"}
        first, _ = self._blocks[0]
        return details | {
            "log_det": "power series, 1 rademacher probe",
            "estimator": first.estimator,
            "terms": first.eval_terms,
            "bias_bound_nats": sum(residual.bias_bound(dim) for residual, dim in self._blocks),
        }

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """How hard the inverse is, over as many samples as there are examples.

        ``inverse_iterations``: of the fixed point, the most that a block took. ``inverse_residual``: the
        largest change that a block's last iteration made, relative to the size of the row.
        """
        context = self._labels(None, len(x))
        self.transform.invert(self.base.sample(len(x), context=context), context)
        blocks = [residual for residual, _ in self._blocks]
        return {
            "inverse_iterations": Diagnostic(float(max(block.last_iterations for block in blocks))),
            "inverse_residual": Diagnostic(max(block.last_residual for block in blocks)),
        }


class IResNet(ResidualModel):
    """Invertible residual network (Behrmann et al. 2019, arXiv:1811.00995).

    Args:
        spec: the data.
        hidden: widths inside a block (vectors).
        width: channels inside a block (images).
        coefficient: spectral norm of each layer, below 1.
        train_tolerance, iterations: see :class:`~zoo.models.networks.lipschitz.SpectralNorm`.
        exact_dim, eval_exact_dim, terms, eval_terms, gradient, tolerance: see
            :class:`~zoo.models.bijections.residual.InvertibleResidual`, whose series is ``truncated``.
        blocks, scales, split, memory_efficient, preprocessing, alpha, conditional, base: see
            :class:`ResidualModel`; the first scale is squeezed.

    Raises:
        ZooError: a coefficient outside (0, 1), no term, or no power iteration.
    """

    def __init__(
        self,
        spec: DataSpec,
        blocks: int = 6,
        scales: int = 1,
        split: bool = False,
        hidden: Sequence[int] = (64, 64, 64),
        width: int = 32,
        coefficient: float = 0.9,
        train_tolerance: float | None = None,
        iterations: int = 2,
        exact_dim: int = 8,
        eval_exact_dim: int = 64,
        terms: int = 5,
        eval_terms: int = 20,
        gradient: Gradient = "series",
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
        context = context_size(spec, conditional)

        def block(shape: tuple[int, ...]) -> InvertibleResidual:
            g = LipschitzNetwork(
                shape, (width, width) if spec.is_image else hidden, coefficient,
                train_tolerance=train_tolerance, context=context, iterations=iterations,
            )  # fmt: skip
            return InvertibleResidual(
                g, exact_dim, eval_exact_dim, "truncated", gradient, terms, eval_terms, tolerance=tolerance
            )

        super().__init__(
            spec, block, blocks, scales, split=split, memory_efficient=memory_efficient,
            preprocessing=preprocessing, alpha=alpha, conditional=conditional, base=base,
        )  # fmt: skip


def check_coefficient(coefficient: float) -> None:
    """Refuse a bound that leaves no inverse."""
    if not 0 < coefficient < 1:
        raise ZooError(f"model.coefficient must lie between 0 and 1 for an inverse; got {coefficient}.")


def _even(shape: tuple[int, ...]) -> bool:
    return shape[1] % 2 == 0 and shape[2] % 2 == 0
