"""What autoregressive flows share: the order of the dimensions, the stack of layers, a mixture as base."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from zoo.checks import NotNegative, Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import Scale, log_deviation
from zoo.models.bijections.base import Bijection, Reshape
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.reverse import Reverse
from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI, Distribution
from zoo.models.core.functional import sum_event
from zoo.models.core.settings import Pixels
from zoo.models.families.flow import preprocess
from zoo.models.networks.made import MADE
from zoo.models.networks.masked import Activation, Degrees, Start

Order = Literal["natural", "reversed", "random"]


def flattened(spec: DataSpec, pixels: Pixels) -> list[Bijection]:
    """Return the layers from (dequantised) data to vectors ``(D,)``, in the order channels, rows, columns."""
    layers: list[Bijection] = [preprocess(spec, pixels)]
    return [*layers, Reshape(spec.shape, (spec.dim,))] if spec.is_image else layers


def reorder(order: Order, dim: int) -> list[Bijection]:
    """Return the layers that reorder ``dim`` dimensions: unchanged, reversed, or at random.

    A random order is a buffer of its layer and is saved with the weights.
    """
    if order == "natural":
        return []
    return [Reverse() if order == "reversed" else Permutation(torch.randperm(dim))]


def stack(layers: int, layer: Callable[[int], list[Bijection]], order: Order, dim: int) -> list[Bijection]:
    """Return ``layer(0), layer(1), ...`` with a change of the order between them.

    Args:
        layers: number of layers.
        layer: function from an index to the layers there.
        order: ``reversed`` or ``natural`` from one layer to the next; ``random``: drawn before each
            layer, the first included.
        dim: number of dimensions.
    """
    chain: list[Bijection] = []
    for index in range(layers):
        if index > 0 or order == "random":
            chain += reorder(order, dim)
        chain += layer(index)
    return chain


class MixtureMADE(Distribution):
    """MADE with a mixture of Gaussians for each dimension, MADE-MoG (Papamakarios et al. 2017, section 4).

    p(z) = prod_i sum_k softmax(w_i)_k N(z_i; m_ik, exp(2 s_ik)), where w_i, m_i and s_i are functions of
    z_1 .. z_{i-1}. The density takes one network pass; a sample takes D sequential steps, each of which draws
    a component and then a normal. Temperature scales the standard deviations.

    Equal components would stay equal, so with ``start="he"`` their means start apart. Half of the initial
    variance lies between the components and half within; the total is 1, as for a standard normal. With
    ``start="normal"`` all biases of the output layer start as N(0, 1), as in the authors' program.

    Args:
        dim: number of dimensions D.
        components: Gaussians for each dimension.
        hidden: widths of the MADE's hidden layers.
        context: number of conditioning features; 0 for none.
        activation, residual, degrees, draw, start, input_bound: see :class:`~zoo.models.networks.made.MADE`.
        scale: see :class:`~zoo.models.bijections.autoregressive.MaskedAffineAutoregressive`.
        log_scale_bound: s is soft-clamped to (-bound, bound); None: no clamp, as in the paper.
    """

    @checked("model")
    def __init__(
        self,
        dim: Positive,
        components: Positive = 10,
        hidden: Sequence[Positive] = (128, 128),
        *,
        context: NotNegative = 0,
        activation: Activation = "relu",
        residual: bool = False,
        log_scale_bound: PositiveFloat | None = 5.0,
        scale: Scale = "log_deviation",
        degrees: Degrees = "spread",
        draw: NotNegative = 0,
        start: Start = "he",
        input_bound: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.log_scale_bound, self.scale = log_scale_bound, scale
        self.network = MADE(
            dim,
            3 * components,
            hidden,
            context=context,
            activation=activation,
            residual=residual,
            degrees=degrees,
            draw=draw,
            start=start,
            input_bound=input_bound,
        )
        with torch.no_grad():
            _, mean, raw = self.network.output.bias.view(dim, 3, components).unbind(1)
            if start == "normal":
                self.network.output.bias.normal_()
            elif components > 1:
                places = torch.linspace(-1, 1, components)
                mean.copy_(places * (0.5 / places.square().mean()).sqrt())
                raw.fill_(math.log(0.5) * (0.5 if scale == "log_deviation" else -1.0))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        log_weight, mean, log_std = self.mixture(self.network(z, context))
        standard = (z[..., None] - mean) * torch.exp(-log_std)
        return sum_event(torch.logsumexp(log_weight - log_std - 0.5 * (standard.square() + LOG_2PI), -1))

    def sample(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        like = self.network.output.bias
        uniform = rng.uniform(like.new_empty(n, self.network.dim)).T[..., None]
        normal = temperature * rng.normal(like.new_empty(n, self.network.dim)).T

        def step(i: int, parameters: Tensor) -> Tensor:
            log_weight, mean, log_std = self.mixture(parameters)
            edges = log_weight.softmax(-1).cumsum(-1)[:, :-1]
            chosen = (uniform[i] > edges).sum(-1, keepdim=True)
            return torch.addcmul(
                mean.gather(-1, chosen)[:, 0], log_std.gather(-1, chosen)[:, 0].exp(), normal[i]
            )

        return self.network.generate(n, step, context)[0]

    def mixture(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights, means and log-deviations, each ``(..., K)``, from the network's output.

        They are in at least float32.
        """
        wide = parameters.to(torch.promote_types(parameters.dtype, torch.float32))
        logits, mean, raw = wide.chunk(3, -1)
        return logits.log_softmax(-1), mean, log_deviation(raw, self.scale, self.log_scale_bound)
