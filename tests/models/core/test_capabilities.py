"""Tests of the declarations of models and their defaults."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo import record
from zoo.config import options
from zoo.errors import ZooError
from zoo.models.core import capabilities
from zoo.models.core.capabilities import Declaration, SamplingOrder, declared, missing, offers
from zoo.reproduction import schema as reproduction

SPEC = zoo.DataSpec((1, 8, 8), levels=17, classes=10)
BINARY = zoo.DataSpec((1, 8, 8), levels=2)
SEQUENTIAL = {
    "made", "made_binary", "made_mog", "maf", "maf_mog", "nsf_autoregressive", "tarflow", "pixelcnn",
    "pixelcnn_pp",
}  # fmt: skip
SOLVERS = {"ffjord", "flow_matching", "diffusion", "iresnet", "residual_flow"}


class Plain(nn.Module):
    """A model that declares nothing."""

    def log_prob(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x))


def test_a_plain_module_has_the_documented_defaults():
    assert declared(Plain()) == Declaration("unknown", None, None, "maximum_likelihood", False, False)


def test_a_model_without_likelihood_is_trained_adversarially_by_default():
    model = Plain()
    model.likelihood = "none"
    assert declared(model).objective == "adversarial"
    model.objective = "matching"
    assert declared(model).objective == "matching"


@pytest.mark.parametrize("attribute", ["likelihood", "sampling", "data_kind"])
def test_an_unknown_declaration_is_an_error_with_the_known_values(attribute):
    model = Plain()
    setattr(model, attribute, "guess")
    with pytest.raises(ZooError, match=f"Plain.{attribute} is 'guess'; use one of (exact|parallel|any), "):
        declared(model)


@pytest.mark.parametrize("name", options("model"))
def test_every_model_declares_how_it_samples(name):
    expected = "sequential" if name in SEQUENTIAL else "solver" if name in SOLVERS else "parallel"
    spec = BINARY if name in ("bernoulli_mixture", "made_binary") else SPEC
    assert declared(zoo.build(name, spec)).sampling == expected


def test_the_expected_orders_name_existing_models():
    assert set(options("model")) > SEQUENTIAL | SOLVERS
    assert set(get_args(SamplingOrder)) == {"parallel", "sequential", "solver"}


def test_a_vae_with_an_autoregressive_prior_samples_sequentially():
    assert declared(zoo.build("vae", SPEC, latents={"prior": "flow"})).sampling == "sequential"
    assert declared(zoo.build("vae", SPEC, latents={"prior": "mixture"})).sampling == "parallel"


def test_a_loss_that_couples_the_batch_is_declared():
    assert declared(zoo.build("flow_matching", SPEC, coupling="minibatch_ot")).whole_batch
    assert not declared(zoo.build("flow_matching", SPEC, coupling="independent")).whole_batch


def test_missing_names_are_listed_in_the_order_of_the_protocol():
    assert missing(Plain(), capabilities.Adversarial) == ["generator", "critic", "generate", "to_network"]
    assert offers(zoo.build("gan", SPEC), capabilities.Adversarial)
    assert missing(zoo.build("gan", SPEC), capabilities.HasMatchingLoss) == ["matching_loss"]


class Beta(Plain):
    """A model of a user's with attributes of these names that mean something else."""

    def __init__(self):
        super().__init__()
        self.beta, self.sample_steps, self.truncation = 5.0, 6, 0.3


class Derived(Beta, capabilities.HasWeightedKL, capabilities.HasSampleSteps, capabilities.HasTruncation):
    """A model of a user's that offers all three."""


@pytest.mark.parametrize("name", ["HasWeightedKL", "HasSampleSteps", "HasTruncation"])
def test_what_other_code_changes_is_offered_by_derivation_alone(name):
    base = getattr(capabilities, name)
    assert not offers(Beta(), base)
    assert missing(Beta(), base) == [name]
    assert offers(Derived(), base)


def test_shipped_models_offer_what_they_have():
    offered = {
        name: [base for base in ("HasWeightedKL", "HasSampleSteps", "HasTruncation")
               if offers(zoo.build(name, SPEC), getattr(capabilities, base))]
        for name in ("vae", "vae_hierarchical", "vae_dense", "gan", "stylegan", "diffusion", "glow", "ffjord")
    }  # fmt: skip
    assert offered == {
        "vae": ["HasWeightedKL"],
        "vae_hierarchical": ["HasWeightedKL"],
        "vae_dense": ["HasWeightedKL"],
        "gan": ["HasTruncation"],
        "stylegan": ["HasTruncation"],
        "diffusion": ["HasSampleSteps"],
        "glow": [],
        "ffjord": [],
    }


def test_the_words_of_models_are_those_of_records():
    assert capabilities.Likelihood is record.Kind is reproduction.Kind
    assert SamplingOrder is record.SamplingOrder


def test_a_generative_model_offers_every_optional_method_without_effect():
    model = zoo.build("realnvp", SPEC)
    for protocol in (
        capabilities.HasLogProb,
        capabilities.HasTrainingStatistics,
        capabilities.HasLikelihoodDetails,
        capabilities.HasSamplingDetails,
        capabilities.HasDiagnostics,
    ):
        assert offers(model, protocol)
    assert model.sampling_details() == {}
    assert model.diagnostics(torch.zeros(2, 1, 8, 8)) == {}
