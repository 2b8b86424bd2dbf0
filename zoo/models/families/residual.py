"""The base class of flows of invertible residual blocks: i-ResNet and residual flows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain, Reshape
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.residual import InvertibleResidual
from zoo.models.bijections.reversible import Reversible
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.core.capabilities import Diagnostic, SamplingOrder
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.flow import Flow, preprocess
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.spectral_norm import iterate_together

MakeBlock = Callable[[tuple[int, ...]], InvertibleResidual]


class ResidualModel(Flow):
    """A flow of residual blocks x + g(x), with an activation normalisation before each.

    Images are squeezed between scales and, with ``squeeze_first``, before the first one; odd sizes are not
    halved further. With ``split``, half of the channels leave after each scale, under a learned prior. The
    log-determinant of small events is exact (``likelihood`` is then ``exact``); otherwise it is a series with
    a stochastic trace, an ``estimate`` whose bias :meth:`likelihood_details` bounds.

    Args:
        spec: the data.
        block: function from an event shape to a residual block.
        blocks: residual blocks of each scale (vectors: ``blocks * scales`` in all).
        scales: largest number of scales, limited by how often the size can be halved (images).
        squeeze_first: squeeze before the first scale too (images).
        split: let half of the channels leave after each scale (images).
        dense: functions from an event shape to the last blocks of the flow, on the flattened image.
        memory_efficient: recompute activations by inversion
            (:class:`~zoo.models.bijections.reversible.Reversible`).
        pixels: preprocessing of pixels.
        conditional: condition the blocks on the label.
        base: distribution of the latents, see :func:`~zoo.models.core.distributions.make_base`.

    Raises:
        ZooError: the dequantisation is not uniform.
    """

    sampling: SamplingOrder = "solver"

    def __init__(
        self,
        spec: DataSpec,
        block: MakeBlock,
        *,
        blocks: int,
        scales: int = 1,
        squeeze_first: bool = True,
        split: bool = False,
        dense: Sequence[MakeBlock] = (),
        memory_efficient: bool = False,
        pixels: Pixels = Pixels(),
        conditional: bool = False,
        base: Base = "normal",
    ) -> None:
        if pixels.dequantisation != "uniform":
            raise ZooError("model.pixels.dequantisation of a residual flow must be uniform.")
        sequence = Reversible if memory_efficient else Chain
        blocks_made: list[tuple[InvertibleResidual, int]] = []

        def stack(makers: Sequence[MakeBlock], shape: tuple[int, ...]) -> Chain:
            residuals = [make(shape) for make in makers]
            blocks_made.extend((residual, math.prod(shape)) for residual in residuals)
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
        transform = Chain([preprocess(spec, pixels), body])
        super().__init__(spec, transform, base=base, latent_shape=(spec.dim,), conditional=conditional)
        self._blocks = blocks_made
        iterate_together(self)
        exact = all(residual.is_exact(dim) for residual, dim in blocks_made)
        self.likelihood = "exact" if exact else "estimate"

    def likelihood_details(self) -> dict[str, Any]:
        details = super().likelihood_details()
        if self.likelihood == "exact":
            return details | {"log_det": "exact"}
        series = self._blocks[0][0].series
        details |= {
            "log_det": "power series, 1 rademacher probe",
            "estimator": series.estimator,
            "terms": series.eval_terms,
            "bias_bound_nats": sum(residual.bias_bound(dim) for residual, dim in self._blocks),
        }
        return details | ({"extra_terms": series.count} if series.estimator == "roulette" else {})

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """Return the iterations and the residual of the inverse, over as many samples as there are examples.

        ``inverse_iterations`` is the largest number of fixed-point iterations of a block,
        ``inverse_residual`` the largest change by a block's last iteration, relative to the norm of the row.
        """
        context = self._labels(None, len(x))
        self.transform.invert(self.base.sample(len(x), context=context), context)
        blocks = [residual for residual, _ in self._blocks]
        return {
            "inverse_iterations": Diagnostic(float(max(block.last_iterations for block in blocks))),
            "inverse_residual": Diagnostic(max(block.last_residual for block in blocks)),
        }


def _even(shape: tuple[int, ...]) -> bool:
    return shape[1] % 2 == 0 and shape[2] % 2 == 0
