"""Real NVP: affine couplings with fixed masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.checks import NotNegative, Positive, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.batchnorm import BatchNorm
from zoo.models.bijections.coupling import AffineCoupling, Bound, PartitionKind, bounded, make_partition
from zoo.models.bijections.halves import HalvesChain
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.reversible import chain
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.core.distributions import Base
from zoo.models.core.functional import concatenate
from zoo.models.core.model import context_size
from zoo.models.core.nfe import add_nfe
from zoo.models.core.settings import Pixels
from zoo.models.families.flow import Flow, preprocess
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.mlp import MLP, run_dense

Normalisation = Literal["actnorm", "batchnorm", "batchnorm_full", "none"]


class RealNVP(Flow):
    """Real NVP (Dinh, Sohl-Dickstein and Bengio 2017, arXiv:1605.08803).

    Vectors: ``layers`` couplings with alternating masks (a permutation brings the even dimensions to the
    front once, so that both parts are contiguous). Images: at each scale three couplings with checkerboard
    masks, a squeeze, and three with channel masks; then half of the channels become latents. These are
    standardised by a mean and a scale that a small convolution computes from the other channels: a learned
    prior, as in Glow, which starts as the identity; the paper has none. The last scale has four checkerboard
    couplings, or four over channels if only one pixel is left. Odd sizes are not halved further.

    Args:
        spec: the data; vectors have at least 2 dimensions.
        layers: couplings (vectors).
        hidden: hidden layers of a dense conditioner (vectors).
        separate: compute scale and shift by separate networks, with tanh and with ReLU, as in the baseline of
            Papamakarios et al. 2017 (vectors).
        scales: number of scales, at least 1, limited by how often the size can be halved (images).
        width: channels of a convolutional conditioner (images).
        blocks: residual blocks of the convolutional conditioner (images).
        bound: bound of each coupling's log-scale, see :func:`~zoo.models.bijections.coupling.bounded`.
        normalisation: ``actnorm`` before each coupling; ``batchnorm`` after it, evaluated with running
            averages; ``batchnorm_full``, evaluated with statistics of the whole training set; or ``none``.
        pixels: preprocessing of integer pixels.
        base: distribution of the latents, see :func:`~zoo.models.core.distributions.make_base`.
        memory_efficient: recompute activations in training, see
            :class:`~zoo.models.bijections.reversible.Reversible`; not with batch normalisation.
        conditional: condition on the label.

    Raises:
        ZooError: the data have a single dimension, or ``memory_efficient`` is set with batch normalisation.
    """

    for_vectors = ("layers", "hidden", "separate")
    for_images = ("scales", "width", "blocks")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        layers: Positive = 8,
        hidden: Sequence[Positive] = (128, 128),
        separate: bool = False,
        scales: Positive = 2,
        width: Positive = 32,
        blocks: NotNegative = 1,
        bound: Bound = 3.0,
        normalisation: Normalisation = "actnorm",
        pixels: Pixels = Pixels(),
        base: Base = "normal",
        memory_efficient: bool = False,
        conditional: bool = False,
    ) -> None:
        if spec.dim < 2:
            raise ZooError("Coupling flows need at least 2 dimensions; use model=maf for one.")
        context = context_size(spec, conditional)

        def couplings(
            kind: PartitionKind, shape: tuple[int, ...], count: int, network: Callable[[int, int], nn.Module]
        ) -> Chain:
            couplings_made = []
            for index in range(count):
                partition = make_partition(kind, shape, flip=index % 2 == 1)
                net = network(partition.given, 2 * partition.changed)
                before, after = normalise(normalisation, shape[0])
                couplings_made.append(
                    Chain([*before, AffineCoupling(partition, net, bounded(bound)), *after])
                )
            if kind == "half" and not memory_efficient:
                return HalvesChain(couplings_made)
            return chain(couplings_made, memory_efficient)

        def dense(given: int, out: int) -> nn.Module:
            if separate:
                return ScaleAndShift(given, out, hidden, context)
            return MLP(given, out, hidden, context=context)

        def convolutional(given: int, out: int) -> nn.Module:
            return ConvNet(given, out, width, blocks, context=context)

        def scale(shape: tuple[int, int, int], left: int) -> MultiScale:
            c, h, w = shape
            if left == 1 or h % 2 or w % 2:
                # a checkerboard of a single pixel has an empty part
                kind: PartitionKind = "checkerboard" if h * w > 1 else "channel"
                return MultiScale(couplings(kind, shape, 4, convolutional), shape, None, None)
            inside = (4 * c, h // 2, w // 2)
            layers = [
                couplings("checkerboard", shape, 3, convolutional),
                Squeeze(),
                couplings("channel", inside, 3, convolutional),
            ]
            stay = 2 * c
            prior = ConvNet(stay, 2 * (4 * c - stay), width, 0, context=context)
            return MultiScale(Chain(layers), inside, scale((stay, h // 2, w // 2), left - 1), prior)

        first = preprocess(spec, pixels)
        if spec.is_image:
            c, h, w = spec.shape
            body: list[Bijection] = [scale((c, h, w), scales)]
        else:
            order = [*range(0, spec.dim, 2), *range(1, spec.dim, 2)]
            body = [Permutation(order), couplings("half", spec.shape, layers, dense)]
        super().__init__(
            spec,
            Chain([first, *body]),
            base=base,
            latent_shape=(spec.dim,),
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )


def normalise(kind: Normalisation, size: int) -> tuple[list[Bijection], list[Bijection]]:
    """Return the normalisation layers before and after a coupling."""
    if kind == "actnorm":
        return [ActNorm(size)], []
    if kind == "batchnorm":
        return [], [BatchNorm(size)]
    if kind == "batchnorm_full":
        return [], [BatchNorm(size, "training set")]
    return [], []


class ScaleAndShift(nn.Module):
    """A tanh network for raw log-scales and a ReLU network for shifts, side by side."""

    def __init__(self, given: int, out: int, hidden: Sequence[int], context: int) -> None:
        super().__init__()
        self.scale = MLP(given, out // 2, hidden, nn.Tanh, context=context)
        self.shift = MLP(given, out // 2, hidden, nn.ReLU, context=context)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        add_nfe()  # one evaluation, since the two networks run in parallel
        x = x if context is None else torch.cat([x, context], 1)
        return concatenate([run_dense(self.scale.layers, x), run_dense(self.shift.layers, x)])
