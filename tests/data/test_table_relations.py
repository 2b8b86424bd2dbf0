"""Tests of columns that others determine up to a sign, on a circle, or with bends and jumps."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data.columns import examine

N = 400
RNG = np.random.default_rng(7)
A, B, C = RNG.normal(size=(3, N))
MANY = {f"x{i}": x for i, x in enumerate(RNG.normal(size=(40, N)))}
SOME = dict(list(MANY.items())[:12])
LONG = RNG.normal(size=(8, N * 5))
BALL = RNG.normal(size=(4, N))
BALL /= np.linalg.norm(BALL, axis=0)
ANGLE = RNG.uniform(0, 2 * np.pi, N)


def problems(columns):
    return examine(np.stack([np.asarray(x, float) for x in columns.values()], 1), list(columns)).problems


RELATIONS = {
    "circle": ({"a": np.cos(ANGLE), "d": np.sin(ANGLE)}, "'a'"),
    "circle among many": ({**MANY, "a": np.cos(ANGLE), "d": np.sin(ANGLE)}, "'a'"),
    "rounded ellipse": ({"a": (3 * np.cos(ANGLE) + 5).round(5), "d": np.sin(ANGLE).round(5)}, "'a'"),
    "sphere": ({"a": BALL[0], "b": BALL[1], "c": BALL[2], "d": BALL[3]}, "'a', 'b' and 'c'"),
    "rounded size": ({"a": A.round(6), "d": np.abs(A).round(5)}, "'a'"),
    "distance": ({"a": A, "d": np.abs(A - 1)}, "'a'"),
    "rounded distance": ({"a": A.round(5), "d": np.abs(A - 0.7).round(4)}, "'a'"),
    "distance of two": ({"a": A, "b": B, "d": np.abs(A - B)}, "'a' and 'b'"),
    "remainder": ({"a": 3 * A, "d": (3 * A) % 2}, "'a'"),
    "product among many": ({**MANY, "a": A, "b": B, "d": A * B}, "'a' and 'b'"),
    "rounded product": ({**SOME, "a": A, "b": B, "d": (A * B).round(4)}, "'a' and 'b'"),
    "quotient among many": ({**MANY, "a": A, "b": B, "d": A / B}, "'a' and 'b'"),
    "product of four": ({**SOME, "a": A, "b": B, "c": C, "d": -2 * A * B / C**2}, "'a', 'b' and 'c'"),
    "product and sum": (
        {**{f"x{i}": x for i, x in enumerate(LONG)}, "d": LONG[0] * LONG[1] + LONG[2]},
        "'x0', 'x1' and 'x2'",
    ),
}


@pytest.mark.parametrize("kind", RELATIONS)
def test_a_column_that_others_determine_is_found_and_named(kind):
    columns, others = RELATIONS[kind]
    (problem,) = problems(columns)
    assert problem.startswith("column 'd' is a function of ")
    assert problem.removeprefix("column 'd' is a function of ").replace(" and ", ", ") == others.replace(
        " and ", ", "
    )


EQUAL = {
    "size": ({"a": A, "d": np.abs(A)}, "'a'"),
    "maximum": ({"a": A, "b": B, "d": np.maximum(A, B)}, "'a' or 'b'"),
    "middle of three": ({"a": A, "b": B, "c": C, "d": np.median([A, B, C], 0)}, "'a' or 'b' or 'c'"),
    "negated below": ({"a": A, "b": B, "d": np.where(B > 0, A, -A)}, "'a'"),
}


@pytest.mark.parametrize("kind", EQUAL)
def test_a_column_that_equals_others_in_many_rows_is_found_and_named(kind):
    columns, others = EQUAL[kind]
    assert problems(columns) == [f"column 'd' equals {others}, up to a sign, in many rows"]


NOISE = RNG.normal(size=(2, N)) * 0.02


@pytest.mark.parametrize(
    "columns",
    [
        {"a": np.cos(ANGLE) + NOISE[0], "d": np.sin(ANGLE) + NOISE[1]},
        {"a": A, "d": np.abs(A) + NOISE[0]},
        {"a": A, "d": np.abs(A - 1) + 0.1 * NOISE[0]},
        {**SOME, "d": SOME["x0"] * SOME["x1"] * np.exp(NOISE[0])},
        {"a": A.round(2), "b": B.round(2), "c": (10 * C).round(1)},
        {"a": (A * 100).round(), "b": (B * 100).round(), "c": C},
        {f"x{i}": np.exp(3 * x) for i, x in enumerate(LONG)},
        {f"x{i}": x for i, x in enumerate(RNG.standard_t(1, size=(10, N)))},
        {f"x{i}": x for i, x in enumerate(RNG.lognormal(0, 4, size=(10, N)))},
        {"a": np.cumsum(A), "b": np.cumsum(B), "c": np.cumsum(C)},
        {"a": np.cumsum(A).round(2), "b": np.sin(np.arange(N) / 30) + 0.1 * B},
        {"a": RNG.beta(0.2, 0.2, N), "b": RNG.beta(0.2, 0.2, N)},
        {"a": np.where(np.arange(N) < 11, 0, A), "b": np.where(np.arange(N) < 11, 0, B), "c": C},
        {"a": A, "b": np.where(RNG.random(N) < 0.03, A, B)},
        MANY,
    ],
)
def test_noisy_relations_and_skewed_columns_are_accepted(columns):
    assert problems(columns) == []
