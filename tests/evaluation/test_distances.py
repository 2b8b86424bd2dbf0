"""Tests of distances between sets: closed forms, libraries as oracles, errors."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from zoo.data.digits import Digits
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.evaluation import frechet
from zoo.evaluation.classifiers import SHIPPED
from zoo.evaluation.energy import energy_distance
from zoo.evaluation.features import classifier, sha256, to_uint8
from zoo.evaluation.frechet import frechet_distance, moments, statistics
from zoo.evaluation.train_classifier import RECIPES, accuracy, main


@pytest.fixture(scope="module")
def digits():
    data = Digits()
    data.setup()
    return data


def test_the_frechet_distance_has_its_closed_form():
    """With commuting covariances the distance is |m|^2 + sum (s1 - s2)^2."""
    s1, s2 = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, 0.5, 1.0])
    q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    c1, c2 = (q @ torch.diag(s.double() ** 2) @ q.T for s in (s1, s2))
    mean = torch.tensor([1.0, -2.0, 0.5])
    expected = mean.square().sum() + (s1 - s2).square().sum()
    assert frechet_distance(torch.zeros(3), c1, mean, c2) == pytest.approx(expected.item(), abs=1e-6)
    assert frechet_distance(mean, c1, mean, c1) == pytest.approx(0, abs=1e-6)


class Identity(nn.Module):
    num_features = 8

    def forward(self, x):
        return x


def test_frechet_agrees_with_the_libraries():
    x, y = torch.randn(100, 8), torch.randn(150, 8) @ torch.randn(8, 8) + 1
    ours = frechet.between(x, y)
    stats = [fid_features_to_statistics(t.double()) for t in (x, y)]
    assert ours == pytest.approx(
        fid_statistics_to_metric(*stats, False)["frechet_inception_distance"], abs=1e-4
    )
    metric = FrechetInceptionDistance(feature=Identity(), antialias=False)
    metric.update(x, real=True)
    metric.update(y, real=False)
    assert ours == pytest.approx(metric.compute().item(), rel=1e-5, abs=1e-4)


def test_moments_of_parts_add_up_to_those_of_the_whole():
    x = torch.randn(50, 4, dtype=torch.float64)
    parts = [a + b for a, b in zip(moments(x[:7]), moments(x[7:]), strict=True)]
    for a, b in zip(statistics(*moments(x)), statistics(*parts), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    mean, covariance = statistics(*moments(x))
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x.numpy(), rowvar=False), atol=1e-12)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (torch.randn(4, 4), "more than 4 examples"),
        (torch.ones(20, 4) * 3.3, "constant"),
        (torch.full((20, 4), math.nan), "finite"),
    ],
)
def test_too_few_constant_or_infinite_features_have_no_frechet_distance(features, words):
    with pytest.raises(ZooError, match=words):
        frechet.between(features, torch.randn(20, 4))


def test_the_energy_distance_of_normals_has_its_closed_form():
    x, y = torch.randn(2000, 1), torch.randn(2000, 1)
    assert abs(energy_distance(x, y)[0]) < 0.01
    # X - Y ~ N(d, 2): E|X-Y| is a folded normal's mean
    d, s = 1.5, math.sqrt(2)
    folded = s * math.sqrt(2 / math.pi) * math.exp(-(d**2) / 4) + d * math.erf(d / 2)
    assert energy_distance(x, y + d)[0] == pytest.approx(2 * folded - 4 / math.sqrt(math.pi), abs=0.08)
    with pytest.raises(ZooError, match="two examples"):
        energy_distance(x[:1], y)
    with pytest.raises(ZooError, match="finite"):
        energy_distance(x / 0, y)


def test_the_error_of_an_energy_distance_is_its_spread_over_draws():
    result = [energy_distance(torch.randn(60, 2), torch.randn(80, 2) + 0.7) for _ in range(300)]
    values, errors = torch.tensor(result, dtype=torch.float64).unbind(1)
    assert errors.square().mean().sqrt() == pytest.approx(values.std().item(), rel=0.15)
    assert math.isnan(energy_distance(torch.randn(2, 2), torch.randn(9, 2))[1])


def test_levels_are_scaled_to_bytes_and_rounded_half_up():
    k = torch.arange(256.0)
    assert to_uint8(k).tolist() == list(range(256))
    assert to_uint8((k / 127.5 - 1 + 1) * 127.5).tolist() == list(range(256))
    assert to_uint8(torch.tensor([-3.0, 300.0, 0.5, 1.49])).tolist() == [0, 255, 1, 1]
    assert to_uint8(torch.tensor([0, 8, 16]), levels=17).tolist() == [0, 128, 255]


def test_packaged_classifiers_have_their_recorded_accuracy(digits):
    model, metadata = SHIPPED["digits-cnn"].load()
    for split in ("val", "test"):
        reached = accuracy(model, digits.splits[split], digits.labels[split])
        assert reached > 0.95
        assert reached == pytest.approx(float(metadata[f"{split}_accuracy"]), abs=0.006)
    assert classifier("digits-cnn", digits.spec).sha256 == sha256(SHIPPED["digits-cnn"].path)


def test_the_classifier_of_mnist_recognises_other_digits(digits):
    """Scikit-learn's digits are smaller, by other writers and of other grey values than MNIST's."""
    shipped = SHIPPED["mnist-cnn"]
    model, metadata = shipped.load()
    assert float(metadata["val_accuracy"]) > 0.97
    assert shipped.path.stat().st_size < 300_000
    x = F.interpolate(digits.splits["test"].float() * 255 / 16, size=20, mode="bicubic").clamp(0, 255)
    assert accuracy(model, F.pad(x, [4] * 4), digits.labels["test"]) > 0.6
    binary = DataSpec((1, 28, 28), levels=2)
    bits = torch.randint(2, (3, 1, 28, 28))
    ours = classifier("mnist-cnn", binary)(bits)
    torch.testing.assert_close(ours, classifier("mnist-cnn", shipped.spec)(bits * 255))
    assert ours.shape == (3, 64)


def test_the_classifier_of_cifar_is_small_and_has_its_accuracy():
    shipped = SHIPPED["cifar-cnn"]
    model, metadata = shipped.load()
    assert 0.5 < float(metadata["val_accuracy"]) < 1
    assert shipped.path.stat().st_size < 300_000
    assert model.head.weight.dtype == torch.float32
    x = torch.randint(256, (9, 3, 32, 32))
    features = classifier("cifar-cnn", shipped.spec)(x)
    assert features.shape == (9, 64)
    assert torch.linalg.matrix_rank(features - features.mean(0)) == 8
    assert (features - classifier("cifar-cnn", shipped.spec)(x.flip(2))).abs().max() > 1e-3


def test_the_classifiers_command_trains(tmp_path, monkeypatch, capsys):
    short = dataclasses.replace(RECIPES["digits"], epochs=2, shift=1, mirror=True, half=True)
    monkeypatch.setitem(RECIPES, "digits", short)
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for file in files:
        main(["digits", "--output", str(file)])
    (one, about), (other, _) = (SHIPPED["digits-cnn"].load(file) for file in files)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert float(about["val_accuracy"]) > 0.3
    assert sha256(files[0]) in capsys.readouterr().out
    monkeypatch.setenv("ZOO_NO_DOWNLOAD", "1")
    with pytest.raises(SystemExit):
        main(["mnist", f"data.root={tmp_path}"])  # the folder is empty, and downloads are off


def test_floor_is_far_below_noise(digits):
    extractor = classifier("digits-cnn", digits.spec)
    test, train = (extractor(digits.splits[s]) for s in ("test", "train"))
    noise = extractor(torch.randint(17, (1000, 1, 8, 8)))
    assert frechet.between(train, test) * 20 < frechet.between(noise, test)
    torch.testing.assert_close(extractor(digits.splits["test"], batch_size=7), test, rtol=0, atol=1e-5)


def test_half_samples_give_the_error_and_take_the_bias_away():
    """The distance of 60 and 200 points of one distribution, of which the population's is zero."""
    generator = torch.Generator().manual_seed(0)
    values, errors, extrapolated = [], [], []
    for _ in range(60):
        x, y = (torch.randn(n, 4, generator=generator) for n in (60, 200))
        value = frechet.between(x, y)
        error, mean = frechet.by_halves(x, y, seed=0, rounds=20)
        values.append(value)
        errors.append(error)
        extrapolated.append(2 * value - mean)
    result = torch.tensor([values, errors, extrapolated])
    assert result[0].mean() > 10 * result[2].mean().abs()
    assert 0.9 < result[1].mean() / result[0].std() < 2


def test_half_samples_that_have_no_distance_are_an_error():
    features = torch.zeros(60, 4)
    features[0] = 1.0  # many halves are constant
    reference = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    assert frechet.between(features, reference) > 0
    with pytest.raises(ZooError, match="constant set"):
        frechet.by_halves(features, reference, seed=0, rounds=20)
