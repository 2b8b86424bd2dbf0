"""Tests of MNIST in logit space: the draw of one generator, and the published Gaussian's two likelihoods."""

from __future__ import annotations

import numpy as np
import pytest
from published_files import REAL, small_mnist

from zoo.data.logit_mnist import LogitMNIST


def test_the_noise_of_the_splits_is_drawn_in_the_published_order(tmp_path, monkeypatch):
    root, (x, y, x_test, y_test) = small_mnist(tmp_path, monkeypatch)
    data = LogitMNIST(root=str(root))
    data.setup()
    assert data.spec.to_dict() == {"shape": [784], "levels": None, "classes": 10}
    random = np.random.RandomState(42)
    for split, images in {"train": x[:15], "val": x[15:], "test": x_test}.items():
        p = 1e-6 + (1 - 2e-6) * (images.reshape(len(images), -1) / 256 + random.rand(len(images), 784) / 256)
        np.testing.assert_allclose(data.splits[split].numpy(), np.log(p / (1 - p)), rtol=2e-7, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([data.labels["train"], data.labels["val"]]), y)
    np.testing.assert_array_equal(data.labels["test"], y_test)


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason=f"no MNIST in {REAL}")
def test_a_gaussian_has_the_published_likelihoods_of_maf_table_2():
    """Papamakarios et al. 2017: -1366.9 +- 1.4 and, as a mixture of ten classes, -1344.7 +- 1.8 nats."""
    from zoo.reproduction.closed_form import class_gaussians, gaussian

    data = LogitMNIST(root=str(REAL))
    data.setup()
    train, test = (data.splits[split].double().numpy() for split in ("train", "test"))
    whole = gaussian(train, test)
    assert whole.mean() == pytest.approx(-1366.90, abs=0.005)
    assert 2 * whole.std() / 100 == pytest.approx(1.44, abs=0.005)
    mixture = class_gaussians(train, data.labels["train"].numpy(), test)
    assert mixture.mean() == pytest.approx(-1344.66, abs=0.005)
    assert 2 * mixture.std() / 100 == pytest.approx(1.78, abs=0.005)
