"""The GAN's two players."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from shapes import data, every_spec

from zoo.data.spec import DataSpec
from zoo.errors import NoLikelihood, ZooError
from zoo.models.gan import GAN

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@every_spec
def test_gan_on_every_shape(spec: DataSpec) -> None:
    model = GAN(spec)
    fakes = model.generate(4)
    assert fakes.shape == (4, *spec.shape)
    if spec.levels is not None:
        assert fakes.abs().max() <= 1
    logits = model.critic(fakes)
    assert logits.shape == (4,)
    logits.sum().backward()
    # (A batch can leave a ReLU network's last biases without effect, never all of its weights.)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.generator.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.critic.parameters())
    assert model.critic(model.to_network(data(spec, 3))).shape == (3,)
    samples = model.sample(5, seed=1)
    assert samples.shape == (5, *spec.shape)
    spec.check(samples)
    with pytest.raises(NoLikelihood):
        model.log_prob(samples)


def test_gan_samples_follow_from_the_seed() -> None:
    model = GAN(DataSpec((1, 8, 8), 17))
    samples = model.sample(6, seed=7)
    assert samples.equal(model.sample(6, seed=7))
    assert not samples.equal(model.sample(6, seed=8))
    assert samples[:3].equal(model.sample(3, seed=7))
    assert samples.equal(model.eval().sample(6, seed=7))  # no norm that knows the batch or the mode
    assert model.sample(6, temperature=0.0, seed=1).equal(model.sample(6, temperature=0.0, seed=2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [2, 4, 17, 256, 65536])
def test_network_space_round_trip_is_exact(levels: int, dtype: torch.dtype) -> None:
    model = GAN(DataSpec((1,), levels))
    x = torch.arange(levels, dtype=dtype)[:, None]
    y = model.to_network(x)
    assert y.min() == -1
    assert y.max() == pytest.approx(1, abs=1e-6)
    assert model.from_network(y).equal(x)


def test_gan_in_double_precision_with_every_critic_norm() -> None:
    for norm in ("none", "group", "spectral"):
        model = GAN(DataSpec((1, 8, 8), 17), critic_norm=norm).double()
        x = model.to_network(data(model.spec, 3, torch.float64)).requires_grad_()
        (slope,) = torch.autograd.grad(model.critic(x).sum(), x, create_graph=True)
        slope.square().sum().backward()  # a gradient penalty differentiates twice
        assert model.sample(2).dtype == torch.float64


def test_gan_refuses_batch_norm() -> None:
    for key in ("generator_norm", "critic_norm"):
        with pytest.raises(ZooError):
            GAN(DataSpec((1, 8, 8), 17), **{key: "batch"})


# Settings ---------------------------------------------------------------------------------------------------


def test_the_shipped_settings_are_the_defaults() -> None:
    settings = OmegaConf.to_container(OmegaConf.load(CONF / "gan.yaml"))
    assert settings.pop("_target_") == "zoo.models.gan.GAN"
    assert {"override /training@_global_.training": "adversarial"} in settings.pop("defaults")
    spec = DataSpec((1, 8, 8), 17)
    shipped = sum(p.numel() for p in GAN(spec, **settings).parameters())
    assert shipped == sum(p.numel() for p in GAN(spec).parameters())
    assert 100_000 < shipped < 300_000
