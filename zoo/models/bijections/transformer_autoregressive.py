"""The transformer autoregressive block: each token is transformed conditioned on the tokens before it."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection
from zoo.models.core.functional import soft_clamp, sum_event
from zoo.models.networks.causal_transformer import Cache, CausalTransformer


class TransformerAutoregressive(Bijection):
    """The block of TarFlow on tokens ``(T, F)`` (Zhai et al. 2024, arXiv:2412.06329).

    z_t = (x_t - m_t) exp(-a_t), where a causal transformer computes m_t and a_t, with F entries each, from
    x_1 .. x_{t-1}; z_1 = x_1. log|det dz/dx| = -sum a. ``forward`` is one pass; ``inverse`` takes T - 1 steps
    of one token, with cached keys and values. It starts as the identity.

    Args:
        tokens: number of tokens T, at least 2.
        features: number of features F of a token.
        reverse: whether the order of the tokens is reversed.
        width, layers, head_width: see :class:`~zoo.models.networks.causal_transformer.CausalTransformer`.
        context: number of conditioning features; 0 for none.
        log_scale_bound: a is soft-clamped to (-bound, bound); None leaves it free, as in the paper.

    Raises:
        ZooError: there is a single token.
    """

    def __init__(
        self,
        tokens: int,
        features: int,
        *,
        reverse: bool = False,
        width: int = 64,
        layers: int = 2,
        head_width: int = 16,
        context: int = 0,
        log_scale_bound: float | None = 5.0,
    ) -> None:
        super().__init__()
        if tokens < 2:
            raise ZooError("An autoregressive transformer needs at least 2 tokens; use model=maf for one.")
        self.tokens, self.reverse = tokens, reverse
        self.log_scale_bound = None if log_scale_bound is None else float(log_scale_bound)
        self.network = CausalTransformer(
            features,
            2 * features,
            tokens - 1,
            width=width,
            layers=layers,
            head_width=head_width,
            context=context,
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self._ordered(x)
        mean, log_scale = self.affine(self.network(x[:, :-1], context), x)
        rest = (x[:, 1:] - mean) * torch.exp(-log_scale)
        return self._ordered(torch.cat([x[:, :1], rest], 1)), -sum_event(log_scale)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.generate(z, context)

    def generate(
        self, z: Tensor, context: Tensor | None = None, guidance: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Map latent to data with guidance by the context; return ``x`` and log|det dx/dz| ``(B,)``.

        With weight w, m = m(context) + w (m(context) - m(none)), and a likewise (Zhai et al.
        2024); the network is evaluated with and without the context. "None" is a context of zeros.
        """
        z = self._ordered(z)
        guided = guidance != 0 and context is not None
        if guided:
            assert context is not None
            context = torch.cat([context, torch.zeros_like(context)])
        cache = Cache(self.tokens - 1)
        x, log_scales = [z[:, 0]], []
        for t in range(1, self.tokens):
            token = torch.cat([x[-1], x[-1]]) if guided else x[-1]
            mean, log_scale = self.affine(self.network.step(token, cache, context), z)
            if guided:
                mean, log_scale = (
                    given + guidance * (given - free) for given, free in (mean.chunk(2), log_scale.chunk(2))
                )
            x.append(z[:, t] * torch.exp(log_scale) + mean)
            log_scales.append(log_scale)
        return self._ordered(torch.stack(x, 1)), sum_event(torch.stack(log_scales, 1))

    def _ordered(self, x: Tensor) -> Tensor:
        return x.flip(1) if self.reverse else x

    def affine(self, out: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-scales from the network's output, in the data's dtype under autocast too."""
        mean, log_scale = out.to(like.dtype).chunk(2, -1)
        if self.log_scale_bound is not None:
            log_scale = soft_clamp(log_scale, self.log_scale_bound)
        return mean, log_scale

    def extra_repr(self) -> str:
        bound = "none" if self.log_scale_bound is None else f"{self.log_scale_bound:g}"
        return f"tokens={self.tokens}, reverse={self.reverse}, log_scale_bound={bound}"
