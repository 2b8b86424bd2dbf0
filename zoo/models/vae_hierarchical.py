"""The hierarchical variational autoencoder: several layers of latents, each given those above it."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.checks import whole
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.functional import soft_bound, sum_event
from zoo.models.families.latent import Draw, LatentVariableModel
from zoo.models.networks.hierarchical_vae import Ladder

LOG_STD_BOUND = 5.0  # posterior deviations, relative to the prior's, from e^-5 to e^5


class HierarchicalVAE(LatentVariableModel):
    r"""p(x) = E p(x | h(z_1..z_L)) with p(z) = p(z_1) p(z_2 | z_1) ... p(z_L | z_1 .. z_{L-1}), top first.

    Every conditional is a diagonal Gaussian whose parameters come down the
    :class:`~zoo.models.networks.hierarchical_vae.Ladder`; the posterior comes down the same way and is
    relative to the prior. In the standardised latents u = (z - m)/s of a layer, where the prior is
    N(0, I) and the posterior N(a, diag e^{2b}),

        KL_l = 1/2 sum(a^2 + e^{2b} - 1 - 2b),    KL(q || p) = E sum_l KL_l,

    with one draw of the layers above for the expectation. ``active_units`` counts units of u: a layer that
    adds nothing to what those above have said has none.

    Args:
        spec: the data.
        width: features at each place of the network.
        latents: latents at each place of each layer (vectors: of each layer).
        layers: stochastic layers at each size of the pyramid; at least two in all.
        beta, importance_samples, sample_pixels, conditional: as
            :class:`~zoo.models.families.latent.LatentVariableModel`'s.
    """

    def __init__(
        self,
        spec: DataSpec,
        width: int = 32,
        latents: int = 4,
        layers: int = 2,
        beta: float = 1.0,
        importance_samples: int = 1,
        sample_pixels: bool = False,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, beta, importance_samples, sample_pixels, conditional)
        whole(1, width=width, latents=latents, layers=layers)
        self.network = Ladder(spec.shape, 2, width, latents, layers, self.context)
        if len(self.network.down) < 2:
            raise ZooError(
                "One stochastic layer is no hierarchy: give model.layers=2 or more, or use model=vae."
            )

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        return self.network.encode(self.observation.centre(x), context)

    def draw(self, seen: tuple[Tensor, ...], context: Tensor | None = None) -> Draw:
        kls, log_ratios, units = [], [], []

        def choose(like: Tensor, told: Tensor | None) -> Tensor:
            assert told is not None
            a, raw = told.chunk(2, 1)
            b = soft_bound(raw, -LOG_STD_BOUND, LOG_STD_BOUND)
            e = rng.normal(like)
            u = a + b.exp() * e
            kls.append(sum_event(0.5 * (a.square() + (2 * b).exp() - 1 - 2 * b)))
            log_ratios.append(sum_event(0.5 * (e.square() - u.square()) + b))
            units.append(a.flatten(1))
            return u

        h = self.network.descend(len(seen[0]), choose, seen, context)
        return Draw(h, torch.stack(kls).sum(0), torch.stack(log_ratios).sum(0), torch.cat(units, 1))

    def prior_draw(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        return self.network.descend(n, lambda like, _: temperature * rng.normal(like), context=context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.observation.parameters(self.network.decode(z))
