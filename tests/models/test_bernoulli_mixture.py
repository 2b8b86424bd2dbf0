"""The mixture of Bernoullis: expectation maximisation against a plain implementation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import ZooError

SPEC = zoo.DataSpec((5,), levels=2)


def bits(n, seed=0):
    """Two kinds of rows, whose ones are elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    odds = torch.tensor([[0.9, 0.8, 0.7, 0.2, 0.1], [0.1, 0.1, 0.3, 0.9, 0.6]])
    kind = torch.randint(2, (n,), generator=generator)
    return (torch.rand(n, 5, generator=generator) < odds[kind]).double()


def test_a_step_is_the_one_of_the_textbook():
    torch.manual_seed(0)
    model = zoo.build("bernoulli_mixture", SPEC, components=3, pseudo_count=0.25).double()
    x = bits(60)
    p, pi = torch.sigmoid(model.logits[0]).detach().numpy(), np.full(3, 1 / 3)
    r = np.zeros((60, 3))
    for i in range(60):
        for k in range(3):
            r[i, k] = pi[k] * np.prod(np.where(x[i].numpy() == 1, p[k], 1 - p[k]))
    likelihood = np.log(r.sum(1)).mean()
    r /= r.sum(1, keepdims=True)
    before = model.maximise(model.statistics(x))
    assert before.item() == pytest.approx(likelihood)
    expected = (r.T @ x.numpy() + 0.25) / (r.sum(0)[:, None] + 0.5)
    np.testing.assert_allclose(torch.sigmoid(model.logits[0]).detach().numpy(), expected)
    np.testing.assert_allclose(model.weight[0].softmax(0).detach().numpy(), r.mean(0))


def test_the_likelihood_never_falls_and_one_component_is_the_mean():
    torch.manual_seed(0)
    x = bits(300)
    model = zoo.build("bernoulli_mixture", SPEC, components=2, pseudo_count=1e-9).double()
    values = [model.maximise(model.statistics(x)).item() for _ in range(12)]
    assert all(b > a - 1e-12 for a, b in itertools.pairwise(values))
    assert values[-1] > values[1] + 0.1, "the two kinds are told apart"
    single = zoo.build("bernoulli_mixture", SPEC, components=1, pseudo_count=1e-9).double()
    single.maximise(single.statistics(x))
    torch.testing.assert_close(torch.sigmoid(single.logits[0, 0]).detach(), x.mean(0))


def test_one_component_is_the_smoothed_product_of_bernoullis():
    """(k + 1) / (n + 2): the fingerprint of the binary tables."""
    x = bits(40)
    model = zoo.build("bernoulli_mixture", SPEC, components=1, pseudo_count=1.0).double()
    model.maximise(model.statistics(x))
    p = (x.sum(0) + 1) / (len(x) + 2)
    expected = torch.where(x == 1, p.log(), (1 - p).log()).sum(1)
    torch.testing.assert_close(model.eval().log_prob(x).detach(), expected)


def test_samples_follow_the_probabilities():
    torch.manual_seed(0)
    spec = zoo.DataSpec((3,), levels=2)
    model = zoo.build("bernoulli_mixture", spec, components=2).double().eval()
    with torch.no_grad():
        model.logits.mul_(4)
        model.weight.copy_(torch.tensor([[0.0, 1.5]]))
    everything = torch.cartesian_prod(*[torch.arange(2)] * 3)
    p = model.log_prob(everything).exp()
    assert p.sum().item() == pytest.approx(1)
    codes = (model.sample(20_000, seed=0) @ torch.tensor([4.0, 2.0, 1.0]).double()).long()
    shares = torch.bincount(codes, minlength=8) / 20_000
    assert (shares - p).abs().max() < 4 * math.sqrt(0.25 / 20_000)


def test_data_of_more_levels_are_refused():
    with pytest.raises(ZooError, match="17 levels"):
        zoo.build("bernoulli_mixture", zoo.DataSpec((1, 8, 8), 17))
    with pytest.raises(ZooError, match="continuous"):
        zoo.build("bernoulli_mixture", zoo.DataSpec((2,)))
