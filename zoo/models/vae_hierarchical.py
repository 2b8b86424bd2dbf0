"""HierarchicalVAE: a VAE with several layers of latents, each conditioned on the layers above it."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.checks import NotNegativeFloat, Positive, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.functional import soft_bound, sum_event
from zoo.models.families.latent import LatentVariableModel, PosteriorSample
from zoo.models.networks.hierarchical_vae import TopDownNetwork

LOG_STD_BOUND = 5.0  # posterior standard deviations lie between e^-5 and e^5 times the prior's


class HierarchicalVAE(LatentVariableModel):
    r"""A VAE with L layers of latents, each conditioned on the layers above it.

    p(x) = E p(x | h(z_1..z_L)) with p(z) = p(z_1) p(z_2 | z_1) ... p(z_L | z_1 .. z_{L-1}), top first. Every
    conditional is a diagonal Gaussian with parameters from the
    :class:`~zoo.models.networks.hierarchical_vae.TopDownNetwork`. The posterior is computed in the same
    top-down order and is parametrised relative to the prior. In the standardised latents u = (z - m)/s of a
    layer, where the prior is N(0, I) and the posterior N(a, diag e^{2b}),

        KL_l = 1/2 sum(a^2 + e^{2b} - 1 - 2b),    KL(q || p) = E sum_l KL_l,

    where one sample of the layers above estimates the expectation. ``active_units`` counts units of u; a
    layer that adds no information to the layers above has none.

    Args:
        spec: the data.
        width: features at each position of the network.
        latents: latents at each position of each layer (vectors: of each layer).
        layers: stochastic layers at each size of the pyramid; at least two in all.
        beta, importance_samples, sample_pixels, conditional: see
            :class:`~zoo.models.families.latent.LatentVariableModel`.

    Raises:
        ZooError: a setting outside its range, or a single stochastic layer in all.
    """

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        width: Positive = 32,
        latents: Positive = 4,
        layers: Positive = 2,
        beta: NotNegativeFloat = 1.0,
        importance_samples: Positive = 1,
        sample_pixels: bool = False,
        conditional: bool = False,
    ) -> None:
        super().__init__(
            spec,
            beta=beta,
            importance_samples=importance_samples,
            sample_pixels=sample_pixels,
            conditional=conditional,
        )
        self.network = TopDownNetwork(
            spec.shape, 2, width=width, latents=latents, layers=layers, context=self.context
        )
        if len(self.network.down) < 2:
            raise ZooError(
                "A hierarchy must have at least two stochastic layers: set model.layers to 2 or more, or use "
                "model=vae."
            )

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        return self.network.encode(self.decoder_likelihood.to_network(x), context)

    def sample_posterior(
        self, encoding: tuple[Tensor, ...], context: Tensor | None = None
    ) -> PosteriorSample:
        kls, log_ratios, units = [], [], []

        def sample_layer(zeros: Tensor, posterior: Tensor | None) -> Tensor:
            assert posterior is not None
            a, raw = posterior.chunk(2, 1)
            b = soft_bound(raw, -LOG_STD_BOUND, LOG_STD_BOUND)
            e = rng.normal(zeros)
            u = a + b.exp() * e
            kls.append(sum_event(0.5 * (a.square() + (2 * b).exp() - 1 - 2 * b)))
            log_ratios.append(sum_event(0.5 * (e.square() - u.square()) + b))
            units.append(a.flatten(1))
            return u

        h = self.network.descend(len(encoding[0]), sample_layer, encoding, context)
        return PosteriorSample(
            h, torch.stack(kls).sum(0), torch.stack(log_ratios).sum(0), torch.cat(units, 1)
        )

    def sample_prior(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        return self.network.descend(n, lambda zeros, _: temperature * rng.normal(zeros), context=context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        return self.decoder_likelihood.parameters(self.network.decode(z))
