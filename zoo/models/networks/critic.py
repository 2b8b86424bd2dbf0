"""The critic (discriminator) of a GAN: features of an example, and a head that maps them to a logit."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models.core.nfe import add_nfe
from zoo.models.networks.encoder import Norm, constrain


class Critic(nn.Module):
    """The critic with logit v . f(x) + b + (V y) . f(x), the last term for labelled data.

    This is the projection discriminator of Miyato & Koyama (2018, arXiv:1802.05637, eq. 3).

    Args:
        features: network f from ``(B, *shape)`` in network space to ``(B, length)``.
        length: length of the features.
        norm: ``spectral`` divides v and V by their largest singular values too; ``lipschitz`` bounds them
            so that the logit's Lipschitz constant is at most the constant of f (with a label, each by 1/2).
        context: length of the one-hot label y; 0 for none.
    """

    def __init__(self, features: nn.Module, length: int, *, norm: Norm = "none", context: int = 0) -> None:
        super().__init__()
        self.features = features
        bound = 0.5 if context else 1.0
        self.head = constrain(nn.Linear(length, 1), norm, (length,), bound)
        self.projection = (
            constrain(nn.Linear(context, length, bias=False), norm, (context,), bound) if context else None
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return logits ``(B,)``, which are large if ``x`` resembles real data (of this label)."""
        add_nfe()
        features = self.features(x)
        logits = self.head(features).squeeze(1)
        if self.projection is not None and context is not None:
            logits = logits + (self.projection(context) * features).sum(1)
        return logits
