"""Tests of the protocol on models with known results."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

import zoo
from zoo.config import compose_run
from zoo.data.spec import DataSpec
from zoo.errors import NoLikelihood, Unsound, ZooError
from zoo.evaluation.classifiers import SHIPPED
from zoo.evaluation.features import EXTRACTORS, RANDOM, Extractor, select
from zoo.evaluation.likelihood import likelihood
from zoo.evaluation.metrics.frechet import FrechetDistance
from zoo.evaluation.metrics.negative_log_likelihood import tail
from zoo.evaluation.protocol import announcement, evaluate, generate, samples_for, shortage
from zoo.evaluation.settings import Settings
from zoo.models.core import rng
from zoo.models.core.capabilities import Diagnostic
from zoo.models.core.nfe import add_nfe
from zoo.models.diffusion import Diffusion
from zoo.models.vae import VAE
from zoo.running.artifacts import write_samples

SPEC = DataSpec((1, 8, 8), levels=17)
FAST = {"samples": 100, "latency_repeats": 2, "throughput_batches": [2], "throughput_repeats": 1}
SPLITS = {s: torch.randint(17, (n, 1, 8, 8), dtype=torch.uint8) for s, n in (("train", 150), ("test", 70))}


class Uniform(nn.Module):
    """A model from outside of zoo: only the required methods, no weights."""

    family, likelihood = "flow", "exact"

    def log_prob(self, x):
        return torch.full((len(x),), -SPEC.dim * math.log(17))

    def sample(self, n, temperature=1.0):
        return torch.randint(17, (n, 1, 8, 8)).float()


class Gan(Uniform):
    likelihood = "none"

    def log_prob(self, x):
        raise NoLikelihood("A gan defines no likelihood.")


class Broken(Uniform):
    def log_prob(self, x):
        return super().log_prob(x).index_fill(0, torch.tensor([0]), math.nan)

    def sample(self, n, temperature=1.0):
        return super().sample(n).index_fill(0, torch.tensor([0]), math.nan)


class Constant(Uniform):
    def sample(self, n, temperature=1.0):
        return torch.full((n, 1, 8, 8), 3.0)


def judge(model, **settings):
    return evaluate(model, SPLITS, SPEC, natural=False, settings=FAST | settings)


def test_a_uniform_model_has_log2_levels_bits_per_dim():
    model = Uniform().train()
    state = torch.get_rng_state()
    result = judge(model)
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    bits, distance = result.metrics["bits_per_dim"], result.metrics["fd/digits-cnn"]
    assert bits.value == pytest.approx(math.log2(17), abs=1e-6)
    assert (bits.kind, bits.n, bits.split) == ("exact", 70, "test")
    assert result.metrics["nll"].value == pytest.approx(64 * math.log(17), rel=1e-6)
    assert distance.value is not None
    assert distance.details["floor"] is not None
    assert distance.details["reference_n"] == 70
    assert distance.details["dim"] == 32
    assert result.sampling.sequential_evaluations is None
    assert result.sampling.sequential_evaluations_by_batch == {"2": None}
    assert result.samples.shape == (100, 1, 8, 8)
    assert torch.equal(result.samples, judge(model).samples)


def test_a_models_diagnostics_do_not_replace_metrics_of_the_protocol(monkeypatch):
    honest = judge(VAE(SPEC)).metrics["bits_per_dim"]
    monkeypatch.setattr(VAE, "diagnostics", lambda self, x: {"bits_per_dim": Diagnostic(0.0, "bits/dim")})
    assert judge(VAE(SPEC)).metrics["bits_per_dim"].direction == honest.direction == "lower"


def test_diagnostics_reach_the_record_and_rank_nothing():
    model = VAE(SPEC, latent_dim=3)
    with torch.no_grad():  # a posterior N(m(x), 1) whose last two units are the prior
        last = model.encoder.layers[-1]
        last.weight[1:], last.bias[1:] = 0, 0
    units, rate = (judge(model).metrics[name] for name in ("active_units", "rate"))
    mean, _ = model.posterior(SPLITS["test"].float())
    assert (units.value, units.direction, units.n) == (float(mean[:, 0].var() > 0.01), "none", 70)
    assert rate.value == pytest.approx(0.5 * mean[:, 0].square().mean().item(), rel=1e-4)
    assert rate.unit == "nats"
    assert rate.standard_error > 0
    assert "kl" not in judge(model).metrics  # the divergence from the data
    assert "active_units" not in judge(Uniform()).metrics


def test_a_diffusions_record_has_the_odes_density_beside_the_bound():
    metrics = judge(
        Diffusion(
            SPEC,
            unet={"channels": 4, "multipliers": [1]},
            solver={"steps": 2, "method": "euler"},
        )
    ).metrics
    bound, beside = metrics["bits_per_dim"], metrics["bits_per_dim/ode"]
    assert (bound.kind, bound.direction) == ("lower bound", "lower")
    assert (beside.kind, beside.direction, beside.n) == ("estimate", "none", 50)
    assert beside.details["solver"] == "euler"


def test_no_likelihood_is_an_empty_cell():
    metrics = judge(Gan()).metrics
    for name in ("nll", "bits_per_dim"):
        assert metrics[name].value is None
        assert metrics[name].kind == "none"
        assert "no likelihood" in metrics[name].reason


def test_nonfinite_values_are_counted():
    metrics = judge(Broken(), batch_size=50).metrics
    assert metrics["nll"].value is metrics["fd/digits-cnn"].value is None
    assert metrics["nll"].reason.startswith("2 of 70")
    assert metrics["fd/digits-cnn"].reason.startswith("2 of 100")


class Fails(Uniform):
    """A model that fails to compute the given parts."""

    def __init__(self, *what):
        super().__init__()
        self.what = what

    def log_prob(self, x):
        if "likelihood" in self.what:
            raise Unsound("The ODE is lost.")
        add_nfe(7 if len(x) == 50 else 9)
        return super().log_prob(x)

    def sample(self, n, temperature=1.0):
        if "samples" in self.what or ("many" in self.what and n > 1):
            raise Unsound("The fixed point is lost.")
        return super().sample(n)


def test_a_metric_that_fails_is_an_empty_cell_and_spares_the_others():
    lost = judge(Fails("likelihood"))
    for name in ("nll", "bits_per_dim"):
        metric = lost.metrics[name]
        assert (metric.value, metric.reason, metric.n, metric.kind) == (None, "The ODE is lost.", 70, "exact")
    assert lost.metrics["fd/digits-cnn"].value is not None
    assert len(lost.samples) == 100
    assert lost.sampling.latency_seconds > 0
    for part in ("samples", "many"):
        lost = judge(Fails(part))
        distance = lost.metrics["fd/digits-cnn"]
        assert (distance.value, distance.reason) == (None, "The fixed point is lost.")
        assert lost.metrics["bits_per_dim"].value == pytest.approx(math.log2(17), abs=1e-6)
        assert lost.samples.shape == (0, 1, 8, 8)
        assert lost.sampling.reason == "The fixed point is lost."
        assert lost.sampling.latency_seconds is None
        assert lost.sampling.device == "cpu"
    with pytest.raises(ZooError, match="shape"):  # a programming error is not turned into an empty cell
        judge(type("Wrong", (Uniform,), {"log_prob": lambda self, x: torch.zeros(1)})())


def test_failed_diagnostics_have_a_reason(monkeypatch):
    def fails(self, x):
        raise Unsound("The path is lost.")

    monkeypatch.setattr(VAE, "diagnostics", fails)
    metrics = judge(VAE(SPEC, latent_dim=3)).metrics
    assert (metrics["diagnostics"].value, metrics["diagnostics"].direction) == (None, "none")
    assert metrics["diagnostics"].reason == "The path is lost."
    assert metrics["bits_per_dim"].value is not None


def test_network_evaluations_of_a_likelihood_are_averaged_over_batches():
    metrics = judge(Fails(), batch_size=50).metrics
    assert metrics["nll"].details["sequential_evaluations"] == 8  # 7 in the batch of 50, 9 in that of 10
    assert "sequential_evaluations" not in judge(Uniform()).metrics["nll"].details
    copies = judge(type("Noisy", (Fails,), {"likelihood_details": lambda _: {"dequantisation": "uniform"}})(),
                   batch_size=50, dequantisation_samples=3)  # fmt: skip
    assert copies.metrics["nll"].details["sequential_evaluations"] == 8


def test_collapsed_or_too_few_samples_give_a_reason():
    assert "identical" in judge(Constant()).metrics["fd/digits-cnn"].reason
    assert "more than 32" in judge(Uniform(), samples=20).metrics["fd/digits-cnn"].reason


def test_vectors_use_the_energy_distance():
    class Normal(nn.Module):
        family, likelihood = "flow", "exact"

        def log_prob(self, x):
            return -0.5 * x.square().sum(1) - math.log(2 * math.pi)

        def sample(self, n, temperature=1.0):
            return torch.randn(n, 2)

    splits = {"train": torch.randn(900, 2), "test": torch.randn(800, 2)}
    metrics = evaluate(
        Normal(), splits, DataSpec((2,)), natural=False, settings=FAST | {"samples": 800}
    ).metrics
    assert set(metrics) == {"nll", "energy_distance", "wasserstein2"}
    assert abs(metrics["energy_distance"].value) < 0.03
    assert abs(metrics["energy_distance"].details["floor"]) < 0.03
    nll = metrics["nll"]
    assert nll.value == pytest.approx(1 + math.log(2 * math.pi), abs=4 * nll.standard_error)


def test_results_do_not_depend_on_the_batch_size():
    model = VAE(SPEC, latent_dim=2, width=4)
    model.eval()
    a, b = (likelihood(model, SPLITS["test"], SPEC, batch_size=size) for size in (7, 70))
    assert a["nll"].value == pytest.approx(b["nll"].value, rel=1e-5)
    few, many = (generate(model, 20, SPEC, 3, batch_size=size) for size in (6, 20))
    assert ((few - many).abs() > 0).double().mean() < 0.01  # rounding at the edge of a level
    assert torch.equal(many, model.sample(20, seed=3))


def test_a_mean_that_is_one_examples_is_remarked():
    class Cliff(Uniform):
        height = 0.0

        def log_prob(self, x):
            values = -100 - 0.1 * torch.arange(len(x), dtype=torch.float64) / len(x)
            return values.index_fill(0, torch.tensor([len(x) - 1]), -self.height)

    calm, cliff = Cliff(), Cliff()
    calm.height, cliff.height = 100.0, 1e9
    for name in ("nll", "bits_per_dim"):
        scale = 64 * math.log(2) if name == "bits_per_dim" else 1
        assert "remark" not in likelihood(calm, SPLITS["test"], SPEC)[name].details
        metric = likelihood(cliff, SPLITS["test"], SPEC)[name]
        assert "no estimate" in metric.details["remark"]
        assert metric.details["share_of_worst"] > 0.99
        assert metric.details["share_beyond"] == pytest.approx(1 / 70)
        assert metric.details["worst"] * scale == pytest.approx(1e9)
        assert metric.details["median"] * scale == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(("n", "remarked"), [(2, False), (4, False), (19, False), (20, True)])
def test_of_few_examples_none_is_too_large_a_share(n, remarked):
    losses = torch.cat([torch.linspace(0, 1, n - 1), torch.tensor([1e9])])
    assert ("remark" in tail(losses)) is remarked


class Dequantised(Uniform):
    """A density p(x + u) proportional to u: its mean over a cell is 1/2, the mean of its logarithm -1."""

    def log_prob(self, x):
        return rng.uniform(x[:, 0, 0, :1].double())[:, 0].log()

    def likelihood_details(self):
        return {"dequantisation": "uniform"}


def test_more_dequantisation_samples_tighten_the_bound():
    spec, x = DataSpec((1, 8, 8), levels=17), torch.randint(17, (400, 1, 8, 8)).float()
    model = Dequantised()
    few = likelihood(model, x, spec, dequantisation_samples=2)["nll"]
    many = likelihood(model, x, spec, dequantisation_samples=64)["nll"]
    assert few.value > many.value > -math.log(0.5)
    assert many.value == pytest.approx(-math.log(0.5), abs=0.02)
    assert (many.kind, many.details["dequantisation_samples"]) == ("lower bound", 64)
    elbo = likelihood(VAE(SPEC, latent_dim=2, width=4).eval(), x, spec, dequantisation_samples=4)["nll"]
    assert "dequantisation_samples" not in elbo.details  # the mean of exp(ELBO) is not a bound


DETAILS = {
    "gan": ({"truncation": 0.5}, {"truncation": 0.5}),
    "diffusion": ({"sampler": {"method": "ddim", "steps": 2}}, {"sampler": "ddim", "sample_steps": 2}),
    "flow_matching": ({"solver": {"method": "euler", "steps": 2}}, {"solver": "euler", "steps": 2}),
}


@pytest.mark.parametrize("name", DETAILS)
def test_settings_of_the_sampler_are_details_of_the_metrics_of_samples(name):
    settings, details = DETAILS[name]
    plane = DataSpec((2,))
    splits = {split: torch.randn(40, 2) for split in ("train", "test")}
    model = zoo.build(name, plane, **settings)
    result = evaluate(model, splits, plane, natural=False, settings=FAST | {"likelihood_examples": 2})
    assert details.items() <= result.metrics["energy_distance"].details.items()
    assert details.items() <= result.sampling.details.items()
    assert "truncation" not in result.metrics["nll"].details


def test_the_extractor_is_chosen_by_the_data_or_there_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert select(SPEC, natural=False)[0].key == "fd/digits-cnn"
    assert select(DataSpec((3, 32, 32), 256), natural=True)[0].key == "fd/cifar-cnn"
    for levels in (2, 256):
        assert select(DataSpec((1, 28, 28), levels), natural=False)[0].key == "fd/mnist-cnn"
    for spec, natural, words in [
        (DataSpec((3, 64, 64), None), True, "integer levels"),
        (DataSpec((2,)), False, "vectors"),
    ]:
        extractor, reason = select(spec, natural=natural)
        assert extractor is None
        assert words in reason
    asked, reason = select(DataSpec((3, 64, 64), 256), natural=True, name="inception-v3-compat")
    assert asked is None
    assert "TORCH_HOME" in reason
    for shape in ((1, 20, 20), (3, 64, 48), (5, 9, 130), (1, 2, 3)):  # any size and channels
        spec = DataSpec(shape, 7)
        for n, name, dim in ((None, "random-conv", 64), (128, "random-conv-16", 16)):
            extractor = select(spec, natural=True, reference_n=n)[0]
            assert (extractor.name, extractor.key, extractor.dim) == (name, f"fd/{name}", dim)
            features = extractor(torch.randint(7, (5, *shape)))
            assert features.shape == (5, dim)
            assert features.isfinite().all()
            assert len(features.unique(dim=0)) == 5
    with pytest.raises(ZooError, match="nowhere"):
        select(DataSpec((3, 32, 32), 256), natural=True, inception_weights="nowhere")


@pytest.mark.parametrize("name", EXTRACTORS)
def test_the_default_number_of_samples_is_enough_for_every_extractor(name):
    dims = {"inception-v3-compat": 2048, "dinov2": 1024} | RANDOM
    dim = dims.get(name) or SHIPPED[name].dim
    extractor = Extractor(name, f"fd/{name}", dim, "", lambda x: x, {})
    n = samples_for(Settings(), extractor)
    assert n == (10_000 if dim > 1000 else 1000)
    assert n > 4 * dim
    assert samples_for(Settings(samples=7), extractor) == 7
    said = announcement(Settings(), extractor, natural=False)
    assert (said is not None and "10,000" in said) == (dim > 1000)


@pytest.mark.parametrize("spec", [DataSpec((3, 10, 12), 256), DataSpec((1, 30, 7), 2)])
def test_pictures_of_any_size_have_every_metric_by_default(spec, monkeypatch, tmp_path):
    class Noise(Uniform):
        def log_prob(self, x):
            return torch.zeros(len(x))

        def sample(self, n, temperature=1.0):
            return torch.randint(spec.levels, (n, *spec.shape)).float()

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    splits = {s: torch.randint(spec.levels, (n, *spec.shape)) for s, n in (("train", 90), ("test", 70))}
    settings = {key: value for key, value in FAST.items() if key != "samples"}
    result = evaluate(Noise(), splits, spec, natural=True, settings=settings)
    for name in ("fd", "kid", "precision", "recall", "density", "coverage"):
        metric = result.metrics[f"{name}/random-conv-16"]
        assert metric.value is not None, metric.reason
        assert metric.n == 1000
    assert abs(result.metrics["energy_distance/pixels"].value) < 100
    assert len(result.samples) == 1000


def test_training_images_stand_in_for_a_small_test_split_under_other_names():
    shape, sizes, name = (1, 28, 28), {"train": 7, "val": 1, "test": 2}, "random-conv-3"  # the fewest

    class Noise(Uniform):
        def log_prob(self, x):
            return torch.zeros(len(x))

        def sample(self, n, temperature=1.0):
            return torch.randint(256, (n, *shape)).float()

    spec = DataSpec(shape, 256)
    splits = {split: torch.randint(256, (n, *shape)) for split, n in sizes.items()}
    metrics = evaluate(Noise(), splits, spec, natural=False, settings=FAST).metrics
    n = sizes["train"] + sizes["val"]
    for metric in ("fd", "fd_inf", "kid", "precision", "recall", "density", "coverage"):
        assert f"{metric}/{name}" not in metrics
        stood_in = metrics[f"{metric}/{name}/train"]
        assert stood_in.value is not None, stood_in.reason
        assert (stood_in.split, stood_in.details["reference_n"]) == ("train", n)
        assert "test images are too few" in stood_in.details["floor_reason"]
    unseen = metrics[f"memorisation/{name}"]
    assert (unseen.split, unseen.details["reference_n"]) == ("test", sizes["test"])
    assert not [key for key, metric in metrics.items() if metric.value is None]


def test_a_reference_of_training_images_is_training_and_validation_split():
    splits = SPLITS | {"val": SPLITS["test"][:40]}
    settings = FAST | {"reference": "train"}
    metrics = evaluate(Uniform(), splits, SPEC, natural=False, settings=settings).metrics
    distance = metrics["fd/digits-cnn"]
    assert (distance.split, distance.details["reference_n"]) == ("train", 190)
    assert distance.details["floor_split"] == "test"
    assert judge(Uniform()).metrics["fd/digits-cnn"].value != distance.value
    composed = compose_run(["evaluation=fid50k"]).evaluation
    assert (composed.samples, composed.reference, composed.batch_size) == (50_000, "train", 256)


def test_no_samples_leave_no_files(tmp_path):
    write_samples(tmp_path, torch.zeros(4, 1, 8, 8), SPLITS["test"], 17)
    assert {path.name for path in tmp_path.iterdir()} == {"samples.npz", "samples.png"}
    assert write_samples(tmp_path, torch.zeros(0, 1, 8, 8), SPLITS["test"], 17) is None
    assert not list(tmp_path.iterdir())


def test_log_likelihoods_of_examples_are_kept_with_their_indices():
    class Level(Uniform):
        def log_prob(self, x):
            return -x.flatten(1).double().sum(1)

    for asked, n in ((None, 70), (25, 25)):
        result = judge(Level(), likelihood_examples=asked)
        values, rows = result.likelihoods["values"], result.likelihoods["indices"]
        assert values.shape == rows.shape == (n,)
        assert len(set(rows.tolist())) == n
        assert -values.mean() == pytest.approx(result.metrics["nll"].value)
        expected = -SPLITS["test"][torch.from_numpy(rows).long()].flatten(1).double().sum(1)
        assert values.tolist() == expected.tolist(), "each value belongs to the example at its index"
    assert judge(Gan()).likelihoods is None
    assert judge(Broken()).likelihoods is None


@pytest.mark.parametrize(
    ("settings", "sizes", "is_own", "sentence"),
    [
        ({}, {"train": 134, "val": 17, "test": 17}, True, None),
        (
            {},
            {"train": 128, "val": 16, "test": 16},
            True,
            r"raise data\.test_fraction .*reference=train",
        ),
        ({}, {"train": 128, "val": 16, "test": 16}, False, "has 16; compare with evaluation.reference=train"),
        ({}, {"train": 9, "val": 1, "test": 2}, True, "test split has 2; give more data"),
        (
            {"reference": "train"},
            {"train": 9, "val": 1, "test": 2},
            True,
            "has 10; give more data",
        ),
        ({"reference": "train"}, {"train": 16, "val": 1, "test": 2}, True, None),
        (
            {"samples": 16},
            {"train": 900, "val": 90, "test": 90},
            True,
            "over 16 samples",
        ),
    ],
)
def test_too_few_examples_for_a_frechet_distance_show_before_training(settings, sizes, is_own, sentence):
    spec = DataSpec((1, 6, 6), levels=256)
    extractor, _ = select(spec, natural=False, reference_n=40)
    text = shortage(Settings(**settings), extractor, sizes, is_own)
    assert (text is None) == (sentence is None)
    assert sentence is None or re.search(sentence, text)


def test_the_reason_of_an_empty_frechet_distance_names_the_set_that_is_too_small():
    images = torch.randint(256, (40, 1, 6, 6))
    extractor, _ = select(DataSpec((1, 6, 6), levels=256), natural=False, reference_n=40)
    few = images[:3]
    for real, generated, advice in ((few, images, r"data\.test_fraction"), (images, few, "Raise evaluation")):
        distance = FrechetDistance(extractor)
        distance.update(real, real=True)
        distance.update(generated, real=False)
        with pytest.raises(ZooError, match=advice):
            distance.compute()
