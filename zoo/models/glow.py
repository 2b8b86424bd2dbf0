"""Glow: learned mixing of channels between couplings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from zoo.checks import NotNegative, Positive, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.coupling import (
    AdditiveCoupling,
    AffineCoupling,
    Bound,
    bounded,
    make_partition,
    partition_kind,
)
from zoo.models.bijections.invertible_conv import MixingKind, make_mixing
from zoo.models.bijections.multiscale import squeeze_and_split
from zoo.models.bijections.reversible import chain
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.flow import Flow, preprocess
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.glow_net import GlowNet
from zoo.models.networks.mlp import MLP


class Glow(Flow):
    """Glow (Kingma and Dhariwal 2018, arXiv:1807.03039).

    A step is activation normalisation, an invertible 1x1 convolution and a coupling over channels. A level is
    a squeeze and ``steps`` steps, after which half of the channels leave under a learned prior. Images of odd
    height or width are not squeezed further; if they have a single channel, a checkerboard mask replaces the
    channel mask. On vectors a full linear layer replaces the 1x1 convolution.

    Args:
        spec: the data; at least 2 dimensions.
        levels: number of squeezes, at least 1, limited by how often the size can be halved (images).
        steps: number of steps of a level; on vectors, half of the total number of steps.
        hidden: hidden layers of a dense conditioner (vectors).
        width: channels of a convolutional conditioner (images).
        blocks: residual blocks of the convolutional conditioner; 0: the paper's three convolutions (images).
        additive: additive couplings instead of affine ones.
        bound: bound of an affine coupling's log-scale, see :func:`~zoo.models.bijections.coupling.bounded`.
        mixing: parametrisation of the 1x1 convolution, ``plu`` or ``full``.
        pixels: preprocessing of integer pixels; the paper's is ``centre``.
        base: distribution of the latents; ``diagonal`` is the paper's learned top prior.
        memory_efficient: recompute activations in training, see
            :class:`~zoo.models.bijections.reversible.Reversible`.
        conditional: condition on the label.

    Raises:
        ZooError: the data have a single dimension.
    """

    for_vectors = ("hidden",)
    for_images = ("levels", "width", "blocks")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        levels: Positive = 2,
        steps: Positive = 4,
        hidden: Sequence[Positive] = (128, 128),
        width: Positive = 48,
        blocks: NotNegative = 1,
        additive: bool = False,
        bound: Bound = 3.0,
        mixing: MixingKind = "plu",
        pixels: Pixels = Pixels(),
        base: Base = "normal",
        memory_efficient: bool = False,
        conditional: bool = False,
    ) -> None:
        if spec.dim < 2:
            raise ZooError("Coupling flows need at least 2 dimensions; use model=maf for one.")
        context = context_size(spec, conditional)

        def network(given: int, out: int) -> nn.Module:
            if not spec.is_image:
                return MLP(given, out, hidden, context=context)
            if blocks == 0:
                return GlowNet(given, out, width, context=context)
            return ConvNet(given, out, width, blocks, context=context)

        def level(shape: tuple[int, ...], count: int = steps) -> list[Bijection]:
            kind = partition_kind(shape)
            layers: list[Bijection] = []
            for index in range(count):
                partition = make_partition(kind, shape, flip=index % 2 == 1)
                net = network(partition.given, partition.changed * (1 if additive else 2))
                coupling = (
                    AdditiveCoupling(partition, net)
                    if additive
                    else AffineCoupling(partition, net, bounded(bound), shift_first=True)
                )
                layers.append(Chain([ActNorm(shape[0]), make_mixing(mixing, shape[0]), coupling]))
            return [chain(layers, memory_efficient)]

        def prior(stay: int, leave: int) -> nn.Module:
            return ConvNet(stay, 2 * leave, width, 0, context=context)

        first = preprocess(spec, pixels)
        if spec.is_image:
            c, h, w = spec.shape
            body: list[Bijection] = [squeeze_and_split((c, h, w), levels, level, prior)]
        else:
            body = level(spec.shape, 2 * steps)
        super().__init__(
            spec,
            Chain([first, *body]),
            base=base,
            latent_shape=(spec.dim,),
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )
