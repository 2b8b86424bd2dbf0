"""Adversarial training against theory and papers: values, regularisers, data and noise of each step."""

from __future__ import annotations

import copy
import itertools
import math

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from fitting import batches, fit, trainer
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.families.adversarial import AdversarialModel, encoder_critic
from zoo.training.adversarial import LOSSES, Adversarial
from zoo.training.augment import AUGMENTATIONS

LINE, PLANE, DIGITS = zoo.DataSpec((1,)), zoo.DataSpec((2,)), zoo.DataSpec((1, 8, 8), 17, classes=10)
REGULARISERS = {
    "none": {},
    "weight clipping": {"weight_clip": 0.1},
    "gradient penalty": {"gradient_penalty": 10.0},
    "R1": {"r1": 1.0},
    "all": {"weight_clip": 0.1, "gradient_penalty": 1.0, "r1": 1.0},
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Affine(nn.Module):
    """The map z -> scale z + shift."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), nn.Parameter(torch.tensor(shift))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.scale * z + self.shift


class Duel(AdversarialModel):
    """A critic of numbers against a generator of N(shift, scale^2), which is fixed at learning rate 0."""

    def __init__(self, scale: float, shift: float, norm: str = "none", hidden: int = 48) -> None:
        super().__init__(LINE, latent_dim=1)
        self.generator = Affine(scale, shift)
        self.critic = encoder_critic(LINE, width=0, hidden=hidden, depth=2, norm=norm, context=0)


def play(module: Adversarial, real: Tensor, updates: int, batch: int) -> dict[str, float]:
    """Make the module's updates in a bare loop; return the values of the last one."""
    optimizers = module.configure_optimizers()
    module.optimizers, module.manual_backward = lambda: optimizers, Tensor.backward
    generator = torch.Generator().manual_seed(0)
    values: dict[str, Tensor] = {}
    for module.updates in range(updates):
        x = real[torch.randint(len(real), (batch * module.batches_per_update,), generator=generator)]
        with rng.keyed(rng.keys(module.updates, count=len(x))):
            values = module.update(x, None)
        module.average_weights()
    return {name: float(value.detach()) for name, value in values.items()}


# no penalty of the critic and no averaged weights, unlike the defaults
PLAIN = {"betas": (0.9, 0.999), "schedule": "cosine", "clip": 1.0, "ema": 0.0, "r1": 0.0}


def duel(model: Duel, real: Tensor, updates: int, batch: int, **settings: object) -> dict[str, float]:
    """Train the critic alone; return the values of the last update."""
    settings = PLAIN | {"critic_lr": 1e-2, "clip": None} | settings
    module = Adversarial(model, updates=updates, batch_size=batch, lr=0.0, **settings)
    return play(module, real, updates, batch)


# Theory -----------------------------------------------------------------------------------------------------


def test_a_trained_critic_estimates_the_density_ratio_and_the_divergence() -> None:
    """Goodfellow et al. 2014, proposition 1 and theorem 1, against quadrature."""
    torch.manual_seed(0)
    model = Duel(scale=0.7, shift=1.5)
    real = torch.randn(50_000, 1)
    duel(model, real, 500, 1024, loss="minimax")
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    step = x[1] - x[0]
    p = torch.distributions.Normal(0.0, 1.0).log_prob(x).exp()
    q = torch.distributions.Normal(1.5, 0.7).log_prob(x).exp()
    with torch.no_grad():
        logits = model.critic(x.float()[:, None]).double()
    error = (torch.sigmoid(logits) - p / (p + q)).abs()
    assert (error * (p + q) / 2).sum() * step < 0.015
    value = ((p * F.logsigmoid(logits) + q * F.logsigmoid(-logits)).sum() * step).item()
    mean = (p + q) / 2
    jsd = ((torch.special.xlogy(p, p / mean) + torch.special.xlogy(q, q / mean)).sum() * step / 2).item()
    assert 0.2 < jsd < math.log(2)
    assert value <= 2 * jsd - math.log(4) + 1e-6  # the value of the best critic
    assert value == pytest.approx(2 * jsd - math.log(4), abs=0.004)


@pytest.mark.parametrize("distance", [0.25, 4.0])
def test_point_masses_have_constant_jsd_and_growing_wasserstein_distance(
    distance: float,
) -> None:
    """Arjovsky et al. 2017, example 1: masses at 0 and theta have JSD log 2 and W1 |theta|."""
    real = torch.zeros(1, 1)
    classic = duel(Duel(0.0, distance), real, 100, 8, loss="minimax")
    value = -classic["train/critic_loss"]
    assert (value + math.log(4)) / 2 == pytest.approx(math.log(2), abs=0.02)

    bounded = duel(Duel(0.0, distance, "spectral"), real, 100, 8, loss="wasserstein", critic_lr=2e-2)
    assert -bounded["train/critic_loss"] == pytest.approx(distance, rel=0.03)

    # A penalised critic of slope s gains s theta - lambda (|s| - 1)^2, most at s = 1 + theta / (2 lambda).
    # There is a second optimum near s = -1, so the critic is linear and starts with the right sign.
    model = Duel(0.0, distance)
    model.critic.features, model.critic.head = nn.Identity(), nn.Linear(1, 1)
    nn.init.constant_(model.critic.head.weight, -0.5)
    penalised = duel(
        model, real, 200, 8, loss="wasserstein", gradient_penalty=10.0, schedule="linear", critic_lr=2e-2
    )
    expected = distance * (1 + distance / 20)
    assert -penalised["train/critic_loss"] == pytest.approx(expected, rel=0.03)


def test_the_gradient_penalty_drives_slopes_to_one() -> None:
    torch.manual_seed(0)
    model = zoo.build("wgan_gp", PLANE)
    train = moons()
    before = slopes(model, train).mean().item()
    settings = {"loss": "wasserstein", "gradient_penalty": 10.0, "critic_steps": 3, "betas": (0.0, 0.9)}
    module = Adversarial(model, updates=100, batch_size=128, lr=2e-3, **(PLAIN | settings))
    play(module, train, 100, 128)
    after = slopes(model, train)
    assert abs(before - 1) > 0.3
    assert after.mean().item() == pytest.approx(1, abs=0.1)
    assert after.std() < 0.25


def slopes(model: AdversarialModel, real: Tensor) -> Tensor:
    """Return |grad critic| between real and generated examples."""
    fake = model.generate(1000).detach()
    x = torch.lerp(real[:1000], fake, torch.rand(1000, 1)).requires_grad_()
    return torch.autograd.grad(model.critic(x).sum(), x)[0].norm(dim=1)


def moons() -> Tensor:
    return toy("moons")[0]


def toy(name: str) -> tuple[Tensor, Tensor]:
    from zoo.config import compose_run, to_dict
    from zoo.running.data import prepare_data

    splits = prepare_data(to_dict(compose_run([f"data={name}"]).data)).splits
    return splits["train"], splits["test"]


def coverage(x: Tensor) -> tuple[int, float]:
    """Return the modes of 8gaussians with at least an eighth of their share, and the share within 3 sigma."""
    angle = torch.arange(8) * math.pi / 4
    centres = 4 / 1.414 * torch.stack([angle.cos(), angle.sin()], 1)
    distance, nearest = torch.cdist(x, centres).min(1)
    close = distance < 3 * 0.5 / 1.414
    counts = torch.bincount(nearest[close], minlength=8)
    return int((counts > len(x) / 64).sum()), close.float().mean().item()


def cover(name: str, updates: int, hidden: int = 128, **settings: object) -> tuple[int, float]:
    train, _ = toy("8gaussians")
    model = zoo.build(name, PLANE, latent_dim=2, hidden=hidden, depth=3)
    settings = PLAIN | {"clip": None, "ema": 0.98} | settings
    module = Adversarial(model, updates=updates, batch_size=256, **settings)
    play(module, train, updates, 256)
    return coverage(module.evaluated.sample(2000, seed=0))


def test_coverage_counts_the_modes_and_the_points_near_one() -> None:
    train, test = toy("8gaussians")
    assert coverage(test)[0] == 8
    assert coverage(test)[1] == pytest.approx(
        1 - math.exp(-4.5), abs=0.01
    )  # within 3 sigma, in two dimensions
    noise_like = train.std(0) * torch.randn(2000, 2)
    assert coverage(noise_like)[1] < 0.7
    assert coverage(test[test[:, 0] > 1])[0] < 5


WGAN_GP = {"loss": "wasserstein", "gradient_penalty": 0.1, "betas": (0.5, 0.9), "schedule": "linear"}


def test_wgan_gp_covers_eight_gaussians() -> None:
    modes, share = cover("wgan_gp", 250, hidden=64, critic_steps=3, lr=4e-3, **WGAN_GP)
    assert modes == 8
    assert share > 0.8


@pytest.mark.slow
def test_gans_cover_eight_gaussians_well() -> None:
    modes, share = cover("wgan_gp", 1500, critic_steps=5, lr=1e-3, **WGAN_GP)
    assert modes == 8
    assert share > 0.92
    modes, share = cover("gan", 2000, r1=0.1, lr=1e-3, betas=(0.0, 0.9))
    assert modes == 8
    assert share > 0.8


# Losses and regularisers ------------------------------------------------------------------------------------


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


GAMES = {  # the losses of the papers, for real and generated logits
    "minimax": (
        lambda real, fake: -np.mean(np.log(sigmoid(real))) - np.mean(np.log(1 - sigmoid(fake))),
        lambda fake: np.mean(np.log(1 - sigmoid(fake))),
    ),
    "non_saturating": (
        lambda real, fake: -np.mean(np.log(sigmoid(real))) - np.mean(np.log(1 - sigmoid(fake))),
        lambda fake: -np.mean(np.log(sigmoid(fake))),
    ),
    "least_squares": (
        lambda real, fake: np.mean((real - 1) ** 2) / 2 + np.mean(fake**2) / 2,
        lambda fake: np.mean((fake - 1) ** 2) / 2,
    ),
    "hinge": (
        lambda real, fake: -np.mean(np.minimum(0, real - 1)) - np.mean(np.minimum(0, -fake - 1)),
        lambda fake: -np.mean(fake),
    ),
    "wasserstein": (
        lambda real, fake: np.mean(fake) - np.mean(real),
        lambda fake: -np.mean(fake),
    ),
}


def test_every_loss_is_tested() -> None:
    assert GAMES.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", GAMES)
def test_losses_equal_those_of_the_papers(name: str) -> None:
    real = np.array([-3.0, -0.5, 0.0, 0.7, 1.5, 4.0])  # on both sides of the hinge
    fake = np.array([-4.0, -1.5, -0.2, 0.3, 1.2, 2.5])
    logits = [torch.from_numpy(values) for values in (real, fake)]
    module = Adversarial(Witness(), updates=1, batch_size=1, loss=name)
    assert module.critic_loss(*logits).item() == pytest.approx(GAMES[name][0](real, fake), rel=1e-12)
    assert module.generator_loss(logits[1]).item() == pytest.approx(GAMES[name][1](fake), rel=1e-12)


def test_the_critic_sees_augmented_images_and_the_generator_gets_gradients(
    monkeypatch,
) -> None:
    model = zoo.build("gan", DIGITS, width=4, hidden=8, latent_dim=2)
    seen: list[Tensor] = []
    model.critic.register_forward_hook(lambda module, args, out: seen.append(args[0].detach().clone()))

    def gradient_and_sight(augment: list[str]) -> tuple[list[Tensor], list[Tensor]]:
        module = Adversarial(model, updates=1, batch_size=4, lr=0.0, r1=0.0, augment=augment)
        gradients: list[Tensor] = []

        def descend(loss: Tensor, optimizer: object, player: nn.Module, name: str) -> Tensor:
            if name == "generator":
                gradients.extend(torch.autograd.grad(loss, list(player.parameters())))
            return loss.new_zeros(())

        monkeypatch.setattr(module, "descend", descend)
        monkeypatch.setattr(module, "optimizers", lambda: [None, None])
        seen.clear()
        x = torch.randint(17, (4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
        with rng.keyed(rng.keys(3, count=4)):
            module.update(x, None)
        return gradients, list(seen)

    monkeypatch.setitem(AUGMENTATIONS, "colour", lambda x: x + 3)
    monkeypatch.setitem(AUGMENTATIONS, "cutout", lambda x: 0 * x)
    plain, plain_sight = gradient_and_sight([])
    shifted, shifted_sight = gradient_and_sight(["colour"])
    assert len(plain_sight) == 3  # real, generated, and generated anew for the generator's step
    for before, after in zip(plain_sight, shifted_sight, strict=True):
        assert before.abs().max() <= 1
        torch.testing.assert_close(after, before + 3)
    assert all(gradient.abs().max() > 0 for gradient in plain)
    assert sum(gradient.abs().sum() for gradient in shifted) > 0
    hidden, hidden_sight = gradient_and_sight(["colour", "cutout"])  # the critic's input is constant
    assert all((x == 0).all() for x in hidden_sight)
    assert all((gradient == 0).all() for gradient in hidden)


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_every_loss_combines_with_every_regulariser(regulariser: str) -> None:
    for loss, norm in itertools.product(LOSSES, ("none", "spectral")):
        torch.manual_seed(0)
        model = zoo.build("gan", PLANE, critic_norm=norm, hidden=8, latent_dim=2)
        before = [p.clone() for p in model.parameters()]
        settings = PLAIN | REGULARISERS[regulariser]
        module = Adversarial(model, updates=2, batch_size=8, loss=loss, critic_steps=2, lr=1e-3, **settings)
        fit(module, torch.randn(64, 2), 2, 8)
        assert all(math.isfinite(v) for v in module.latest.values())
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        if "weight_clip" in settings:
            assert max(p.abs().max() for p in model.critic.parameters()) <= 0.1
        penalised = {"gradient_penalty", "r1"} & REGULARISERS[regulariser].keys()
        assert (module.latest["train/penalty"] > 0) == bool(penalised)


def test_penalties_of_a_linear_critic_equal_their_formulas() -> None:
    """D(x) = a x has slope |a| everywhere, so the penalties are lambda (|a| - 1)^2 and gamma/2 a^2."""
    for loss in ("hinge", "wasserstein"):
        model = Duel(1.0, 0.0)
        model.critic.features, model.critic.head = nn.Identity(), nn.Linear(1, 1)
        nn.init.constant_(model.critic.head.weight, 3.0)
        for settings, expected in (
            ({"gradient_penalty": 5.0}, 5 * 2**2),
            ({"r1": 4.0}, 4 / 2 * 3**2),
            ({"gradient_penalty": 5.0, "r1": 4.0}, 38),
        ):
            values = duel(model, torch.randn(50, 1), 1, 16, loss=loss, critic_lr=0.0, **settings)
            assert values["train/penalty"] == pytest.approx(expected, rel=1e-5)


def test_rmsprop_has_its_decay_from_betas_and_a_linear_rate_ends_at_zero() -> None:
    module = Adversarial(
        zoo.build("gan", PLANE), updates=100, batch_size=4, optimizer="rmsprop", betas=(0.0, 0.9),
        schedule="linear",
    )  # fmt: skip
    (group,) = module.configure_optimizers()[0].param_groups
    assert (group["alpha"], group["momentum"]) == (0.9, 0.0)
    factors = [module.schedule.factor(update) for update in range(101)]
    assert factors == pytest.approx([1 - i / 100 for i in range(101)])


# Both networks at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "of_model", "settings"),
    [
        ("pacgan", {"hidden": [8, 8], "critic_hidden": [6, 6], "start": 0.5}, {}),
        (
            "pacgan",
            {"hidden": [8], "critic_hidden": [6, 6], "start": 0.5, "conditional": True},
            {"r1": 0.5, "gradient_penalty": 2.0},
        ),
        (
            "gan",
            {"hidden": 8, "critic_norm": "spectral", "conditional": True},
            {"r1": 0.5, "clip": 0.01, "weight_clip": 0.3, "critic_lr": 0.02},
        ),
    ],
    ids=["packs", "labels and penalties", "spectral norm and bounds"],
)
def test_simultaneous_updates_take_both_gradients_at_the_old_weights(name, of_model, settings) -> None:
    """Against two optimisers of torch and both losses' gradients written out, one batch after another."""
    spec = zoo.DataSpec((2,), classes=3)
    model = zoo.build(name, spec, latent_dim=2, **of_model).double()
    ours, lr, critic_lr = copy.deepcopy(model), 0.01, settings.get("critic_lr", 0.01)
    module = Adversarial(
        ours, updates=9, batch_size=8, lr=lr, simultaneous=True,
        **{"ema": 0.0, "r1": 0.0, "betas": (0.5, 0.9)} | settings,
    )  # fmt: skip
    optimizers = module.configure_optimizers()
    module.optimizers, module.manual_backward = lambda: optimizers, Tensor.backward
    players = [(model.generator, lr), (model.critic, critic_lr)]
    by_hand = [torch.optim.Adam(player.parameters(), lr=rate, betas=(0.5, 0.9)) for player, rate in players]
    for update in range(3):
        x, y = torch.randn(8, 2, dtype=torch.float64), torch.randint(3, (8,))
        with rng.keyed(rng.keys(update, count=8)):
            values = module.update(x, y if model.conditional else None)
        with rng.keyed(rng.keys(update, count=8)):
            labels = F.one_hot(y, 3).double() if model.conditional else None
            fake, real = model.generate(8, context=labels), x.clone().requires_grad_()
            on_real, on_fake = model.critic(real, labels), model.critic(fake, labels)
            critic_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
            penalty = torch.zeros(())
            if "r1" in settings:
                (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
                penalty = settings["r1"] / 2 * slope.square().sum(1).mean()
            if "gradient_penalty" in settings:
                between = torch.lerp(x, fake.detach(), rng.uniform(x.new_empty(8, 1))).requires_grad_()
                total = model.critic(between, labels).sum()
                (slope,) = torch.autograd.grad(total, between, create_graph=True)
                penalty = penalty + settings["gradient_penalty"] * (slope.norm(dim=1) - 1).square().mean()
            losses = F.softplus(-on_fake).mean(), critic_loss + penalty
        for loss, (player, _) in zip(losses, players, strict=True):
            weights = list(player.parameters())
            gradients = torch.autograd.grad(loss, weights, retain_graph=True)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            if "clip" in settings:
                nn.utils.clip_grad_norm_(weights, settings["clip"])
        for optimizer in by_hand:
            optimizer.step()
        if "weight_clip" in settings:
            for weight in model.critic.parameters():
                weight.data.clamp_(-settings["weight_clip"], settings["weight_clip"])
        torch.testing.assert_close(
            [values["train/loss"], values["train/critic_loss"], values["train/penalty"]],
            [losses[0], critic_loss, penalty], check_dtype=False,
        )  # fmt: skip
    torch.testing.assert_close(ours.state_dict(), model.state_dict(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_simultaneous_updates_spiral_outwards_where_alternating_ones_circle(simultaneous: bool) -> None:
    """The Dirac-GAN of Mescheder et al. 2018: a critic psi x, a generator of the point theta, data at 0.

    Each simultaneous step of length h multiplies psi^2 + theta^2 by exactly 1 + h^2. Alternating steps stay
    near a circle: psi^2 + theta^2 - h psi theta does not change.
    """
    model, h, updates = Duel(scale=0.0, shift=1.0), 0.1, 200
    model.generator.scale.requires_grad_(False)
    model.critic.features, model.critic.head = nn.Identity(), nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.critic.head.weight, 0.5)
    module = Adversarial(
        model, updates=updates, batch_size=4, loss="wasserstein", optimizer="sgd", lr=h, betas=(0.0, 0.9),
        r1=0.0, ema=0.0, simultaneous=simultaneous,
    )  # fmt: skip
    play(module, torch.zeros(4, 1), updates, 4)
    psi, theta = model.critic.head.weight.item(), model.generator.shift.item()
    if simultaneous:
        assert psi**2 + theta**2 == pytest.approx(1.25 * (1 + h**2) ** updates, rel=1e-3)
    else:
        assert psi**2 + theta**2 - h * psi * theta == pytest.approx(1.25 - h * 0.5, rel=1e-3)


# Data and noise ---------------------------------------------------------------------------------------------


class Witness(AdversarialModel):
    """A model that keeps the inputs of its critic."""

    def __init__(self) -> None:
        super().__init__(LINE, latent_dim=1)
        self.generator = Affine(1.0, 0.0)
        self.critic = encoder_critic(LINE, width=0, hidden=4, depth=1, norm="none", context=0)
        self.critic.register_forward_hook(
            lambda module, args, out: self.seen.append(args[0].detach().clone())
        )
        self.seen: list[Tensor] = []


def test_every_critic_step_has_fresh_data_and_the_generator_fresh_noise() -> None:
    model = Witness()
    module = Adversarial(model, updates=3, batch_size=8, critic_steps=4, generator_batches=2, **PLAIN)
    fit(module, torch.arange(1000.0, 1960.0)[:, None], 3, 8)
    assert module.updates == 3
    assert module.images_seen == 3 * 8 * 4  # real examples in the critic's steps
    steps = model.seen[:9]  # the first update: (real, fake) x 4, then the generator's step
    assert [len(x) for x in steps] == [8] * 8 + [16]
    everything = torch.cat(steps).flatten()
    assert len(everything.unique()) >= 8 * 8 + 16 - 3  # a real example may be drawn twice
    assert (torch.cat(steps[0:8:2]) >= 1000).all()


def test_two_processes_use_the_data_and_noise_of_one() -> None:
    """Critic step j of two ranks together has the same examples and noise as in one process."""
    batch, critic_steps = 12, 3
    x = torch.arange(100.0, 100.0 + batch * critic_steps)[:, None]

    def shown(x: Tensor, first: int) -> list[Tensor]:
        settings = PLAIN | {"critic_steps": critic_steps, "lr": 0.0}
        module = Adversarial(Witness(), updates=1, batch_size=batch, **settings)
        optimizers = module.configure_optimizers()
        module.optimizers, module.manual_backward = lambda: optimizers, lambda loss: loss.backward()
        with rng.keyed(rng.keys(5, count=len(x), first=first)):
            module.update(x, None)
        return module.model.seen

    alone = shown(x, 0)
    ranks = zip(shown(x[:18], 0), shown(x[18:], 18), strict=True)
    for whole, parts in zip(alone, ranks, strict=True):
        torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("name", ["sngan", "wgan"])
def test_a_resumed_adversarial_training_ends_like_an_uninterrupted_one(name: str, tmp_path) -> None:
    """Both players, both optimisers, averaged weights, spectral vectors and counters, bit for bit."""
    from zoo.config import compose_run, to_dict

    settings = to_dict(compose_run([f"model={name}"]).training)
    del settings["_target_"]
    settings |= {"updates": 4, "batch_size": 8, "critic_steps": 2, "augment": ["translation", "colour"]}
    x = torch.randint(17, (64, 1, 8, 8), generator=torch.Generator().manual_seed(1))

    def fresh() -> Adversarial:
        torch.manual_seed(2)
        return Adversarial(zoo.build(name, DIGITS, width=8, latent_dim=4), **settings)

    class SaveAtTwo(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if pl_module.updates == 2:
                trainer.save_checkpoint(tmp_path / "cut.ckpt")

    whole, second = fresh(), fresh()
    trainer(SaveAtTwo()).fit(whole, batches(x, 16, 4))
    torch.manual_seed(99)  # a new process has another random state
    trainer().fit(second, batches(x, 16, 4, first=2), ckpt_path=tmp_path / "cut.ckpt", weights_only=True)
    assert (second.updates, second.images_seen) == (whole.updates, whole.images_seen) == (4, 64)
    expected, resumed = whole.state_dict(), second.state_dict()
    assert any(key.startswith("ema.") for key in expected)
    assert any("parametrizations" in key and key.endswith("_u") for key in expected) == (name == "sngan")
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    for a, b in zip(whole.optimizers(), second.optimizers(), strict=True):
        for p, q in zip(a.param_groups[0]["params"], b.param_groups[0]["params"], strict=True):
            assert all(torch.equal(v, b.state[q][k]) for k, v in a.state[p].items())


def test_both_generator_and_critic_use_the_labels() -> None:
    """The label determines the mean of the data; the conditional generator learns both means."""
    torch.manual_seed(0)
    spec = zoo.DataSpec((2,), classes=2)
    y = torch.randint(2, (512,))
    x = (2.0 * y - 1)[:, None] * torch.tensor([2.0, 2.0]) + 0.1 * torch.randn(512, 2)

    class Pairs(torch.utils.data.IterableDataset):
        def __iter__(self):
            generator = torch.Generator().manual_seed(0)
            for _ in range(300):
                rows = torch.randint(512, (64,), generator=generator)
                yield x[rows], y[rows]

    model = zoo.build("gan", spec, conditional=True, hidden=32)
    module = Adversarial(
        model, updates=300, batch_size=64, r1=1.0, lr=1e-3, betas=(0.0, 0.99), schedule="constant",
        clip=None, ema=0.99,
    )  # fmt: skip
    trainer().fit(module, torch.utils.data.DataLoader(Pairs(), batch_size=None))
    for label in (0, 1):
        x = module.evaluated.sample(200, y=label, seed=0)
        assert (x.mean(0) - 2 * (2 * label - 1)).abs().max() < 0.5  # without labels it would be 0 for both
        assert x.std(0).max() < 0.6  # 0.1 for the data of one label, 2 for those of both


class Bare(nn.Module):
    """What the protocol asks of a model of adversarial training, and nothing more."""

    likelihood = "none"

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = Affine(1.0, 0.0), nn.Linear(1, 1)

    def generate(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        return self.generator(torch.randn(n, 1))

    def to_network(self, x: Tensor) -> Tensor:
        return x


class Labelled(Bare):
    conditional = True


@pytest.mark.parametrize(
    ("model", "settings", "needed"),
    [(Bare, {"augment": ["colour"]}, "model.spec"), (Labelled, {}, "one_hot")],
)
def test_what_augmented_images_and_labels_need_of_a_model_is_refused_before_training(model, settings, needed):
    with pytest.raises(ZooError, match=needed):
        Adversarial(model(), updates=1, batch_size=2, **settings)
    assert Adversarial(Bare(), updates=1, batch_size=2).players.critic is not None
