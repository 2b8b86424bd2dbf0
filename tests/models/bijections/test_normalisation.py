"""Tests of activation and batch normalisation: when statistics are set, and the log-determinants."""

from __future__ import annotations

import copy

import pytest
import torch
from contract import check_bijection, roughen
from flow_tools import COUPLINGS, perturbed

import zoo
from zoo.data.spec import DataSpec
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.batchnorm import BatchNorm


def test_actnorm_sets_itself_once_and_remembers():
    layer = ActNorm(3)
    x = 5 + 2 * torch.randn(500, 3, 4, 4)
    layer.eval()
    torch.testing.assert_close(layer(x)[0], x)
    layer.train()
    z, _ = layer(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    before = layer.bias.clone()
    layer(x + 100)
    assert torch.equal(layer.bias, before)
    fresh = ActNorm(3)
    fresh.load_state_dict(layer.state_dict())
    fresh.train()(x + 100)
    assert torch.equal(fresh.bias, before)


@pytest.mark.parametrize("shape", [(5,), (3, 2, 3)])
def test_actnorm_has_the_log_determinant_of_its_scales_at_every_pixel(shape):
    layer = roughen(ActNorm(shape[0]), 0.3)
    layer.initialised.fill_(True)
    check_bijection(layer, torch.randn(4, *shape))


def test_actnorm_keeps_its_digits_at_a_large_mean():
    x = 1e9 + torch.randn(500, 3, dtype=torch.float64)
    z, _ = ActNorm(3).double().train()(x)
    torch.testing.assert_close(z.std(0), torch.ones(3, dtype=torch.float64), atol=5e-3, rtol=0)


def test_actnorm_survives_a_constant_channel():
    z, log_det = ActNorm(2).train()(torch.full((4, 2), 3.0))
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()


def test_actnorm_sets_itself_only_in_a_training_forward():
    layer, x = ActNorm(2), 5 + torch.randn(50, 2)
    layer.eval()(x)
    layer.train().inverse(x)
    layer(x[:0])
    assert not layer.initialised
    untouched = {key: value.clone() for key, value in layer.state_dict().items()}
    layer(x)
    assert layer.initialised
    layer.load_state_dict(untouched)
    z, _ = layer(x - 9)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", COUPLINGS)
def test_first_batch_sets_every_actnorm_and_a_reload_keeps_the_density(name):
    spec = DataSpec((1, 4, 4), levels=17)
    x = torch.randint(0, 17, (32, *spec.shape))
    model = zoo.build(name, spec, width=8).train()
    model.log_prob(x)
    assert all(layer.initialised for layer in model.modules() if isinstance(layer, ActNorm))
    other = zoo.build(name, spec, width=8)
    other.load_state_dict(model.state_dict())
    other.train().log_prob(x[:3])
    torch.testing.assert_close(other.eval().log_prob(x), model.eval().log_prob(x))


@pytest.mark.parametrize("shape", [(5,), (3, 2, 3)])
def test_batchnorm_is_a_bijection_once_trained(shape):
    layer = roughen(BatchNorm(shape[0]), 0.3)
    for _ in range(3):
        layer.train()(2 + 3 * torch.randn(50, *shape))
    check_bijection(layer, torch.randn(4, *shape))


def test_batchnorm_normalises_its_batch_and_has_that_log_det():
    layer, x = BatchNorm(3).double(), 4 + 2 * torch.randn(500, 3, 2, 2, dtype=torch.float64)
    z, log_det = layer.train()(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0)
    slope = (z[1] - z[0]) / (x[1] - x[0])
    torch.testing.assert_close(log_det[0], slope.log().sum())
    torch.testing.assert_close(layer.mean, 0.1 * x.mean((0, 2, 3)))
    expected = 0.9 + 0.1 * x.var((0, 2, 3), correction=0)
    torch.testing.assert_close(layer.variance, expected)


def test_statistics_of_the_training_set_equal_one_great_batch():
    """The collected statistics equal those of training mode with all of the data in one batch."""
    spec, x = DataSpec((4,)), 3 + 2 * torch.randn(300, 4, dtype=torch.float64)
    model = perturbed("realnvp", spec, layers=3, hidden=[8], normalisation="batchnorm_full")
    running = perturbed("realnvp", spec, layers=3, hidden=[8], normalisation="batchnorm")
    before = copy.deepcopy(running.state_dict())
    for other in (model, running):
        other.on_training_statistics((part, None) for part in x.split(70))
    assert all(torch.equal(value, before[key]) for key, value in running.state_dict().items())
    torch.testing.assert_close(model.eval().log_prob(x), model.train().log_prob(x))


def test_statistics_reach_the_levels_of_an_image_flow():
    spec = DataSpec((1, 4, 4), levels=17, classes=3)
    model = zoo.build("realnvp", spec, width=4, normalisation="batchnorm_full", conditional=True)
    model = roughen(model, 0.05).eval()
    x, y = torch.randint(0, 17, (60, 1, 4, 4)), torch.randint(0, 3, (60,))
    model.on_training_statistics(zip(x.split(25), y.split(25), strict=True))
    z, _ = model.transform(model.dequantise(x.float()), model.one_hot(y, 60))
    assert all(
        not torch.equal(m.mean, torch.zeros_like(m.mean)) for m in model.modules() if isinstance(m, BatchNorm)
    )
    assert z.isfinite().all()
    assert not model.training


@pytest.mark.parametrize("mine", [60, 0, 100])
def test_actnorm_is_the_same_on_all_ranks(monkeypatch, mine):
    """Two processes with parts of a batch, even an empty one, set the same values as one process."""
    x = 5 + 2 * torch.randn(100, 3)
    whole = ActNorm(3).train()
    whole(x)
    other = x[mine:].double()
    others = iter([len(other), other.sum(0), (other - x.double().mean(0)).square().sum(0)])

    def all_reduce(sums, group):
        sums += next(others)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "new_group", lambda timeout: None)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    part = ActNorm(3).train()
    part(x[:mine])
    assert not list(others), "an empty part takes part in every sum"
    torch.testing.assert_close(part.bias, whole.bias)
    torch.testing.assert_close(part.log_scale, whole.log_scale)
