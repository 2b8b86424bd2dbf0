"""Training under bf16-mixed follows float32 in every family, with weights and averages in float32."""

from __future__ import annotations

import pytest
import torch
from fitting import batches, trainer

import zoo
from zoo.training.adversarial import Adversarial
from zoo.training.likelihood import MaximumLikelihood
from zoo.training.matching import Matching

SPEC = zoo.DataSpec((1, 4, 4), levels=8)
UPDATES = 5
MODULES = {"maximum_likelihood": MaximumLikelihood, "matching": Matching, "adversarial": Adversarial}
SETTINGS = {
    "maf": {"layers": 2, "hidden": [32]},
    "realnvp": {"width": 8, "scales": 1},
    "glow": {"width": 16, "steps": 2},
    "nsf_coupling": {"width": 8},
    "tarflow": {"width": 32, "layers": 1},
    "iresnet": {"blocks": 2, "width": 8},
    "residual_flow": {"blocks": 1, "width": 8},
    "ffjord": {"solver": {"method": "rk4", "steps": 2}},
    "flow_matching": {"unet": {"channels": 8, "multipliers": [1]}},
    "diffusion": {"unet": {"channels": 8, "multipliers": [1]}},
    "pixelcnn": {"width": 8, "layers": 2},
    "vae": {"width": 8, "hidden": 16, "latent_dim": 4},
    "gan": {"width": 8, "hidden": 16, "latent_dim": 4},
}


def small(name):
    """Return a small model with fixed weights."""
    torch.manual_seed(0)
    return zoo.build(name, SPEC, **SETTINGS[name])


def trajectory(name, precision):
    """Return the losses of all updates, and the training module."""
    model = small(name)
    losses = []

    class Recording(MODULES[model.objective]):
        def update(self, x, y):
            values = super().update(x, y)
            losses.append(float(values["train/loss"]))
            return values

    module = Recording(model, updates=UPDATES, batch_size=32, ema=0.9, warmup=2, lr=1e-3, seed=0)
    x = torch.randint(SPEC.levels, (200, *SPEC.shape), generator=torch.Generator().manual_seed(0))
    trainer(precision=precision).fit(module, batches(x, 32 * module.batches_per_update, UPDATES))
    return torch.tensor(losses), module


@pytest.mark.parametrize("name", SETTINGS)
def test_losses_under_bfloat16_are_those_in_float32_within_two_percent(name):
    single, _ = trajectory(name, "32-true")
    mixed, module = trajectory(name, "bf16-mixed")
    assert len(mixed) == UPDATES
    torch.testing.assert_close(mixed, single, rtol=0.02, atol=0.002)
    weights = [*module.model.parameters(), *module.ema.module.parameters()]
    assert {weight.dtype for weight in weights} == {torch.float32}
    start = dict(small(name).named_parameters())
    moved = [not torch.equal(p, start[n]) for n, p in module.ema.module.named_parameters()]
    assert any(moved), "the averaged weights follow"
