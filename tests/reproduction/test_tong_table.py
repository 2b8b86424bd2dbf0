"""Tests of Tong et al.'s table: what its data must give, and its numbers that a script computed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from zoo.data.planar_pairs import PlanarPair
from zoo.reproduction import load
from zoo.reproduction.check import Splits, fingerprint

PI = math.pi
NOISE = 0.05**2
# Moons before scaling: half circles (cos, sin) and (1 - cos, 1/2 - sin), so E x = 1/2 and E y = 1/4.
MOONS = [
    [1 - 1 / 4 + NOISE, (1 / 2 - 2 / PI) / 2 - 1 / 8],
    [(1 / 2 - 2 / PI) / 2 - 1 / 8, (5 / 4 - 2 / PI) / 2 - 1 / 16 + NOISE],
]
# The S curve, (sin t, sign(t) (cos t - 1)) with t uniform within 3 pi / 2 of 0.
CURVE = [
    [1 / 2 + NOISE, -1 / (3 * PI)],
    [-1 / (3 * PI), 3 / 2 + 4 / (3 * PI) + NOISE],
]
COVARIANCES = {
    "normal_8gaussians": (5**2 / 2 + 1) * np.eye(2),
    "moons_8gaussians": (12**2 / 2 + 1.5**2) * np.eye(2),
    "normal_moons": 4 * np.array(MOONS),
    "normal_scurve": 1.5**2 * np.array(CURVE),
}


def forms():
    return {form.data["data"]: form for form in load("tong_table2").closed_forms.values()}


def splits(name, change=lambda x: x):
    data = PlanarPair(name)
    data.read()
    return Splits(*(change(data.splits[split].double().numpy()) for split in ("train", "test")))


@pytest.mark.parametrize("name", COVARIANCES)
def test_every_pairs_fingerprint_is_that_of_its_covariance_in_closed_form(name):
    entropy = np.linalg.slogdet(2 * PI * math.e * COVARIANCES[name])[1] / 2
    assert forms()[name].value == pytest.approx(entropy, abs=1e-4)
    assert fingerprint(forms()[name], splits(name)).holds


@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("change", [lambda x: 1.06 * x, lambda x: x * [1, 1.12]], ids=["scale", "axis"])
def test_data_of_another_scale_do_not_have_it(name, change):
    assert not fingerprint(forms()[name], splits(name, change)).holds


def test_the_readings_of_the_path_energy_are_those_that_the_script_computed():
    computed = json.loads(Path("results/papers/tong_table2/suspects.json").read_text(encoding="utf-8"))
    columns = load("tong_table2").columns
    for name, pair in (("N->8gaussians", "normal_8gaussians"), ("moons->8gaussians", "moons_8gaussians")):
        found = [reading.divide_by for reading in columns[f"{name} NPE"].readings]
        means = [value["mean"] for value in computed[pair]["denominators"].values()]
        assert found == pytest.approx(means[2:], abs=0.005)


def test_the_exact_field_has_nearly_the_published_path_energy_by_every_denominator():
    """The table says that a fit can have the published values."""
    computed = json.loads(Path("results/papers/tong_table2/suspects.json").read_text(encoding="utf-8"))
    cells = {cell.name: cell for cell in load("tong_table2").cells}
    for name, pair in (("N->8gaussians", "normal_8gaussians"), ("moons->8gaussians", "moons_8gaussians")):
        published, energy = (
            cells[f"I-CFM/{name} NPE"],
            computed[pair]["exact_field"]["energy_by_steps"]["100"],
        )
        for denominator in computed[pair]["denominators"].values():
            by_field = abs(energy - denominator["mean"]) / denominator["mean"]
            assert abs(by_field - published.value) < 2 * published.error
