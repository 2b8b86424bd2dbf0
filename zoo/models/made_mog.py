"""MADE with mixtures of Gaussians as conditionals, as a model and as the base of a flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.checks import above, whole
from zoo.data.spec import DataSpec
from zoo.models.bijections.base import Chain
from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI, Distribution
from zoo.models.core.functional import soft_clamp, sum_event
from zoo.models.families.flow import Flow, Preprocessing, context_size
from zoo.models.maf import Degrees, Order, draw, flattened, reorder
from zoo.models.networks.made import MADE, Activation


class MixtureMADE(Distribution):
    """p(z) = prod_i sum_k softmax(w_i)_k N(z_i; m_ik, exp(2 s_ik)), (w, m, s)_i functions of z_1 .. z_{i-1}.

    MADE-MoG (Papamakarios et al. 2017, section 4). The density is one network pass; a sample is D sequential
    steps, each a component drawn and then a normal. Temperature scales the standard deviations.

    Components that start alike would stay alike, so their means start apart: half of the variance lies
    between the components and half within, which makes 1 together, as for a standard normal.

    Args:
        dim: number of dimensions D.
        components: Gaussians for each dimension.
        hidden: widths of the MADE's hidden layers.
        context: number of conditioning features; 0 for none.
        activation: ``relu`` or ``tanh``.
        residual, draw: see :class:`~zoo.models.networks.made.MADE`.
        log_scale_bound: s is soft-clamped to (-bound, bound); None: no clamp, as in the paper.

    Raises:
        ZooError: no component, or a setting that the network refuses.
    """

    def __init__(
        self,
        dim: int,
        components: int = 10,
        hidden: Sequence[int] = (128, 128),
        context: int = 0,
        activation: Activation = "relu",
        residual: bool = False,
        log_scale_bound: float | None = 5.0,
        draw: int | None = None,
    ) -> None:
        super().__init__()
        whole(1, components=components)
        above(0, log_scale_bound=log_scale_bound)
        self.log_scale_bound = log_scale_bound
        self.network = MADE(dim, 3 * components, hidden, context, activation, residual, draw=draw)
        with torch.no_grad():
            _, mean, log_std = self.network.output.bias.view(dim, 3, components).unbind(1)
            if components > 1:
                places = torch.linspace(-1, 1, components)
                mean.copy_(places * (0.5 / places.square().mean()).sqrt())
                log_std.fill_(0.5 * math.log(0.5))

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
        """Log-weights, means and log-deviations ``(..., K)`` of the network's output, in at least float32."""
        wide = parameters.to(torch.promote_types(parameters.dtype, torch.float32))
        logits, mean, raw = wide.chunk(3, -1)
        log_std = raw if self.log_scale_bound is None else soft_clamp(raw, self.log_scale_bound)
        return logits.log_softmax(-1), mean, log_std


class MADEMoG(Flow):
    """MADE with a mixture of Gaussians for each conditional (Papamakarios et al. 2017, "MADE MoG").

    Images are dequantised, brought to the reals and flattened; z = x in the chosen order is then distributed
    as :class:`MixtureMADE` says.

    Args:
        spec: the data.
        components: Gaussians for each dimension.
        hidden: widths of the MADE's hidden layers.
        activation: ``relu`` or ``tanh``.
        residual: residual blocks, see :class:`~zoo.models.networks.made.MADE`.
        order: of the dimensions: ``natural``, ``reversed`` or ``random`` (drawn once).
        degrees: see :class:`~zoo.models.maf.MAF`.
        log_scale_bound: bound on each |s|; None for none.
        preprocessing: what brings pixels to the reals; vectors without levels are taken as they are.
        alpha: margin of the logit preprocessing.
        conditional: condition on the label.

    Raises:
        ZooError: another order, or a setting that the network refuses.
    """

    sampling = "sequential"

    def __init__(
        self,
        spec: DataSpec,
        components: int = 10,
        hidden: Sequence[int] = (128, 128),
        activation: Activation = "relu",
        residual: bool = False,
        order: Order = "natural",
        log_scale_bound: float | None = 5.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        conditional: bool = False,
        degrees: Degrees = "spread",
    ) -> None:
        context = context_size(spec, conditional)
        base = MixtureMADE(
            spec.dim, components, hidden, context, activation, residual, log_scale_bound, draw(degrees, 0)
        )
        chain = Chain([*flattened(spec, preprocessing, alpha), *reorder(order, spec.dim)])
        super().__init__(spec, chain, base, conditional=conditional)
