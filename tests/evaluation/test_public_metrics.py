"""Tests of ``zoo.metrics`` as torchmetrics: its conventions, and images of any range."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import math
import pickle
import pkgutil
import re
from pathlib import Path

import matplotlib
import pytest
import torch
from metric_cases import (
    CLOSE,
    FAKE,
    NAMES,
    ONE_SAMPLE,
    POINTS,
    REAL,
    TWO_SAMPLE,
    images,
    part,
    pixels,
    two_sample,
    whole,
)
from torch import nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics import MetricCollection
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

import zoo
import zoo.metrics
from zoo.data.digits import Digits
from zoo.data.toys import Toy
from zoo.errors import InvalidData, ZooError
from zoo.evaluation import metrics as package
from zoo.evaluation.base import FeatureMetric, NeighbourMetric, ZooMetric
from zoo.evaluation.context import Context
from zoo.evaluation.features import classifier
from zoo.evaluation.likelihood import likelihood
from zoo.evaluation.metrics import NEEDS, definitions, measure
from zoo.evaluation.neighbours import Pairs
from zoo.evaluation.settings import Settings


def test_every_metric_of_the_protocol_is_exported():
    result = {
        name: value
        for module in pkgutil.iter_modules(package.__path__)
        for name, value in vars(importlib.import_module(f"{package.__name__}.{module.name}")).items()
        if isinstance(value, type) and issubclass(value, ZooMetric)
        and value.__module__ == f"{package.__name__}.{module.name}"
    }  # fmt: skip
    assert set(result) == set(NAMES) == set(zoo.metrics.__all__) - {"Value"}
    for name, value in result.items():
        assert getattr(zoo.metrics, name) is value
        assert value.is_differentiable is False
        assert value.full_state_update is False


def contexts():
    """Yield contexts whose model and data have, taken together, everything that a metric is computed from."""
    digits, modes, settings = Digits(), Toy("8gaussians", train=80, val=40, test=40), {"samples": 60}
    for data in (digits, modes):
        data.setup()
    source = torch.Generator().manual_seed(0)
    vae = zoo.build("vae_dense", digits.spec, latent_dim=2, encoder=[5], decoder=[4]).eval()
    euler = {"method": "euler", "steps": 2}
    flow = zoo.build("flow_matching", modes.spec, hidden=[4, 4], solver=euler).eval()
    pixels = torch.randint(17, (200, 1, 8, 8), generator=source)
    points = modes.splits["test"] + 0.01 * torch.randn(40, 2, generator=source)
    for data, model, samples in ((digits, vae, pixels), (modes, flow, points)):
        splits = {name: x[:200] for name, x in data.splits.items()}
        extractor = classifier("digits-cnn", digits.spec) if data is digits else None
        yield Context(
            samples, splits, data.spec, Settings.of(settings), extractor, model=model, modes=data.modes
        )


def test_every_metric_of_the_protocol_is_the_estimate_of_a_public_metric(monkeypatch):
    estimates = []
    estimate = ZooMetric.estimate

    def noting(metric):
        value = estimate(metric)
        estimates.append((type(metric).__name__, value.value))
        return value

    monkeypatch.setattr(ZooMetric, "estimate", noting)
    computed = {}
    for context in contexts():
        for definition in definitions():
            needs = [NEEDS[name] for name in definition.needs]
            if all(need.fits(context) and need.missing(context) is None for need in needs):
                estimates.clear()
                context = dataclasses.replace(context)  # without what was computed before
                value = definition.compute(context).value
                computed[definition.name] = [name for name, other in estimates if other == value]
    assert set(computed) == {definition.name for definition in definitions()}
    others = {name for name, metrics in computed.items() if not set(metrics) & set(zoo.metrics.__all__)}
    assert not others


def test_the_likelihoods_of_the_protocol_are_estimates_of_public_metrics(monkeypatch):
    made = []
    estimate = ZooMetric.estimate
    monkeypatch.setattr(ZooMetric, "estimate", lambda metric: made.append(metric) or estimate(metric))
    digits = Digits()
    digits.setup()
    model = zoo.build("gaussian", digits.spec).eval()
    test = digits.splits["test"][:9]
    metrics = likelihood(model, test, digits.spec, log_density=lambda x: torch.ones(len(x)))
    assert {name: type(metric).__name__ for name, metric in zip(metrics, made, strict=True)} == {
        "nll": "NegativeLogLikelihood",
        "kl": "NegativeLogLikelihood",
        "bits_per_dim": "BitsPerDim",
    }


def test_direction_and_higher_is_better_agree():
    directions = {d.compute.__module__: d.direction for d in definitions()}
    better = {"lower": False, "higher": True, "one": None, "none": None}
    assert len(directions) > 8
    for name in NAMES:
        value = getattr(zoo.metrics, name)
        if value.__module__ in directions:
            assert value.higher_is_better is better[directions[value.__module__]], name
        else:
            assert (name, value.higher_is_better) in (("NegativeLogLikelihood", False), ("BitsPerDim", False))


@pytest.mark.parametrize("name", NAMES)
def test_merged_states_have_the_value_of_all_examples(name):
    first, second = part(name, 0), part(name, 1)
    first.merge_state(second)
    assert first.compute().item() == pytest.approx(whole(name).compute().item(), rel=CLOSE)
    assert first.compute().dtype == torch.float64


def of_digits(name):
    """Return the metric of noise in the features of the packaged classifier of digits."""
    source = torch.Generator().manual_seed(0)
    real, generated = torch.randint(17, (2, 80, 1, 8, 8), generator=source)
    metric = two_sample(lambda: getattr(zoo.metrics, name)("digits-cnn"), [generated], [real])
    if name == "Memorisation":
        metric.update(real.roll(1, 3), real=True, training=True)
    return metric


@pytest.mark.parametrize("name", NAMES)
def test_a_pickled_metric_has_the_same_value_and_is_updated_further(name):
    features = issubclass(getattr(zoo.metrics, name), FeatureMetric)
    metric = of_digits(name) if features else whole(name)
    again = pickle.loads(pickle.dumps(metric))
    assert again.compute() == metric.compute()
    if features:
        more = torch.randint(9, (20, 1, 8, 8), generator=torch.Generator().manual_seed(1))
        values = []
        for one in (metric, again):
            one.update(more, real=False)
            values.append(one.compute())
        assert values[0] == values[1]


def test_copies_of_a_metric_share_the_network():
    metric = zoo.metrics.Recall("digits-cnn")
    assert copy.deepcopy(metric).feature_extractor is metric.feature_extractor


def test_fid_and_kid_equal_those_of_torchmetrics_and_torch_fidelity():
    class Identity(nn.Module):
        num_features = 8

        def forward(self, x):
            return x

    source = torch.Generator().manual_seed(0)
    x, y = (torch.randn(120, 8, dtype=torch.float64, generator=source) for _ in range(2))
    y = y @ torch.randn(8, 8, dtype=torch.float64, generator=source) + 1
    fid = FrechetInceptionDistance(feature=Identity(), antialias=False).set_dtype(torch.float64)
    kid = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=120).set_dtype(torch.float64)
    ours = [zoo.metrics.FrechetDistance(dim=8), zoo.metrics.KernelDistance()]
    for metric in (fid, kid, *ours):
        metric.update(x, real=True)
        metric.update(y, real=False)
    value, distance = (metric.compute().item() for metric in ours)
    assert value == pytest.approx(fid.compute().item(), rel=1e-6)
    assert distance == pytest.approx(kid.compute()[0].item(), rel=1e-6)
    statistics = [fid_features_to_statistics(t) for t in (y, x)]
    theirs = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert value == pytest.approx(theirs, rel=1e-6)
    theirs = kid_features_to_metric(y, x, kid_subset_size=120, kid_subsets=1, verbose=False)
    assert distance == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    assert min(value, distance) > 0.1


@pytest.fixture(scope="module")
def digits():
    data = Digits()
    data.setup()
    return data


def test_the_protocol_and_the_metrics_have_the_same_values(digits):
    generated, test = digits.splits["val"].roll(1, 3), digits.splits["test"]
    extractor = classifier("digits-cnn", digits.spec)
    metrics = measure(Context(generated, digits.splits, digits.spec, extractor=extractor))
    names = {"fd": "FrechetDistance", "kid": "KernelDistance"} | {
        name.lower(): name for name in ("Precision", "Recall", "Density", "Coverage", "Memorisation")
    }
    for name, public in names.items():
        metric = getattr(zoo.metrics, public)("digits-cnn")
        for rows in test.split(100):
            metric.update(rows, real=True)
        for rows in generated.split(100):
            metric.update(rows.float(), real=False)  # levels as floats, as models sample them
        if public == "Memorisation":
            metric.update(digits.splits["train"], real=True, training=True)
        value = metrics[f"{name}/digits-cnn"].value
        assert metric.compute().item() == pytest.approx(value, rel=1e-5, abs=1e-9), name
    metric = zoo.metrics.Sharpness("spectrum", levels=17)
    metric.update(test, real=True)
    metric.update(generated, real=False)
    assert metric.compute().item() == metrics["sharpness/spectrum"].value


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.float64])
def test_images_are_levels_of_any_dtype_or_floats_of_a_stated_range(digits, dtype):
    test, generated = digits.splits["test"], digits.splits["val"]
    expected = two_sample(lambda: zoo.metrics.FrechetDistance("digits-cnn"), [generated], [test]).compute()
    levels = two_sample(
        lambda: zoo.metrics.FrechetDistance("digits-cnn"), [generated.to(dtype)], [test.to(dtype)]
    )
    assert levels.compute().item() == pytest.approx(expected.item(), rel=1e-9)
    for low, high in ((0, 1), (-1, 1)):
        scaled = [x.double() / 16 * (high - low) + low for x in (generated, test)]
        ranged = two_sample(
            lambda span=(low, high): zoo.metrics.FrechetDistance("digits-cnn", value_range=span),
            [scaled[0].float()], [scaled[1].float()],
        )  # fmt: skip
        assert ranged.compute().item() == pytest.approx(expected.item(), rel=1e-9)


def test_images_that_are_not_levels_are_an_error():
    metric = zoo.metrics.Precision("digits-cnn")
    assert metric.levels == 17
    for wrong, words in [
        (torch.rand(3, 1, 8, 8), "value_range"),
        (torch.full((3, 1, 8, 8), 17), "0..16"),
        (torch.full((3, 1, 8, 8), -1), "0..16"),
        (torch.zeros(3, 8, 8), r"\(B, C, H, W\)"),
    ]:
        with pytest.raises(InvalidData, match=words):
            metric.update(wrong, real=True)
    for wrong, span in [
        (torch.zeros(3, 1, 8, 8, dtype=torch.uint8), (0, 1)),
        (torch.rand(3, 1, 8, 8), (1, 0)),
    ]:
        with pytest.raises(InvalidData, match="low < high"):
            zoo.metrics.Precision("digits-cnn", value_range=span).update(wrong, real=True)
    with pytest.raises(InvalidData, match="feature_extractor"):
        zoo.metrics.Recall().update(torch.zeros(3, 1, 8, 8), real=True)


def test_wrong_arguments_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ZooError, match="did you mean digits-cnn"):
        zoo.metrics.KernelDistance("digit-cnn")
    with pytest.raises(ZooError, match="TORCH_HOME"):
        zoo.metrics.KernelDistance("dinov2")
    with pytest.raises(ZooError, match="dim="):
        zoo.metrics.FrechetDistance(pixels)
    with pytest.raises(ZooError, match="4 features was given 3"):
        zoo.metrics.FrechetDistance(dim=4).update(torch.zeros(2, 3), real=True)
    with pytest.raises(ZooError, match="more than 4 examples"):
        two_sample(TWO_SAMPLE["FrechetDistance"], [FAKE[:4]], [REAL]).compute()
    with pytest.raises(ZooError, match="spectrum"):
        zoo.metrics.Sharpness("spectre")
    with pytest.raises(ZooError, match="dim=0"):
        zoo.metrics.BitsPerDim(dim=0)
    for name, words in [("Recall", "real=True"), ("EnergyDistance", "real=True")]:
        metric = TWO_SAMPLE[name]()
        metric.update(FAKE, real=False)
        with pytest.raises(ZooError, match=words):
            metric.compute()
    with pytest.raises(ZooError, match="over 8 examples"):
        two_sample(TWO_SAMPLE["ExtrapolatedFrechetDistance"], [FAKE[:9]], [REAL]).compute()
    uneven = whole("Wasserstein2")
    uneven.update(torch.zeros(1, 2), real=False)
    with pytest.raises(ZooError, match="21 and 20"):
        uneven.compute()
    with pytest.raises(ZooError, match="energy="):
        two_sample(zoo.metrics.NormalisedPathEnergy, [FAKE[:9]], [REAL[:9]]).compute()
    lonely = zoo.metrics.Memorisation(pixels)
    lonely.update(FAKE, real=False)
    with pytest.raises(ZooError, match="training=True"):
        lonely.compute()


@pytest.mark.parametrize("name", TWO_SAMPLE)
def test_real_examples_can_be_kept_at_a_reset(name):
    metric = TWO_SAMPLE[name]()
    metric.update(REAL, real=True)
    metric.reset_real_features = False
    metric.update(images(12, 5), real=False)
    metric.compute()
    metric.reset()
    metric.update(FAKE, real=False)
    assert metric.compute() == whole(name).compute()
    metric.reset_real_features = True
    metric.reset()
    metric.update(FAKE, real=False)
    with pytest.raises(ZooError):
        metric.compute()


@pytest.mark.parametrize(
    ("name", "generated", "real", "value"),
    [
        ("Precision", [4.0, 40.0], [0.0, 1.0, 2.0, 3.0], 1 / 2),
        ("Density", [4.0, 40.0], [0.0, 1.0, 2.0, 3.0], 1 / 2),
        ("Coverage", [4.0, 40.0], [0.0, 1.0, 2.0, 3.0], 1 / 4),
        ("Recall", [0.0, 1.0, 2.0, 3.0], [4.0, 40.0], 1 / 2),
    ],
)
def test_a_point_at_exactly_the_reach_is_within(name, generated, real, value):
    sets = (torch.tensor(x)[:, None] for x in (generated, real))
    metric = two_sample(lambda: getattr(zoo.metrics, name)(k=1), *([x] for x in sets))
    assert metric.compute().item() == value


def test_metrics_of_a_collection_share_their_features():
    seen = []

    def counting(x):
        seen.append(len(x))
        return pixels(x)

    names = ("Precision", "Recall", "Density", "Coverage")
    judge = MetricCollection({name: getattr(zoo.metrics, name)(counting) for name in names})
    judge.update(REAL[:12], real=True)
    judge.update(REAL[12:], real=True)
    judge.update(FAKE, real=False)
    assert sum(seen) == 4 * 12 + 12 + 20, "after the first batch torchmetrics updates one metric for all"
    result = judge.clone(prefix="val/").compute()
    assert {name: result[f"val/{name}"] for name in names} == {name: whole(name).compute() for name in names}


def test_metrics_of_the_same_modes_and_of_the_same_bound_form_a_collection():
    names = ("ModeCoverage", "ModeQuality", "ModesCaptured", "ReverseKL")
    judge = MetricCollection({name: ONE_SAMPLE[name][0]() for name in names})
    judge.update(POINTS[:15])
    judge.update(POINTS[15:])
    assert judge.compute() == {name: whole(name).compute() for name in names}
    names = ("EvidenceLowerBound", "Reconstruction", "KLToPrior")
    judge = MetricCollection({name: ONE_SAMPLE[name][0]() for name in names})
    for rows in POINTS.split(15):
        judge.update(reconstruction=rows[:, 0], kl=rows[:, 1])
    values = judge.compute()
    assert values == {name: whole(name).compute() for name in names}
    assert values["EvidenceLowerBound"] == pytest.approx(
        (POINTS[:, 0] - POINTS[:, 1]).mean().item(), abs=1e-6
    )


def test_a_module_extracts_features_in_evaluation_mode():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            return self.dropout(pixels(x))

    metric = two_sample(lambda: zoo.metrics.KernelDistance(Noisy().train()), [FAKE], [REAL])
    assert metric.compute() == whole("KernelDistance").compute()


def test_distances_are_computed_once_for_the_same_sets(monkeypatch):
    calls = []
    cdist = torch.cdist
    monkeypatch.setattr(torch, "cdist", lambda *given, **more: calls.append(1) or cdist(*given, **more))
    pairs, generated, real = Pairs(), pixels(FAKE), pixels(REAL)
    for name in ("Precision", "Recall", "Density", "Coverage"):
        public = getattr(zoo.metrics, name)
        assert issubclass(public, NeighbourMetric)
        metric = two_sample(lambda public=public: public(pairs=pairs), [generated], [real])
        assert metric.compute() == whole(name).compute()
    mine = len(calls) - 2 * 4  # whole() computes two each time
    assert mine == 3, "generated to real, and within each"


def test_a_metric_can_be_plotted():
    matplotlib.use("agg")
    figure, axis = whole("Recall").plot()
    assert axis.get_ylim()[0] <= 0 <= 1 <= axis.get_ylim()[1]
    assert whole("BitsPerDim").plot([torch.tensor(3.0), torch.tensor(2.0)])[0] is not figure
    matplotlib.pyplot.close("all")


def test_kept_examples_are_detached():
    metric = zoo.metrics.NegativeLogLikelihood()
    metric.update(torch.ones(3, requires_grad=True) * 2)
    assert metric.compute().item() == -2
    assert not metric.log_probs[0].requires_grad


def test_bits_per_dim_of_a_uniform_density():
    metric = zoo.metrics.BitsPerDim(dim=64)
    metric.update(torch.full((50,), -64 * math.log(17), dtype=torch.float64))
    assert metric.compute().item() == pytest.approx(math.log2(17), abs=1e-12)


def test_the_error_of_a_mean_is_the_sample_deviation_over_the_root_of_n():
    x = torch.tensor([1.0, 2.0, 4.0, 9.0])
    metric = zoo.metrics.NegativeLogLikelihood()
    metric.update(x)
    deviation = math.sqrt(sum((v - 4) ** 2 for v in x.tolist()) / 3)
    assert metric.estimate().standard_error == pytest.approx(deviation / 2)
    assert metric.estimate().value == -4


def test_the_lightning_module_of_the_documentation_logs_its_metrics(tmp_path, monkeypatch):
    text = Path(__file__).parents[2].joinpath("docs/protocol.md").read_text()
    block = next(b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "LightningModule" in b)
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(compile(block, "docs/protocol.md", "exec"), scope)
    logged = scope["trainer"].callback_metrics
    for name in ("val/FrechetDistance", "val/Recall", "val/bits_per_dim"):
        assert math.isfinite(logged[name]), name
    assert logged["val/bits_per_dim"] > 0
