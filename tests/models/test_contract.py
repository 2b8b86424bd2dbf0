"""Tests of the contract of every model under ``conf/model``, on images and on vectors."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from contract import jacobian_log_det
from hydra.utils import get_class

import zoo
from zoo.config import model_settings, options
from zoo.kinds import suits
from zoo.models.core import rng
from zoo.models.core.model import GenerativeModel
from zoo.models.families.flow import Flow

MODELS = options("model")
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
SPECS = {
    "2x2": zoo.DataSpec((1, 2, 2), levels=4),
    "digits": zoo.DataSpec((1, 8, 8), levels=17),
    "colour": zoo.DataSpec((3, 6, 4), levels=256),
    "odd": zoo.DataSpec((1, 5, 7), levels=3),
    "plane": zoo.DataSpec((2,)),
    "table": zoo.DataSpec((7,)),
    "binary": zoo.DataSpec((9,), levels=2),
}
TARGETS = {name: get_class(model_settings(name, {})["_target_"]) for name in MODELS}
WITHOUT_DENSITY = [name for name in MODELS if TARGETS[name].likelihood == "none"]
WITH_DENSITY = [name for name in MODELS if name not in WITHOUT_DENSITY]
FLOWS = [name for name in MODELS if issubclass(TARGETS[name], Flow)]
CONDITIONAL = [name for name in MODELS if "conditional" in model_settings(name, {})]
BINARY = [name for name in MODELS if TARGETS[name].data_kind == "binary"]
REFUSED = [
    (name, data)
    for name in MODELS
    for data, spec in SPECS.items()
    if not suits(TARGETS[name].data_kind, spec.shape, spec.levels)
]
ON_THE_PLANE = [name for name in WITH_DENSITY if (name, "plane") not in REFUSED]
CASES = [(name, data) for name in MODELS for data in SPECS if (name, data) not in REFUSED]
DENSITIES = [(name, data) for name, data in CASES if name in WITH_DENSITY]
FAMILIES = {"flow", "continuous flow", "autoregressive", "vae", "gan", "diffusion"}
RESIDUAL = {"iresnet", "residual_flow"}
STEEP = {"nsf_autoregressive", "nsf_coupling", "vae_hierarchical"}  # on the plane
SOLVER_TOLERANCE = 1e-5  # atol and rtol of every model that solves an ODE
# The same code with less to compute, for tests whose bounds are wider than what a coarse solver changes.
LOOSE = {"solver": {"method": "rk4", "steps": 3}}
QUICK: dict[str, dict[str, Any]] = {
    "ffjord": LOOSE,
    "diffusion": LOOSE | {"sampler": {"steps": 10}, "terms": 8, "unet": {"channels": 4}},
    "flow_matching": LOOSE | {"unet": {"channels": 4}, "hidden": [32, 32]},
    "glow": {"steps": 2, "width": 16},
    "iresnet": {"blocks": 2},
    "nsf_autoregressive": {"steps": 2},
    "nsf_coupling": {"steps": 2, "width": 8},
    "realnvp": {"width": 8},
    "residual_flow": {"blocks": 2},
    "tarflow": {"blocks": 2, "width": 16},
    "vae_hierarchical": {"width": 8},
}


def build(name: str, spec: zoo.DataSpec, scale: float = 0.02, **settings) -> GenerativeModel:
    """Build a model and perturb its weights, since many layers start as identities."""
    torch.manual_seed(1)
    model = zoo.build(name, spec, **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model.eval()


def some_data(spec: zoo.DataSpec, n: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    if spec.levels is None:
        return torch.randn(n, *spec.shape, generator=generator)
    return torch.randint(spec.levels, (n, *spec.shape), generator=generator)


def test_no_list_of_models_by_capability_is_empty():
    """A test that is parametrised by an empty list would pass without testing anything."""
    assert set(WITHOUT_DENSITY) == {"gan", "pacgan", "sngan", "stylegan", "wgan", "wgan_gp"}
    assert set(FLOWS) == {
        "diffusion", "ffjord", "flow_matching", "gaussian", "glow", "iaf", "iresnet", "made", "made_mog",
        "maf", "maf_mog", "nsf_autoregressive", "nsf_coupling", "realnvp", "residual_flow", "tarflow",
    }  # fmt: skip
    assert set(WITH_DENSITY) - set(FLOWS) == {
        "pixelcnn", "pixelcnn_pp", "vae", "vae_dense", "vae_hierarchical", *BINARY
    }  # fmt: skip
    assert set(CONDITIONAL) == set(MODELS)
    assert len(ON_THE_PLANE) == len(WITH_DENSITY) - 3


@pytest.mark.parametrize(("name", "data"), CASES)
@pytest.mark.parametrize("device", DEVICES)
def test_samples_lie_in_data_space_and_follow_the_seed(name, data, device):
    spec = SPECS[data]
    # the levels of an untrained decoder, or of weights near zero, are the same for all seeds
    spread = {"vae_dense": {"sample_pixels": True}, "pacgan": {"start": 0.5}}.get(name, {})
    model = build(name, spec, **spread, **QUICK.get(name, {})).to(device)
    assert model.family in FAMILIES
    assert model.likelihood in {"exact", "lower bound", "estimate", "none"}
    samples = model.sample(3, seed=7)
    assert samples.shape == (3, *spec.shape)
    spec.check(samples)  # inside the range, integers where the data are
    assert not torch.equal(samples, model.sample(3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(samples, model.sample(3, seed=7))


@pytest.mark.parametrize(("name", "data"), DENSITIES)
@pytest.mark.parametrize("device", DEVICES)
def test_the_density_depends_only_on_the_example(name, data, device):
    spec = SPECS[data]
    model, x = build(name, spec, **QUICK.get(name, {})).to(device), some_data(spec)
    with torch.no_grad():
        values = model.log_prob(x)
        assert values.shape == (len(x),)
        assert torch.isfinite(values).all()
        assert torch.equal(values, model.log_prob(x.float())), "integers and floats are the same data"
        assert torch.equal(values, model.log_prob(x)), "evaluation depends only on x"
        flipped = model.log_prob(x.flip(0)).flip(0)
    torch.testing.assert_close(values, flipped, rtol=1e-3, atol=1e-2)
    with pytest.raises(zoo.InvalidData, match="shape"):
        model.log_prob(x[0])


@pytest.mark.parametrize(("name", "data"), [case for case in DENSITIES if SPECS[case[1]].levels])
def test_integers_out_of_range_are_an_error(name, data):
    spec = SPECS[data]
    with pytest.raises(zoo.InvalidData, match=rf"0\.\.{spec.levels - 1}"):
        build(name, spec).log_prob(some_data(spec) + spec.levels)


@pytest.mark.parametrize("name", WITHOUT_DENSITY)
def test_a_model_without_a_density_raises(name):
    with pytest.raises(zoo.NoLikelihood, match="no likelihood"):
        build(name, SPECS["digits"]).log_prob(some_data(SPECS["digits"]))


@pytest.mark.parametrize(("name", "data"), REFUSED)
def test_data_that_a_model_does_not_support_are_an_error(name, data):
    with pytest.raises(zoo.ZooError):
        zoo.build(name, SPECS[data])


def test_sample_accepts_a_generator():
    model = build("realnvp", SPECS["plane"])
    first = model.sample(4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, model.sample(4, generator=torch.Generator().manual_seed(3)))
    with pytest.raises(ValueError, match="not both"):
        model.sample(1, seed=0, generator=torch.Generator())
    torch.testing.assert_close(model.sample(8, seed=0)[:4], model.sample(4, seed=0))


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_probabilities_of_all_small_examples_sum_to_one(name):
    """Over all 256 images of 2x2 pixels and 4 levels, or all 512 bit strings, bounds sum to at most 1."""
    spec = SPECS["binary" if name in BINARY else "2x2"]
    model = build(name, spec, **QUICK.get(name, {}))
    values = torch.arange(spec.levels)
    x = torch.cartesian_prod(*[values] * spec.dim).view(-1, *spec.shape)
    draws = {"autoregressive": 1, "continuous flow": 4, "diffusion": 8}.get(model.family, 60)
    draws = 20 if name in RESIDUAL else draws  # a whole Jacobian a row and block
    values = []
    for salt in range(draws):
        with rng.keyed(rng.content_keys(x, salt)), torch.no_grad():
            values.append(model.log_prob(x).double())
    values = torch.stack(values)
    bound = values.mean(0).exp().sum().item()  # Jensen: the mean of log p(x+u) is below log P(x)
    assert bound <= 1 + 1e-3
    if model.likelihood != "lower bound":
        masses = values.exp().sum(1)  # for flows an unbiased estimate of the whole mass, once per draw
        error = masses.std().item() / math.sqrt(draws) if draws > 1 else 0.0
        assert abs(masses.mean().item() - 1) < 4 * error + 1e-3


@pytest.mark.parametrize("name", ON_THE_PLANE)
def test_density_on_the_plane_integrates_to_one(name):
    # a mixture seen through five layers of ReLUs reaches out of the square as soon as its weights move
    model = build(name, SPECS["plane"], scale=0.01 if name == "maf_mog" else 0.02)
    # each point needs an ODE or a Jacobian; without kinks the sum over a coarse grid is the integral
    smooth = model.family in ("continuous flow", "diffusion") or name in RESIDUAL
    axis = torch.linspace(-12, 12, 61 if smooth else 241 if name in STEEP else 161)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = torch.cat([model.log_prob(part).double().exp() for part in grid.split(4096)]).sum().item()
    mass *= float(axis[1] - axis[0]) ** 2
    if model.likelihood == "lower bound":
        assert mass <= 1 + 1e-2
    else:
        assert mass == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_transform_inverts_and_its_log_det_is_autograds(name):
    """The weights are slightly perturbed, so that rounding is not amplified; test_trained.py has others."""
    # weights further off make bins so flat that rounding z alone moves x by more than is allowed; what the
    # inverse of such a spline can do is held in test_spline.py
    model = build(name, SPECS["plane"], scale=0.02 if name == "nsf_autoregressive" else 0.05).double()
    # float64 rounds here, and a fixed point is solved to that; a solver of ODEs stops at its own tolerance
    solved = model.family in ("continuous flow", "diffusion")
    of_x, of_log_det = (10 * SOLVER_TOLERANCE, 10 * SOLVER_TOLERANCE) if solved else (1e-10, 1e-8)
    x = torch.randn(5, 2, dtype=torch.float64)
    z, log_det = model.transform.forward(x)
    back, back_log_det = model.transform.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=of_x)
    torch.testing.assert_close(log_det, -back_log_det, rtol=0, atol=of_log_det)
    torch.testing.assert_close(jacobian_log_det(model.transform, x), log_det, rtol=0, atol=of_log_det)


@pytest.mark.parametrize("name", MODELS)
def test_training_reaches_every_parameter(name):
    spec = SPECS["binary" if name in BINARY else "digits"]
    model = build(name, spec).train()
    x = some_data(spec, 8)
    if model.objective == "matching":
        model.matching_loss(x.float()).mean().backward()
    elif model.objective in ("maximum_likelihood", "expectation_maximisation"):
        model.log_prob(x).mean().backward()
    else:
        model.critic(model.generate(4)).sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None]
    assert not silent


def test_importing_zoo_changes_no_global_state():
    """It runs in a separate process, since a library that another test imports changes torch's validation."""
    program = "import torch, zoo; zoo.build('maf', zoo.DataSpec((2,))); torch.distributions.Normal(0.0, -1.0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ValueError: Expected parameter scale" in done.stderr


