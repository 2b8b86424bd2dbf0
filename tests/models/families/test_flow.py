"""Tests of all flows: the temperature of samples and the preprocessing of pixels."""

from __future__ import annotations

import math

import pytest
import torch

import zoo
from zoo.models.core import rng
from zoo.models.core.settings import Pixels
from zoo.models.families.flow import Flow, preprocess

N, TEMPERATURE, SEED = 5, 0.6, 11
SMALL = {
    "tarflow": {"blocks": 2, "width": 16, "layers": 1},
    "ffjord": {"hidden": [8, 8], "solver": {"method": "rk4", "steps": 40}},
    "iresnet": {"blocks": 2, "hidden": [8]},
    "residual_flow": {"blocks": 1, "hidden": [8]},
    "realnvp": {"layers": 3, "hidden": [8]},
    "glow": {"levels": 1, "steps": 2, "hidden": [8]},
    "nsf_coupling": {"steps": 2, "hidden": 8},
    "nsf_autoregressive": {"steps": 2, "hidden": 8},
    "iaf": {"layers": 2, "hidden": [8]},
    "maf": {"layers": 2, "hidden": [8]},
    "made": {"hidden": [8]},
}


@pytest.mark.parametrize("base", ["normal", "diagonal"])
@pytest.mark.parametrize("name", SMALL)
def test_temperature_scales_the_latents_of_samples(name: str, base: str) -> None:
    flow = zoo.build(name, zoo.DataSpec((3,)), base=base, **SMALL[name]).double().eval()
    assert isinstance(flow, Flow)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        latents, _ = flow.transform(flow.sample(N, TEMPERATURE, seed=SEED))
        with rng.keyed(rng.keys(SEED, count=N)):
            draw = rng.normal(torch.empty(N, 3, dtype=torch.float64))
        if base == "diagonal":
            mean, log_std, _ = flow.base.mixture(None)
            expected = mean[:, 0] + TEMPERATURE * log_std[:, 0].exp() * draw
        else:
            expected = TEMPERATURE * draw
    torch.testing.assert_close(latents.flatten(1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("pixel", "unit"),  # with a = 1/20 and 4 levels: s = a + (1 - 2a) x / 4
    [(0, 0.05), (2, 0.5), (3, 0.725), (4, 0.95)],  # both margins are a: the upper end is 1 - a
)
def test_the_logit_keeps_one_margin_at_both_ends(pixel: int, unit: float) -> None:
    x = torch.full((1, 1, 2, 2), pixel, dtype=torch.float64)
    z, log_det = preprocess(zoo.DataSpec((1, 2, 2), 4), Pixels(alpha=0.05))(x)
    torch.testing.assert_close(z, torch.full_like(x, math.log(unit / (1 - unit))))
    assert log_det.item() == pytest.approx(4 * math.log(0.9 / 4 / (unit * (1 - unit))), rel=1e-12)
