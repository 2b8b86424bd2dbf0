"""Settings are checked against their annotations; an error is one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from zoo.checks import Positive, PositiveFloat, check_settings, checked, describe, settings
from zoo.errors import ZooError


@settings
class Solver:
    method: Literal["dopri5", "rk4"] = "dopri5"
    atol: PositiveFloat = 1e-5
    steps: Positive = 20


@checked("model")
def build(
    *,
    hidden: Sequence[Positive] = (1, 2),
    solver: Solver = Solver(),  # noqa: B008
    bound: float | Literal["sigmoid"] | None = 3.0,
    flag: bool = False,
) -> Solver:
    return solver


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"hidden": [64, 0]}, "model.hidden must be a list of whole numbers, each at least 1; got [64, 0]."),
        ({"hidden": [1.5]}, "each at least 1; got [1.5]."),
        ({"hidden": [1e30]}, "each at least 1; got [1e+30]."),
        ({"hidden": [10**30]}, "model.hidden must be at most 2**53"),
        ({"solver": {"steps": 1e30}}, "model.solver.steps must be a whole number, at least 1; got 1e+30."),
        ({"solver": {"steps": True}}, "got True."),
        ({"hidden": "ab"}, "got 'ab'."),
        ({"hidden": None}, "got null."),
        ({"bound": "x"}, "model.bound must be a number or sigmoid or null; got 'x'."),
        ({"bound": True}, "got True."),
        ({"bound": float("nan")}, "got nan."),
        ({"flag": 1}, "model.flag must be true or false; got 1."),
        ({"solver": {"atol": -1}}, "model.solver.atol must be a number, above 0; got -1."),
        ({"solver": {"steps": "3"}}, "model.solver.steps must be a whole number, at least 1; got '3'."),
        ({"solver": {"method": "x"}}, "model.solver.method must be dopri5 or rk4; got 'x'."),
        ({"solver": {"step": 3}}, "There is no setting of model.solver called 'step'; did you mean steps?"),
        ({"solver": None}, "model.solver must be a mapping of settings; got null."),
        ({"solvers": {}}, "There is no setting of model called 'solvers'; did you mean solver?"),
    ],
)
def test_the_error_of_a_wrong_setting_has_its_name_and_the_allowed_values(values, sentence):
    with pytest.raises(ZooError) as error:
        build(**values)
    assert sentence in str(error.value)


@checked("model")
def given(*, count: Positive = 1, sizes: Sequence[Positive] = (1,), rate: float = 1.0) -> list:
    return [count, sizes, rate]


def test_a_whole_number_may_be_written_with_an_exponent():
    made = given(count=1e3, sizes=[1e2, 64], rate=1e3)
    assert made == [1000, [100, 64], 1000.0]
    assert [type(made[0]), *map(type, made[1]), type(made[2])] == [int, int, int, float]
    assert Solver(steps=5e1).steps == 50


def test_settings_are_checked_without_calling_what_takes_them():
    made = check_settings(build, {"hidden": [3e0], "solver": {"steps": 3}}, "model")
    assert made == {"hidden": [3], "solver": Solver(steps=3)}
    with pytest.raises(ZooError, match=r"model\.hidden must be a list"):
        check_settings(build, {"hidden": 3}, "model")
    with pytest.raises(ZooError, match="no setting of model called 'hiden'"):
        check_settings(build, {"hiden": 3}, "model")


def test_allowed_settings_are_not_changed():
    assert build(hidden=(3,), bound="sigmoid", flag=True) == Solver()
    assert build(bound=None, solver={"steps": 3}) == Solver(steps=3)
    assert build(solver=Solver(method="rk4")).method == "rk4"


@checked("model")
def build_fixed_step(*, solver: Solver = Solver(method="rk4", steps=8)) -> Solver:  # noqa: B008
    return solver


def test_a_mapping_replaces_fields_of_the_parameters_default():
    assert build_fixed_step(solver={"atol": 1e-3}) == Solver(method="rk4", steps=8, atol=1e-3)
    with pytest.raises(ZooError, match=r"model\.solver\.steps must be a whole number"):
        build_fixed_step(solver={"steps": 0})


def test_a_settings_object_is_checked_and_frozen():
    with pytest.raises(ZooError, match=r"steps must be a whole number, at least 1; got 0\."):
        Solver(steps=0)
    with pytest.raises(AttributeError):
        Solver().steps = 3  # type: ignore[misc]


def test_an_annotation_is_described_in_words():
    assert describe(Sequence[PositiveFloat]) == "a list of numbers, each above 0"
    assert describe(int | None) == "a whole number or null"
