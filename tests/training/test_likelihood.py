"""Maximum likelihood: the unit of the loss, the weight of a KL, another estimate for validation."""

from __future__ import annotations

import pytest
import torch
from fitting import Line, fit

import zoo
from zoo.errors import ZooError
from zoo.training.likelihood import MaximumLikelihood

PLANE, BITS = zoo.DataSpec((2,)), zoo.DataSpec((6,), levels=2)


def test_the_loss_is_per_dimension_or_per_example():
    x = torch.randn(5, 2)
    dimension, example = (
        MaximumLikelihood(Line(PLANE), updates=1, batch_size=5, loss_per=unit).loss(x, None)
        for unit in ("dimension", "example")
    )
    torch.testing.assert_close(example, 2 * dimension)
    torch.testing.assert_close(example, 0.5 * x.square().sum(1).mean())


def test_a_penalty_per_example_is_the_one_of_the_papers():
    """|w - mean|^2 / 2 + c/2 |w|^2 has its minimum at mean / (1 + c)."""
    x = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    module = MaximumLikelihood(
        Line(PLANE), updates=300, batch_size=2, loss_per="example", weight_decay=0.5, optimizer="sgd", lr=0.1,
        betas=[0.0, 0.0], schedule="constant", warmup=0, clip=None,
    )  # fmt: skip
    module.compiled_loss = None
    model = fit(module, x.repeat(64, 1), 300, batch=128)
    torch.testing.assert_close(model.mean.detach(), x.mean(0) / 1.5, atol=0.1, rtol=0)


def test_the_weight_of_the_divergence_grows_linearly_to_betas_value():
    model = zoo.build("vae_dense", BITS, latent_dim=1, encoder=[3], decoder=[3], beta=0.5)
    module = MaximumLikelihood(model, updates=10, batch_size=2, beta_warmup=4)
    weights = []
    for update in range(6):
        module.updates = update
        module.loss(torch.zeros(2, 6), None)
        weights.append(model.beta)
    assert weights == [0.0, 0.125, 0.25, 0.375, 0.5, 0.5]


@pytest.mark.parametrize(
    ("model", "settings"), [("maf", {}), ("vae_dense", {"compile": True})], ids=["no KL", "compiled"]
)
def test_a_warm_up_of_beta_that_would_have_no_effect_is_refused(model, settings):
    with pytest.raises(ZooError, match=r"training\.beta_warmup"):
        MaximumLikelihood(zoo.build(model, BITS), updates=2, batch_size=2, beta_warmup=1, **settings)


def test_an_attribute_beta_of_ones_own_model_is_not_a_weight_of_a_divergence():
    model = Line(PLANE)
    model.beta = 7.0
    with pytest.raises(ZooError, match=r"training\.beta_warmup weighs the KL of a VAE"):
        MaximumLikelihood(model, updates=2, batch_size=2, beta_warmup=1)
    assert model.beta == 7.0


def test_validation_is_by_the_models_own_estimate_if_it_has_one():
    model = zoo.build("made_binary", BITS, hidden=[4], masks=0, order="random", validation_masks=1).eval()
    module = MaximumLikelihood(model, updates=1, batch_size=2)
    x = torch.randint(2, (5, 6)).float()
    with torch.no_grad():
        torch.testing.assert_close(module.validation_values(x, None), -model.of_draw(x, 0) / 6)
        assert not torch.allclose(module.validation_values(x, None), -model.log_prob(x) / 6)
