"""Glow: learned mixing of channels between affine couplings."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.coupling import AffineCoupling, make_mask
from zoo.models.bijections.invertible_conv import InvertibleConv1x1
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.flow import Flow, Preprocessing, preprocess
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.mlp import MLP


class Glow(Flow):
    """Glow (Kingma and Dhariwal 2018, arXiv:1807.03039).

    A step is activation normalisation, an invertible 1x1 convolution and an affine coupling over channels; a
    level squeezes, makes ``steps`` steps and lets half of the channels leave under a learned prior. Images of
    odd height or width are not squeezed further; where that leaves a single channel, a checkerboard mask
    takes the place of the channel mask. On vectors a step mixes with a full linear layer in LU form.

    Args:
        spec: the data; at least 2 dimensions.
        levels: squeezes, at least 1, at most what halving allows (images).
        steps: steps of a level; on vectors, half of the steps in all.
        hidden: hidden layers of a dense conditioner (vectors).
        width: channels of a convolutional conditioner (images).
        blocks: its residual blocks (images).
        bound: soft clamp of each coupling's log-scale; None: no clamp.
        preprocessing: ``centre`` (the paper's) or ``logit``, for pixels.
        alpha: margin of the logit.

    Raises:
        ZooError: a single dimension, which leaves nothing to condition on; no level or no step.
    """

    def __init__(
        self,
        spec: DataSpec,
        levels: int = 2,
        steps: int = 4,
        hidden: Sequence[int] = (128, 128),
        width: int = 48,
        blocks: int = 1,
        bound: float | None = 3.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
    ) -> None:
        if spec.dim < 2:
            raise ZooError("Coupling flows need at least 2 dimensions; use model=maf for one.")
        if levels < 1 or steps < 1:
            raise ZooError(f"Glow needs levels and steps of at least 1; got {levels} and {steps}.")
        first = preprocess(spec, preprocessing, alpha)
        if not spec.is_image:
            chain: list[Bijection] = [first]
            for index in range(2 * steps):
                mask = make_mask("half", spec.shape, flip=index % 2 == 1)
                network = MLP(spec.dim, 2 * spec.dim, hidden)
                chain += [
                    ActNorm(spec.dim),
                    InvertibleConv1x1(spec.dim),
                    AffineCoupling(mask, network, bound),
                ]
            super().__init__(spec, Chain(chain))
            return

        def step(shape: tuple[int, ...], flip: bool) -> list[Bijection]:
            mask = make_mask("channel" if shape[0] > 1 else "checkerboard", shape, flip)
            network = ConvNet(shape[0], 2 * shape[0], width, blocks)
            return [ActNorm(shape[0]), InvertibleConv1x1(shape[0]), AffineCoupling(mask, network, bound)]

        def level(shape: tuple[int, ...], left: int) -> MultiScale:
            c, h, w = shape
            squeeze = h % 2 == 0 and w % 2 == 0
            inside = (4 * c, h // 2, w // 2) if squeeze else shape
            layers: list[Bijection] = [Squeeze()] if squeeze else []
            for index in range(steps):
                layers += step(inside, flip=index % 2 == 1)
            if left == 1 or not squeeze or inside[1] % 2 or inside[2] % 2:
                return MultiScale(Chain(layers), inside, None, None)
            stay = (inside[0] + 1) // 2
            prior = ConvNet(stay, 2 * (inside[0] - stay), width, 0)
            return MultiScale(Chain(layers), inside, level((stay, *inside[1:]), left - 1), prior)

        super().__init__(spec, Chain([first, level(spec.shape, levels)]), latent_shape=(spec.dim,))
