"""Adversarial training: a critic tells real from generated, a generator learns to be taken for real."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import is_whole
from zoo.errors import ZooError
from zoo.models.core import capabilities, rng
from zoo.training.augment import augmentation
from zoo.training.module import Rule, require

Loss = Literal["minimax", "non_saturating", "least_squares", "hinge", "wasserstein"]


def _tell_apart(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


# Loss of the critic on (real, fake) logits and of the generator on fake logits.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    # Goodfellow et al. 2014, eq. 1: V = -critic's loss, at most 2 JSD(real, fake) - log 4
    "minimax": (_tell_apart, lambda fake: -F.softplus(fake).mean()),
    # section 3: the same critic, and a generator whose gradient does not vanish where the critic wins
    "non_saturating": (_tell_apart, lambda fake: F.softplus(-fake).mean()),
    # Mao et al. 2017, eq. 9 with a=0, b=c=1
    "least_squares": (
        lambda real, fake: 0.5 * ((real - 1).square().mean() + fake.square().mean()),
        lambda fake: 0.5 * (fake - 1).square().mean(),
    ),
    # Lim & Ye 2017; Miyato et al. 2018, eq. 16-17
    "hinge": (
        lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
    # Arjovsky et al. 2017: -critic's loss is at most L W1(real, fake) for a critic of Lipschitz constant L
    "wasserstein": (lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean()),
}


class Adversarial(Rule):
    """One update is ``critic_steps`` steps of the critic, each on fresh real data, then one of the generator.

    Loss and regularisers combine freely; spectral normalisation belongs to the model (``critic_norm``). Over
    several processes every critic step takes the examples that it would in one process.

    There is no validation criterion, so the last checkpoint is the one that is evaluated. What training does
    is seen in the distance of samples (``validate_samples``).

    Args:
        model: has ``generate(n, context=...)``, ``to_network(x)``, ``generator`` and ``critic``.
        loss: a name in :data:`LOSSES`.
        critic_steps: critic steps per update, each on a batch of its own.
        critic_lr: learning rate of the critic; the generator's by default.
        generator_batches: examples of the generator's step, in batches of ``batch_size``.
        weight_clip: the critic's weights are kept in [-c, c] (Arjovsky et al. 2017); None: they are not.
        gradient_penalty: weight of (|grad critic(x)| - 1)^2 at points x drawn between a real and a generated
            example (Gulrajani et al. 2017, eq. 3).
        r1: weight gamma of the penalty gamma/2 |grad critic(x)|^2 at real x (Mescheder et al. 2018, eq. 9).
        augment: names in :data:`~zoo.training.augment.AUGMENTATIONS`, applied in this order to all images
            that the critic sees (Zhao et al. 2020); penalties are taken at the images so changed.
    """

    curves = ("train/loss", "train/critic_loss", "train/penalty")
    losses = ("train/loss", "train/critic_loss")

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Loss = "non_saturating",
        critic_steps: int = 1,
        critic_lr: float | None = None,
        generator_batches: int = 1,
        weight_clip: float | None = None,
        gradient_penalty: float = 0.0,
        r1: float = 0.0,
        augment: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        require(model, "adversarial", capabilities.Adversarial)
        if loss not in LOSSES:
            raise ZooError(f"training.loss is one of {', '.join(LOSSES)}; got '{loss}'.")
        for name, count in (("critic_steps", critic_steps), ("generator_batches", generator_batches)):
            if not is_whole(count, 1):
                raise ZooError(f"training.{name} must be a whole number, at least 1; got {count!r}.")
        rates = {"gradient_penalty": gradient_penalty, "r1": r1}
        if critic_lr is not None:
            rates["critic_lr"] = critic_lr
        for name, rate in rates.items():
            if not isinstance(rate, Real) or not 0 <= rate < math.inf:
                raise ZooError(f"training.{name} must be finite and at least 0; got {rate!r}.")
        if weight_clip is not None and not (isinstance(weight_clip, Real) and weight_clip > 0):
            raise ZooError(f"training.weight_clip is a bound above 0, or null; got {weight_clip!r}.")
        if augment and not model.spec.is_image:  # type: ignore[union-attr]
            raise ZooError("training.augment changes images; set it to [] for vectors.")
        super().__init__(model, **settings)
        self.critic_loss, self.generator_loss = LOSSES[loss]
        self.critic_steps, self.generator_batches = critic_steps, generator_batches
        self.weight_clip, self.gradient_penalty, self.r1 = weight_clip, gradient_penalty, r1
        self.augment = augmentation(augment)
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
        context = None if y is None else model.one_hot(y, len(x))
        real = self.augment(model.to_network(x.to(model.dtype)))
        with torch.no_grad():  # the generator stands still while the critic steps
            fake = self.augment(model.generate(len(x), context=context))
        for step in range(self.critic_steps):
            rows = slice(step, None, self.critic_steps)
            with rng.rows(rows):
                critic_loss, penalty = self._critic_step(
                    real[rows], fake[rows], None if context is None else context[rows]
                )
        with rng.rows(slice(0, None, self.critic_steps)):
            loss, norm = self._generator_step(
                len(x) // self.critic_steps, None if context is None else context[:: self.critic_steps]
            )
        return {
            "train/loss": loss,
            "train/critic_loss": critic_loss,
            "train/penalty": penalty,
            "train/gradient_norm": norm,
        }

    def _critic_step(self, real: Tensor, fake: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        real.requires_grad_(self.r1 > 0)
        on_real = model.critic(real, context)
        loss = self.critic_loss(on_real, model.critic(fake, context))
        penalty = torch.zeros_like(loss)
        if self.r1 > 0:
            penalty = penalty + 0.5 * self.r1 * _slopes(on_real, real).square().sum(1).mean()
        if self.gradient_penalty > 0:
            place = rng.uniform(real.new_empty(len(real), *[1] * (real.ndim - 1)))
            between = torch.lerp(real.detach(), fake, place).requires_grad_()
            steepness = _slopes(model.critic(between, context), between).norm(dim=1)
            penalty = penalty + self.gradient_penalty * (steepness - 1).square().mean()
        self.descend(loss + penalty, self._optimizer(1), model.critic, "critic")
        if self.weight_clip is not None:
            with torch.no_grad():
                for weight in model.critic.parameters():
                    weight.clamp_(-self.weight_clip, self.weight_clip)
        return loss, penalty

    def _generator_step(self, n: int, context: Tensor | None) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        copies = self.generator_batches
        if context is not None:
            context = context.repeat(copies, 1)
        model.critic.requires_grad_(False)  # this step needs no gradient of the critic's weights
        fake = self.augment(model.generate(copies * n, context=context))
        loss = self.generator_loss(model.critic(fake, context))
        norm = self.descend(loss, self._optimizer(0), model.generator, "generator")
        model.critic.requires_grad_(True)
        return loss, norm

    def _optimizer(self, index: int) -> Any:
        optimizers: Any = self.optimizers()
        return optimizers[index]


def _slopes(logits: Tensor, x: Tensor) -> Tensor:
    """The gradient of each logit in its own example, ``(B, D)``, itself differentiable."""
    (slopes,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return slopes.flatten(1)