LABELLED = zoo.DataSpec((1, 4, 4), levels=4, classes=3)
LABELLED_BITS = zoo.DataSpec((1, 4, 4), levels=2, classes=3)


def labelled(name):
    return LABELLED_BITS if name in BINARY else LABELLED


@pytest.mark.parametrize("name", CONDITIONAL)
def test_samples_follow_their_labels(name):
    spec = labelled(name)
    model = build(name, spec, scale=0.05, conditional=True, **QUICK.get(name, {}))
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    samples = model.sample(6, y=y, seed=3)
    spec.check(samples)
    torch.testing.assert_close(samples, model.sample(6, y=y, seed=3))
    spec.check(model.sample(6, seed=3))
    with pytest.raises(zoo.InvalidData, match=r"0\.\.2"):
        model.sample(2, y=3)


@pytest.mark.parametrize("name", [name for name in CONDITIONAL if name in WITH_DENSITY])
def test_a_density_given_labels_is_that_of_each_examples_own(name):
    spec = labelled(name)
    quick = {key: value for key, value in QUICK.get(name, {}).items() if key != "solver"}
    model, x = build(name, spec, scale=0.05, conditional=True, **quick), some_data(spec)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        given = [model.log_prob(x, torch.full((6,), label)) for label in range(3)]
        assert not torch.allclose(given[0], given[1]), "the label changes the density"
        # an adaptive solver's steps depend on the batch
        loose = {"rtol": 1e-4, "atol": 1e-3} if model.likelihood == "estimate" else {}
        torch.testing.assert_close(model.log_prob(x, y)[:3], torch.stack(given).diagonal(), **loose)


def is_a_weight(name):
    """Return whether the density given a label is mixed over the labels as it is."""
    return name in WITH_DENSITY and name not in (
        "vae",
        "vae_dense",
        "vae_hierarchical",
        "diffusion",
        "flow_matching",
        "ffjord",
    )


@pytest.mark.parametrize("name", filter(is_a_weight, CONDITIONAL))
def test_the_density_without_labels_is_the_mixture_over_them(name):
    """Noisy bounds and estimates are mixed otherwise, see ``core/test_label_mixture.py``."""
    spec = labelled(name)
    model, x = build(name, spec, scale=0.05, conditional=True, **QUICK.get(name, {})), some_data(spec)
    with torch.no_grad():
        given = [model.log_prob(x, torch.full((6,), label)) for label in range(3)]
        mixture = torch.stack(given).logsumexp(0) - math.log(3)
        torch.testing.assert_close(model.log_prob(x), mixture)


def test_labels_need_a_conditional_model():
    with pytest.raises(zoo.ZooError, match="conditional=true"):
        build("realnvp", SPECS["plane"]).log_prob(torch.zeros(2, 2), torch.tensor([0, 1]))
