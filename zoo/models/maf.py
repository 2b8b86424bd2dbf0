"""MAF: a flow of masked affine autoregressive layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Literal, get_args

import torch

from zoo.checks import switch, whole
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.base import Bijection, Chain, Reshape
from zoo.models.bijections.batchnorm import BatchNorm
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.reverse import Reverse
from zoo.models.core.distributions import Base, Distribution
from zoo.models.families.flow import Flow, Preprocessing, context_size, preprocess
from zoo.models.networks.made import Activation

Order = Literal["natural", "reversed", "random"]
Degrees = Literal["spread", "random"]


def reorder(order: Order, dim: int) -> list[Bijection]:
    """Layers that bring ``dim`` dimensions into an order: as they come, backwards, or drawn once at random.

    A random order is a buffer of its layer and travels with the weights.

    Raises:
        ZooError: another order.
    """
    if order == "natural":
        return []
    if order == "reversed":
        return [Reverse()]
    if order == "random":
        return [Permutation(torch.randperm(dim))]
    raise ZooError(f"model.order is one of {', '.join(get_args(Order))}; got '{order}'.")


def draw(degrees: Degrees, layer: int) -> int | None:
    """The seed that a layer's MADE draws its hidden degrees with, a layer's own; None for spread ones.

    Raises:
        ZooError: other degrees.
    """
    if degrees not in get_args(Degrees):
        raise ZooError(f"model.degrees is {' or '.join(get_args(Degrees))}; got '{degrees}'.")
    return layer if degrees == "random" else None


def flattened(spec: DataSpec, preprocessing: Preprocessing, alpha: float) -> list[Bijection]:
    """Data (after dequantisation) to real vectors ``(D,)``: channels, then rows, then columns."""
    chain: list[Bijection] = [preprocess(spec, preprocessing, alpha)]
    return [*chain, Reshape(spec.shape, (spec.dim,))] if spec.is_image else chain


class MAF(Flow):
    """Masked autoregressive flow (Papamakarios et al. 2017, arXiv:1705.07057).

    z = f_L(R f_{L-1}(... R f_1(x))) with f_l a masked affine autoregressive layer, R a change of the order
    and z standard normal: log p(x) = log N(z; 0, I) - sum_l sum_i s_{l,i}. The density costs L network
    passes; a sample is L * D sequential steps, of about L passes' arithmetic together. Images are flattened
    after the preprocessing, the paper's logit. With ``batch_norm`` each layer is followed by the paper's
    batch normalisation, which evaluates with the statistics of the whole training set (its appendix B).

    Args:
        spec: the data.
        layers: number of autoregressive layers L.
        hidden: widths of the hidden layers of each layer's MADE.
        activation: ``relu`` or ``tanh``.
        residual: MADEs of residual blocks, see :class:`~zoo.models.networks.made.MADE`.
        order: of the dimensions from one layer to the next: ``reversed`` (the paper's), ``random`` (drawn for
            each layer, the first too) or ``natural`` (the same for all).
        degrees: of the hidden units of each MADE: ``spread`` evenly, or ``random``, the paper's on CIFAR-10.
        batch_norm: batch normalisation after each layer.
        log_scale_bound: bound on each |s|; None for none.
        preprocessing: what brings pixels to the reals; vectors without levels are taken as they are.
        alpha: margin of the logit preprocessing.
        base: distribution of the latents.
        conditional: condition on the label.

    Raises:
        ZooError: no layer, or a setting that its layers refuse.
    """

    sampling = "sequential"

    def __init__(
        self,
        spec: DataSpec,
        layers: int = 5,
        hidden: Sequence[int] = (128, 128),
        activation: Activation = "relu",
        residual: bool = False,
        order: Order = "reversed",
        batch_norm: bool = False,
        log_scale_bound: float | None = 5.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        base: Base | Distribution = "normal",
        conditional: bool = False,
        degrees: Degrees = "spread",
    ) -> None:
        switch(batch_norm=batch_norm)

        seeds = count()

        def layer() -> list[Bijection]:
            context = context_size(spec, conditional)
            seed = draw(degrees, next(seeds))
            made = MaskedAffineAutoregressive(
                spec.dim, hidden, context, log_scale_bound, activation, residual, seed
            )
            after: list[Bijection] = [BatchNorm(spec.dim, "training set")] if batch_norm else []
            return [made, *after]

        chain = [*flattened(spec, preprocessing, alpha), *stack(layers, layer, order, spec.dim)]
        super().__init__(spec, Chain(chain), base, (spec.dim,), conditional)


def stack(layers: int, layer: Callable[[], list[Bijection]], order: Order, dim: int) -> list[Bijection]:
    """``layers`` times the result of ``layer``, with a change of the order between (``random``: before) each.

    Raises:
        ZooError: no layer, or another order.
    """
    whole(1, layers=layers)
    chain: list[Bijection] = []
    for index in range(layers):
        if index > 0 or order == "random":
            chain += reorder(order, dim)
        chain += layer()
    return chain
