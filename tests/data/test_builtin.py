"""Tests of scikit-learn's digits and of the toys."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import zoo.data
from zoo.data.digits import Digits
from zoo.data.toys import TOYS, Toy
from zoo.errors import ZooError

# Negative log-likelihood, in nats, of the Gaussian with the density's mean and covariance.
GAUSSIAN_NLL = {
    "moons": 3.2951,
    "8gaussians": 4.2556,
    "checkerboard": 4.4944,
    "circles": 3.8924,
    "rings": 3.5872,
    "pinwheel": 3.6262,
    "2spirals": 3.7472,
    "swissroll": 3.4655,
    "maf_figure1": 4.0803,
}


def test_data_sets_and_lightning_are_imported_at_first_use():
    code = "import sys, zoo.data; zoo.data.DataSpec; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name in zoo.data.__all__:
        assert getattr(zoo.data, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = zoo.data.nothing


def test_resized_digits_are_means_or_interpolations_of_the_original_ones():
    own = Digits()
    own.setup()
    for side in (4, 8, 16, 32):
        data = Digits(side=side)
        data.setup()
        assert data.spec.to_dict() == {"shape": [1, side, side], "levels": 17, "classes": 10}
        assert torch.equal(data.labels["test"], own.labels["test"])
        for x, y in zip(data.splits.values(), own.splits.values(), strict=True):
            assert x.dtype == torch.uint8
            torch.testing.assert_close(x.double().mean(), y.double().mean(), atol=0.3, rtol=0)
    small, x = Digits(side=4), own.splits["train"].double()
    small.setup()
    means = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    assert torch.equal(small.splits["train"].double(), (means + 0.5).floor())
    big = Digits(side=16)
    big.setup()
    corner = x[0, 0, :2, :2]
    inside = (9 * corner[0, 0] + 3 * corner[0, 1] + 3 * corner[1, 0] + corner[1, 1]) / 16
    assert big.splits["train"][0, 0, 1, 1] == (inside + 0.5).floor()
    with pytest.raises(ZooError, match=r"data\.side"):
        Digits(side=7)


def test_another_size_of_digits_is_another_run():
    from zoo.config import compose_run, identify

    own, other = (identify(compose_run(["data=digits", f"data.side={s}"])) for s in ("null", 16))
    assert own.data == "digits"
    assert "side" not in own.config["data"]
    assert other.data == "digits:16"
    assert other.config["data"]["side"] == 16
    assert other.config_hash != own.config_hash
    assert "digits_16" in other.run_id


def test_flat_digits_are_the_same_pixels_as_vectors_and_old_identities_stay():
    from zoo.config import compose_run, identify

    images, vectors = Digits(), Digits(flat=True)
    images.setup()
    vectors.setup()
    assert vectors.spec.shape == (64,)
    assert vectors.spec.levels == images.spec.levels
    for split in ("train", "val", "test"):
        assert torch.equal(vectors.splits[split], images.splits[split].flatten(1))
    own, flat = (identify(compose_run(["data=digits", f"data.flat={f}"])) for f in ("false", "true"))
    assert "flat" not in own.config["data"], "records made before this setting have the same hash"
    assert flat.config_hash != own.config_hash


def test_five_folds_of_digits_test_every_image_once():
    from sklearn.datasets import load_digits

    tested = []
    for fold in range(5):
        data, again = Digits(fold=fold), Digits(fold=fold)
        data.setup()
        again.seed = 5
        again.setup()
        assert data.describe() == again.describe()
        assert [len(data.splits[s]) for s in ("val", "train")] == [180, 1797 - 180 - len(data.splits["test"])]
        assert rows(torch.cat(list(data.splits.values()))) == rows(load_digits().images)
        shares = data.labels["test"].bincount() / len(data.labels["test"])
        torch.testing.assert_close(
            shares, torch.from_numpy(load_digits().target).bincount() / 1797, atol=0.004, rtol=0
        )
        tested += rows(data.splits["test"])
    assert sorted(tested) == rows(load_digits().images)
    with pytest.raises(ZooError, match=r"data\.fold"):
        Digits(fold=5)


def test_a_fold_of_digits_is_another_run_of_other_data():
    from zoo.config import compose_run, identify

    own, other = (identify(compose_run(["data=digits", f"data.fold={f}"])) for f in ("null", 3))
    assert own.data == "digits"
    assert "fold" not in own.config["data"], "records made before this setting have the same hash"
    assert other.data == "digits:fold3"
    assert other.config_hash != own.config_hash


def rows(x):
    """Return images of digits as a sorted list of tuples of their pixels."""
    return sorted(map(tuple, np.asarray(x).reshape(len(x), 64).astype(int).tolist()))


def test_the_splits_of_digits_are_disjoint_and_complete():
    data, again = Digits(), Digits()
    data.setup()
    again.seed = 5
    again.setup()
    assert {split: len(x) for split, x in data.splits.items()} == {"train": 1257, "val": 180, "test": 360}
    assert data.spec.to_dict() == {"shape": [1, 8, 8], "levels": 17, "classes": 10}
    assert data.describe() == again.describe()
    assert not data.natural
    overall = torch.cat(list(data.labels.values())).bincount() / 1797
    for labels in data.labels.values():
        torch.testing.assert_close(labels.bincount() / len(labels), overall, atol=0.006, rtol=0)

    from sklearn.datasets import load_digits

    assert rows(torch.cat(list(data.splits.values()))) == rows(load_digits().images)  # disjoint and complete


@pytest.mark.parametrize("name", TOYS)
def test_a_toys_points_are_draws_of_its_density(name):
    sampler, entropy = TOYS[name]
    covariance = np.cov(sampler(100_000, np.random.default_rng(1)).T)
    nll = math.log(2 * math.pi * math.e) + 0.5 * np.linalg.slogdet(covariance)[1]
    assert nll == pytest.approx(GAUSSIAN_NLL[name], abs=0.02)
    assert entropy < nll


@pytest.mark.parametrize("name", TOYS)
def test_a_toys_entropy_agrees_with_an_estimate(name):
    """The estimate is by nearest neighbours (Kozachenko & Leonenko 1987; k = 4)."""
    from scipy.spatial import cKDTree
    from scipy.special import digamma

    n, k = 40_000, 4
    points = TOYS[name][0](n, np.random.default_rng(2))
    distance = cKDTree(points).query(points, k + 1)[0][:, k]
    estimate = digamma(n) - digamma(k) + math.log(math.pi) + 2 * np.log(distance).mean()
    assert estimate == pytest.approx(TOYS[name][1], abs=0.03)


def test_a_toys_points_depend_only_on_its_name_and_data_seed():
    data, same, other = Toy("rings"), Toy("rings"), Toy("rings", data_seed=1)
    for each in (data, same, other):
        each.setup()
    about = data.describe()
    assert about == same.describe()
    assert about.fingerprint != other.describe().fingerprint
    assert about.sizes == {"train": 10_000, "val": 2_000, "test": 10_000}
    assert about.entropy == 2.62318
    assert data.splits["train"].dtype == torch.float32
    assert not torch.equal(data.splits["train"][:2_000], data.splits["val"])
    with pytest.raises(ZooError, match="did you mean moons"):
        Toy("moon")
