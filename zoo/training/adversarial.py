"""Adversarial training: a critic separates real from generated examples, a generator learns to mislead it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import NotNegative, NotNegativeFloat, Positive, PositiveFloat, Share, settings
from zoo.errors import ZooError
from zoo.models.core import capabilities, rng
from zoo.training.augment import Augmentation, augmentation
from zoo.training.module import TrainingModule, require
from zoo.training.schedule import Shape
from zoo.training.settings import TrainingSettings

Loss = Literal["minimax", "non_saturating", "least_squares", "hinge", "wasserstein"]


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


# Loss of the critic on (real, fake) logits and of the generator on fake logits.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    # Goodfellow et al. 2014, eq. 1: V = -critic's loss, at most 2 JSD(real, fake) - log 4
    "minimax": (_cross_entropy, lambda fake: -F.softplus(fake).mean()),
    # section 3: the same critic, and a generator whose gradient does not vanish where the critic wins
    "non_saturating": (_cross_entropy, lambda fake: F.softplus(-fake).mean()),
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


@settings
class AdversarialSettings(TrainingSettings):
    """The settings of adversarial training: those of every training module with other defaults, and its own.

    Attributes:
        loss: a name in :data:`LOSSES`.
        critic_steps: critic steps per update, each on a new batch.
        critic_lr: learning rate of the critic; None for the generator's.
        generator_batches: examples of the generator's step, in batches of ``batch_size``.
        weight_clip: the critic's weights are kept in [-c, c] (Arjovsky et al. 2017); None for no bound.
        gradient_penalty: weight of (|grad critic(x)| - 1)^2 at points x drawn between a real and a generated
            example (Gulrajani et al. 2017, eq. 3).
        r1: weight gamma of the penalty gamma/2 |grad critic(x)|^2 at real x (Mescheder et al. 2018, eq. 9).
        augment: names in :data:`~zoo.training.augment.AUGMENTATIONS`, applied in this order to all images
            that the critic sees (Zhao et al. 2020); penalties are taken at the augmented images.
        simultaneous: whether generator and critic move at once, each along the gradient of its loss at the
            weights that both had before the update, with one batch of generated examples for both. That is
            simultaneous gradient descent, with the settings' optimisers in place of plain descent (Mescheder
            et al. 2017, arXiv:1705.10461, algorithm 1). By default they alternate: the generator's gradient
            is taken at the critic's new weights, on examples generated anew.
    """

    betas: Sequence[Share] = (0.0, 0.99)
    schedule: Shape = "constant"
    warmup: NotNegative = 0
    clip: PositiveFloat | None = None
    ema: Share = 0.99
    validate_samples: NotNegative = 256
    loss: Loss = "non_saturating"
    critic_steps: Positive = 1
    critic_lr: NotNegativeFloat | None = None
    generator_batches: Positive = 1
    weight_clip: PositiveFloat | None = None
    gradient_penalty: NotNegativeFloat = 0.0
    r1: NotNegativeFloat = 1.0
    augment: Sequence[Augmentation] = ()
    simultaneous: bool = False


class Adversarial(TrainingModule):
    """One update is ``critic_steps`` steps of the critic, each on new real data, then one of the generator.

    With ``simultaneous`` it is one step of both, which neither sees of the other.

    *Critic* here means discriminator too. Losses and regularisers combine freely; spectral normalisation
    belongs to the model (``critic_norm``). Over several processes every critic step takes the examples that
    it would in one process.

    There is no validation criterion, so the last checkpoint is the one that is evaluated. The distance of
    samples (``validate_samples``) shows the progress of training.
    """

    Settings = AdversarialSettings
    settings: AdversarialSettings
    curves = ("train/loss", "train/critic_loss", "train/penalty")
    losses = ("train/loss", "train/critic_loss")

    def __init__(self, model: nn.Module, *, seed: int = 0, **settings: Any) -> None:
        require(model, "adversarial", capabilities.Adversarial)
        super().__init__(model, seed=seed, **settings)
        name = type(model).__name__
        if self.settings.augment:
            if capabilities.missing(model, capabilities.HasSpec):
                raise ZooError(
                    f"training.augment needs to see by model.spec that data are images; give {name} "
                    "this attribute, or set training.augment=[]."
                )
            if not cast(capabilities.HasSpec, model).spec.is_image:
                raise ZooError("training.augment changes images; set it to [] for vectors.")
        if self.with_labels and capabilities.missing(model, capabilities.HasOneHot):
            raise ZooError(
                f"training=adversarial gives labels as one_hot(y, n), which the conditional {name} "
                "has not; write this method, or declare conditional = False."
            )
        self.critic_loss, self.generator_loss = LOSSES[self.settings.loss]
        self.augment = augmentation(self.settings.augment)

    @classmethod
    def checked(cls, settings: Mapping[str, Any]) -> TrainingSettings:
        values = cast(AdversarialSettings, super().checked(settings))
        if values.simultaneous and (values.critic_steps > 1 or values.generator_batches > 1):
            raise ZooError(
                "training.simultaneous=true makes one step of each network on the same batch; set "
                "training.critic_steps=1 training.generator_batches=1."
            )
        return values

    @property
    def batches_per_update(self) -> int:
        return self.settings.critic_steps

    @property
    def players(self) -> capabilities.Adversarial:
        """The model, whose type has a generator and a critic."""
        return cast(capabilities.Adversarial, self.model)

    def configure_optimizers(self) -> Any:
        # A fused optimiser rounds otherwise, and adversarial training amplifies rounding. So alternating
        # training keeps the optimiser with which earlier versions of zoo made their runs.
        fused = self.settings.simultaneous
        return [
            self.optimizer_settings().build(self.players.generator.parameters(), fused),
            self.optimizer_settings(self.settings.critic_lr).build(self.players.critic.parameters(), fused),
        ]

    def update(self, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        model, steps = self.players, self.settings.critic_steps
        context = _one_hot(self.model, y)
        real = self.augment(model.to_network(x.to(next(self.model.parameters()).dtype)))
        if self.settings.simultaneous:
            return self._step_of_both(real, context)
        with torch.no_grad():  # the critic's steps do not change the generator
            fake = self.augment(model.generate(len(x), context=context))
        for step in range(steps):
            rows = slice(step, None, steps)
            with rng.rows(rows):
                critic_loss, penalty = self._critic_step(
                    real[rows], fake[rows], None if context is None else context[rows]
                )
        with rng.rows(slice(0, None, steps)):
            loss, norm = self._generator_step(len(x) // steps, None if context is None else context[::steps])
        return _values(loss, critic_loss, penalty, norm)

    def pass_evaluated(self, x: Tensor, y: Tensor | None) -> object:
        """Generate an example for each of the batch, with its label, for the statistics of layers."""
        model = cast(capabilities.Adversarial, self.evaluated)
        with rng.keyed(rng.content_keys(x)):
            return model.generate(len(x), context=_one_hot(self.evaluated, y))

    def _step_of_both(self, real: Tensor, context: Tensor | None) -> dict[str, Tensor]:
        """Make one step of each network along the gradients at the weights before the update.

        One backward pass gives the gradients of all weights, so that several processes average them at once:
        it starts from the critic's loss, at examples cut off from the generator, and from these examples,
        with the gradient that the generator's loss has there.
        """
        model, (on_generator, on_critic) = self.players, self._optimizers()
        generated = self.augment(model.generate(len(real), context=context))
        fake = generated.detach().requires_grad_()
        critic_loss, penalty, on_fake = self._critic_losses(real, fake, context)
        loss = self.generator_loss(on_fake)
        (slopes,) = torch.autograd.grad(loss, fake, retain_graph=True)
        for optimizer in (on_generator, on_critic):
            optimizer.zero_grad(set_to_none=True)
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.manual_backward(critic_loss + penalty + (slopes * generated).sum(), inputs=weights)
        self.step(on_critic, model.critic, "critic")
        self._bound_critic()
        norm = self.step(on_generator, model.generator, "generator")
        return _values(loss, critic_loss, penalty, norm)

    def _critic_losses(
        self, real: Tensor, fake: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the critic's loss, the penalty to add to it, and the critic's outputs for ``fake``."""
        model = self.players
        r1, slope_weight = self.settings.r1, self.settings.gradient_penalty
        real.requires_grad_(r1 > 0)
        on_real = model.critic(real, context)
        on_fake = model.critic(fake, context)
        loss = self.critic_loss(on_real, on_fake)
        penalty = torch.zeros_like(loss)
        if r1 > 0:
            penalty = penalty + 0.5 * r1 * _input_gradients(on_real, real).square().sum(1).mean()
        if slope_weight > 0:
            place = rng.uniform(real.new_empty(len(real), *[1] * (real.ndim - 1)))
            between = torch.lerp(real.detach(), fake.detach(), place).requires_grad_()
            slopes = _input_gradients(model.critic(between, context), between).norm(dim=1)
            penalty = penalty + slope_weight * (slopes - 1).square().mean()
        return loss, penalty, on_fake

    def _critic_step(self, real: Tensor, fake: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        loss, penalty, _ = self._critic_losses(real, fake, context)
        self.descend(loss + penalty, self._optimizers()[1], self.players.critic, "critic")
        self._bound_critic()
        return loss, penalty

    def _bound_critic(self) -> None:
        if (bound := self.settings.weight_clip) is not None:
            with torch.no_grad():
                for weight in self.players.critic.parameters():
                    weight.clamp_(-bound, bound)

    def _generator_step(self, n: int, context: Tensor | None) -> tuple[Tensor, Tensor]:
        model = self.players
        copies = self.settings.generator_batches
        if context is not None:
            context = context.repeat(copies, 1)
        model.critic.requires_grad_(False)  # this step needs no gradient of the critic's weights
        fake = self.augment(model.generate(copies * n, context=context))
        loss = self.generator_loss(model.critic(fake, context))
        norm = self.descend(loss, self._optimizers()[0], model.generator, "generator")
        model.critic.requires_grad_(True)
        return loss, norm

    def _optimizers(self) -> Any:
        """Return the optimisers of the generator and of the critic."""
        return self.optimizers()


def _values(loss: Tensor, critic_loss: Tensor, penalty: Tensor, norm: Tensor) -> dict[str, Tensor]:
    return {
        "train/loss": loss,
        "train/critic_loss": critic_loss,
        "train/penalty": penalty,
        "train/gradient_norm": norm,
    }


def _one_hot(model: nn.Module, y: Tensor | None) -> Tensor | None:
    return None if y is None else cast(capabilities.HasOneHot, model).one_hot(y, len(y))


def _input_gradients(logits: Tensor, x: Tensor) -> Tensor:
    """Return each logit's gradient with respect to its own example, ``(B, D)``, itself differentiable."""
    (gradients,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradients.flatten(1)
