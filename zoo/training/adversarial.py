"""Adversarial training: a critic tells real from generated, a generator learns to be taken for real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.training.rule import Rule, require

# Loss of the critic on (real, fake) logits and of the generator on fake logits.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    # Goodfellow et al. 2014, section 3
    "non_saturating": (
        lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        lambda fake: F.softplus(-fake).mean(),
    ),
    # Lim & Ye 2017; Miyato et al. 2018, eq. 16-17
    "hinge": (
        lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
    # Mao et al. 2017, eq. 9 with a=0, b=c=1
    "least_squares": (
        lambda real, fake: 0.5 * ((real - 1).square().mean() + fake.square().mean()),
        lambda fake: 0.5 * (fake - 1).square().mean(),
    ),
    # Arjovsky et al. 2017; the critic's Lipschitz bound is the caller's to keep
    "wasserstein": (lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean()),
}


class Adversarial(Rule):
    """One update is ``critic_steps`` steps of the critic, each on fresh real data, then one of the generator.

    There is no validation criterion, so the last checkpoint is the one that is evaluated.

    Args:
        model: has ``generate(n)``, ``to_network(x)``, ``generator`` and ``critic``.
        loss: a name in :data:`LOSSES`.
        critic_steps: critic steps per update.
        critic_lr: learning rate of the critic; the generator's by default.
        r1: weight gamma of the penalty gamma/2 |grad critic(x)|^2 at real x (Mescheder et al. 2018, eq. 9).
    """

    curves = ("train/loss", "train/critic_loss")

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Literal["non_saturating", "hinge", "least_squares", "wasserstein"] = "non_saturating",
        critic_steps: int = 1,
        critic_lr: float | None = None,
        r1: float = 0.0,
        **settings: Any,
    ) -> None:
        require(model, "adversarial", "generator", "critic", "generate", "to_network")
        if loss not in LOSSES:
            raise ZooError(f"training.loss is one of {', '.join(LOSSES)}; got '{loss}'.")
        if critic_steps < 1:
            raise ZooError(f"training.critic_steps must be at least 1; got {critic_steps}.")
        super().__init__(model, **settings)
        self.critic_loss, self.generator_loss = LOSSES[loss]
        self.critic_steps, self.r1 = critic_steps, r1
        self.critic_lr = critic_lr if critic_lr is not None else self.lr

    @property
    def batches_per_update(self) -> int:
        return self.critic_steps

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        model: Any = self.model
        return [
            self.build_optimizer(model.generator.parameters(), self.lr),
            self.build_optimizer(model.critic.parameters(), self.critic_lr),
        ]

    def update(self, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        model: Any = self.model
        optimizers: Any = self.optimizers()
        generator_optimizer, critic_optimizer = optimizers
        real = model.to_network(x.to(model.dtype))
        for part in real.chunk(self.critic_steps):
            with torch.no_grad():
                fake = model.generate(len(x))[: len(part)]
            part = part.detach().requires_grad_(self.r1 > 0)
            on_real = model.critic(part)
            critic_loss = self.critic_loss(on_real, model.critic(fake))
            penalty = 0.0 * critic_loss
            if self.r1 > 0:
                (slope,) = torch.autograd.grad(on_real.sum(), part, create_graph=True)
                penalty = 0.5 * self.r1 * slope.flatten(1).square().sum(1).mean()
            self.descend(critic_loss + penalty, critic_optimizer, model.critic)
        model.critic.requires_grad_(False)  # the generator's step needs no gradient of the critic's weights
        fake = model.generate(len(x))[: max(1, len(x) // self.critic_steps)]
        loss = self.generator_loss(model.critic(fake))
        norm = self.descend(loss, generator_optimizer, model.generator)
        model.critic.requires_grad_(True)
        return {"train/loss": loss, "train/critic_loss": critic_loss, "train/gradient_norm": norm}
