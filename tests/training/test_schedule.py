"""The schedule as a pure function of updates and seconds."""

from __future__ import annotations

import math

import pytest

from zoo.training.schedule import Schedule


def test_the_rate_warms_up_linearly_and_then_falls_along_a_cosine():
    schedule = Schedule("cosine", updates=100, warmup=10)
    factors = [schedule.factor(update) for update in range(101)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10:] == pytest.approx([0.5 * (1 + math.cos(math.pi * i / 90)) for i in range(91)])


def test_a_linear_schedule_ends_at_zero_and_a_constant_one_stays():
    linear = Schedule("linear", updates=100)
    assert [linear.factor(u) for u in (0, 25, 100, 101)] == pytest.approx([1, 0.75, 0, 0])
    constant = Schedule("constant", updates=100, warmup=2)
    assert [constant.factor(u) for u in (0, 1, 2, 99)] == [0.5, 1, 1, 1]


def test_the_rate_follows_the_budget_that_is_used_up_more():
    schedule = Schedule("cosine", updates=100, max_seconds=10)
    assert schedule.factor(50, 2.0) == pytest.approx(0.5)
    assert schedule.factor(50, 7.5) == pytest.approx(0.5 * (1 + math.cos(0.75 * math.pi)))
    assert schedule.factor(50, 10.0) == pytest.approx(0)


def test_training_is_finished_when_either_budget_is_used_up():
    schedule = Schedule("constant", updates=100, max_seconds=10)
    assert not schedule.finished(99, 9.9)
    assert schedule.finished(100, 0.0)
    assert schedule.finished(0, 10.0)
    assert not Schedule("constant", updates=100).finished(99, 1e9)


def test_a_warm_up_as_long_as_the_budget_does_not_divide_by_zero():
    assert Schedule("linear", updates=5, warmup=5).factor(4) == 1.0
    assert Schedule("linear", updates=5, warmup=5).factor(5) == 1.0
