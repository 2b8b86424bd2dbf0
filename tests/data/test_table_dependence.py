"""Tests of columns that are functions of others, number the rows or hold one value often, and of extremes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from zoo.data.columns import examine, moments, standardised
from zoo.data.dependence import rounding
from zoo.data.tables import Table, own_units
from zoo.errors import InvalidData

N = 400
RNG = np.random.default_rng(5)
A, B, C = RNG.normal(size=(3, N))
P, Q = RNG.lognormal(size=(2, N))
HEIGHT, MASS = (170 + 10 * A).round(2), (70 + 8 * B).round(2)


def problems(**columns):
    return examine(np.stack([np.asarray(x, float) for x in columns.values()], 1), list(columns)).problems


FUNCTIONS = {
    "rounded sum": {"a": A, "b": B, "d": (A + B).round(3)},
    "rounded sum of rounded": {"a": A.round(3), "b": B.round(3), "d": (A + B).round(3)},
    "significant digits": {"a": A, "d": [float(f"{3 * x:.4g}") for x in A]},
    "square": {"a": A, "d": A**2},
    "exponential": {"a": A, "d": np.exp(A)},
    "reciprocal": {"p": P, "d": 1 / P},
    "sine": {"a": A, "d": np.sin(2 * A)},
    "any monotone": {"a": A, "d": np.sort(Q)[np.argsort(np.argsort(A))]},
    "rounded quotient": {"h": HEIGHT, "m": MASS, "d": (1e4 * MASS / HEIGHT**2).round(2)},
    "product": {"a": A, "b": B, "d": A * B},
    "sum of squares": {"a": A, "b": B, "d": A**2 + B**2},
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_of_other_columns_is_found_and_named(kind):
    (problem,) = problems(**FUNCTIONS[kind])
    assert problem.startswith("column 'd' is a")
    assert "function of 'a'" in problem or "of 'p'" in problem or "of 'h', 'm'" in problem


@pytest.mark.parametrize(
    "columns",
    [
        {"a": A, "b": A + 1e-3 * B},
        {"a": A.round(3), "b": (A + 0.01 * B).round(3), "c": C},
        {"a": A, "b": A**2 + 0.01 * B},
        {"a": np.cos(A) + 0.05 * B, "b": np.sin(A) + 0.05 * C},
        {"a": A, "b": A + P},
        {"a": np.cumsum(P), "b": np.cumsum(Q)},  # both rise with the rows
        {"a": A, "b": np.sort(P)},
        {"a": A, "b": (100 * P).round(2), "c": RNG.integers(0, 10**7, N)},
        {"a": RNG.lognormal(0, 4, N), "b": (RNG.exponential(size=N) * 8).round(2)},
    ],
)
def test_noisy_functions_and_rounded_columns_are_accepted(columns):
    assert problems(**columns) == []


T = np.arange(N)
DAYS = np.array([int(f"2020{m:02}{d:02}") for m in range(1, 13) for d in range(1, 29)] * 2)[:N]
NUMBERS = {
    "from 1000": 1000 + T,
    "downwards": N - T,
    "shuffled": RNG.permutation(N),
    "shuffled in steps": RNG.permutation(N) * 10 + 3,
    "with gaps": np.sort(RNG.permutation(N * 3 // 2)[:N]),
    "equal steps of time": 1.6e9 + 60 * T,
    "fractions": T * 0.01,
    "rounded thirds": (T / 3).round(3),
    "time": 1.6e9 + np.cumsum(RNG.integers(30, 90, N)),
    "milliseconds": 1.6e12 + np.cumsum(RNG.integers(30000, 90000, N)),
    "dates": DAYS,
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_column_that_numbers_or_dates_the_rows_is_found(kind):
    (problem,) = problems(a=A, t=NUMBERS[kind])
    assert problem.startswith("column 't' ")
    assert any(word in problem for word in ("counts", "numbers the rows", "equal steps", "time", "dates"))


def test_one_value_in_3_percent_of_the_rows_is_refused_and_in_less_said():
    b = np.where(T < 16, 0, B)
    assert problems(a=A, b=b) == ["column 'b' is 0 in 16 of 400 rows"]
    few = examine(np.stack([A, np.where(T < 6, 0, B)], 1), ["a", "b"])
    assert few.problems == []
    assert few.notes == ["column 'b' is 0 in 6 of 400 rows"]
    assert examine(np.stack([A, (B * 30).round(1)], 1), ["a", "b"]).notes == []


def test_a_few_equal_values_far_from_all_others_are_refused():
    assert problems(a=A, b=np.where(T < 6, -999, B)) == [
        "column 'b' is -999 in 6 of 400 rows, far from all its other values"
    ]
    assert problems(a=A, b=np.where(T < 6, B.max() + 1, B)) == []
    assert problems(a=A, b=np.where(T < 1, -999, B)) == []


def test_the_rounding_of_a_column_is_the_coarser_of_decimals_and_digits():
    assert (rounding(A.round(3)) == 0.001).all()
    assert not rounding(A).any()
    digits = np.array([float(f"{x:.3g}") for x in 100 * A])
    assert np.isclose(rounding(digits)[np.abs(digits) > 100], 1).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e300, 1.7e308, -1e200, 1e15])
def test_a_value_beside_which_others_vanish_is_an_error_with_its_row(tmp_path, value):
    x = np.stack([A, B], 1)
    x[7, 1] = value
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InvalidData, match=r"column '1' has .* in row 8, .*data\.drop=\[1\]"):
        Table(path=str(tmp_path / "x.npy")).setup()


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e290])
def test_columns_of_any_scale_are_standardised_and_mapped_back(tmp_path, scale):
    np.save(tmp_path / "x.npy", np.stack([A, B * scale], 1))
    data = Table(path=str(tmp_path / "x.npy"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.setup()
    train = data.splits["train"].double()
    assert abs(float(train[:, 1].std(correction=0)) - 1) < 1e-5
    back = own_units(train.numpy(), data.describe().details)["1"] / scale
    assert set(np.round(back, 4)) <= set(np.round(B, 4))


def test_moments_of_ordinary_numbers_are_those_of_numpy():
    x = np.stack([A, 1e9 + B], 1)
    mean, std = moments(x)
    assert (mean == x.mean(0)).all()
    assert (std == x.std(0)).all()
    assert (standardised(x, mean, std) == ((x - mean) / std).astype(np.float32)).all()
