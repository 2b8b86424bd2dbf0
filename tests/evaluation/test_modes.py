"""Tests of the metrics of data with modes."""

from __future__ import annotations

import math

import pytest
import torch

from zoo.data.spec import DataSpec
from zoo.data.toys import Toy
from zoo.evaluation import metrics
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import definitions, measure

OF_MODES = ("mode_coverage", "mode_quality", "modes_captured", "reverse_kl")


@pytest.fixture(autouse=True)
def _only_metrics_of_modes(monkeypatch):
    """Leave out the other metrics: their floors at thousands of points take seconds."""
    of_modes = [definition for definition in definitions() if definition.name in OF_MODES]
    assert len(of_modes) == len(OF_MODES)
    monkeypatch.setattr(metrics, "definitions", lambda: of_modes)


def modes_of(samples):
    data = Toy("8gaussians", train=50, val=5, test=200)
    data.setup()
    context = Context(samples, data.splits, data.spec, modes=data.modes)
    metrics = measure(context)
    return metrics["mode_coverage"], metrics["mode_quality"]


def test_modes_near_enough_samples_are_counted():
    data = Toy("8gaussians", train=50, val=5, test=4000)
    data.setup()
    test = data.splits["test"]
    coverage, quality = modes_of(test)
    assert (coverage.value, coverage.direction, coverage.n) == (1.0, "higher", 4000)
    assert quality.value == pytest.approx(1 - math.exp(-4.5), abs=3 * quality.standard_error + 1e-3)
    right = test[test[:, 0] > 1]
    nearest = torch.cdist(right, data.modes[0]).argmin(1)
    parts = torch.bincount(nearest, minlength=8) / len(right)
    assert modes_of(right)[0].value == (parts > 1 / 64).sum() / 8 < 0.6
    coverage, quality = modes_of(torch.randn(500, 2) * 0.1)
    assert (coverage.value, quality.value) == (0.0, 0.0)
    assert quality.details["floor"] > 0.9, "as many real training points"
    no_modes = Context(test, data.splits, data.spec)
    assert "mode_coverage" not in measure(no_modes)
    assert Toy("moons").modes is None


def test_a_single_sample_captures_a_mode_and_uneven_shares_cost_nats():
    """Four modes: three samples at the first, one at the second, one far away; none at the others."""
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    samples = torch.tensor([[0.1, 0.0], [0.0, 0.1], [0.2, 0.0], [5.0, 0.1], [50.0, 50.0]])
    splits = {"train": centres, "test": centres}
    metrics = measure(Context(samples, splits, DataSpec((2,)), modes=(centres, 0.1)))
    assert metrics["modes_captured"].value == 2
    assert metrics["modes_captured"].details["modes"] == 4
    expected = math.log(4) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert metrics["reverse_kl"].value == pytest.approx(expected)
    assert metrics["reverse_kl"].n == 4
    even = measure(Context(centres, splits, DataSpec((2,)), modes=(centres, 0.1)))
    assert even["reverse_kl"].value == pytest.approx(0, abs=1e-12)
    lost = measure(Context(centres + 40, splits, DataSpec((2,)), modes=(centres, 0.1)))
    assert (lost["modes_captured"].value, lost["reverse_kl"].value) == (0, None)
    assert "within 3" in lost["reverse_kl"].reason
