"""Tests of edge cases, such as labels made under ``torch.inference_mode``, which autograd cannot save."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, Unsound, ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.batchnorm import BatchNorm
from zoo.models.core import rng
from zoo.models.iaf import IAF


@pytest.mark.parametrize("name", ["iresnet", "residual_flow", "ffjord", "flow_matching"])
def test_a_density_given_a_label_works_in_inference_mode(name):
    model = zoo.build(name, DataSpec((4,), None, 3), conditional=True).eval()
    x, y = torch.randn(3, 4), torch.tensor([0, 1, 2])
    with torch.no_grad():
        expected = model.log_prob(x, y), model.log_prob(x)
    with torch.inference_mode():
        torch.testing.assert_close((model.log_prob(x, y), model.log_prob(x)), expected)


def test_denoised_samples_of_a_label_and_their_details():
    spec = DataSpec((1, 2, 2), 4, 3)
    settings = {"width": 8, "blocks": 2, "layers": 1, "head_width": 4, "patch": 1}
    settings |= {"pixels": {"preprocessing": "scale"}}
    model = zoo.build(
        "tarflow", spec, **settings, noise="gaussian", noise_std=0.1, conditional=True, guidance=1.5
    ).eval()
    y = torch.tensor([0, 1, 2])
    with torch.no_grad():
        expected = model.sample(3, seed=1, y=y)
    with torch.inference_mode():
        torch.testing.assert_close(model.sample(3, seed=1, y=y), expected)
    assert model.sampling_details() == {"denoised": True, "guidance": 1.5}
    assert zoo.build("tarflow", spec, **settings).sampling_details() == {}


def test_a_batch_of_one_value_cannot_set_actnorm():
    with pytest.raises(ZooError, match=r"training\.batch_size"):
        ActNorm(3)(torch.randn(1, 3))
    ActNorm(3)(torch.randn(1, 3, 2, 2))  # four pixels can
    layer = BatchNorm(3).train()
    with pytest.raises(ZooError, match=r"training\.batch_size"):
        layer(torch.randn(1, 3))
    layer(torch.randn(1, 3, 2, 2))
    layer.eval()(torch.randn(1, 3))


def test_minus_zero_has_the_noise_of_zero():
    assert torch.equal(rng.content_keys(torch.zeros(2, 3)), rng.content_keys(-torch.zeros(2, 3)))


def test_iaf_under_autocast_scores_the_map_that_it_applies():
    torch.manual_seed(0)
    layer = IAF(DataSpec((6,)), layers=1, hidden=[16]).double()
    flow = next(m for m in layer.modules() if type(m).__name__ == "MaskedAffineAutoregressive").float()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    z = torch.randn(6)

    def inverse(value):
        with torch.autocast("cpu", torch.bfloat16):
            return flow.inverse(value[None])

    jacobian = torch.autograd.functional.jacobian(lambda value: inverse(value)[0][0], z)
    slopes = jacobian.diagonal().abs().log().sum()
    torch.testing.assert_close(inverse(z)[1][0], slopes, rtol=0, atol=1e-4)


def test_a_batch_that_is_not_a_tensor_is_an_error():
    with pytest.raises(InvalidData, match="a tensor; got list"):
        zoo.build("maf", DataSpec((2,))).log_prob([[0.0, 1.0]])


def test_an_overflow_inside_is_an_error_not_a_vanishing_density():
    model = zoo.build("realnvp", DataSpec((2,)), layers=1).eval()
    x = torch.ones(3, 2)
    with torch.no_grad():
        assert torch.equal(model.log_prob(1e20 * x), torch.full((3,), -torch.inf))
        for parameter in model.parameters():
            parameter.fill_(1e30)
        with pytest.raises(Unsound, match="latents"):
            model.log_prob(x)
