"""Models take turns, a canary tells when the machine was busy, and the times lie beside the records."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from zoo.evaluation.interleaved import interleaved_times, matrix_product


class World:
    """A clock that calls and canaries move: a fake machine that is busy from one time to another."""

    def __init__(self, busy=(0.0, 0.0)):
        self.now, self.busy, self.log = 0.0, busy, []

    def clock(self):
        return self.now

    def work(self, seconds):
        inside = self.busy[0] <= self.now < self.busy[1]
        self.now += 2 * seconds if inside else seconds

    def canary(self):
        self.work(0.001)

    def model(self, name, seconds):
        world = self

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(1))

            def sample(self, n):
                world.log.append((name, n))
                world.work(seconds * n)

        return Model()


def measure(world, models, **changes):
    settings = {"rounds": 6, "batches": (1, 4), "seed": 0, "limit": 60.0, **changes}
    return interleaved_times(models, clock=world.clock, canary=world.canary, **settings)


def test_every_model_and_batch_has_one_turn_a_round_in_shuffled_order():
    world = World()
    models = {name: world.model(name, 0.01) for name in "abc"}
    times = measure(world, models)
    turns = world.log[::2]  # each turn warms up once
    assert world.log[1::2] == turns
    rounds = [turns[6 * i : 6 * i + 6] for i in range(6)]
    everything = {(name, n) for name in "abc" for n in (1, 4)}
    assert all(set(one) == everything for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert times["a"][4].seconds == pytest.approx({str(i): 0.04 for i in range(6)})
    assert times["a"][1].lower_quartile == pytest.approx(0.01)


def test_the_seed_orders_the_turns():
    logs = []
    for seed in (1, 1, 2):
        world = World()
        measure(world, {name: world.model(name, 0.01) for name in "abc"}, seed=seed)
        logs.append(world.log)
    assert logs[0] == logs[1] != logs[2]


def test_a_lone_slow_canary_discards_no_call():
    world, interruptions = World(), iter(range(10**6))
    steady = world.canary
    world.canary = lambda: world.work(0.004) if next(interruptions) % 7 == 3 else steady()
    times = measure(world, {name: world.model(name, 0.01) for name in "ab"})
    assert [calls.discarded for of_model in times.values() for calls in of_model.values()] == [0] * 4


def test_a_call_beside_a_slow_canary_is_discarded():
    world = World(busy=(0.3, 0.9))
    times = measure(world, {name: world.model(name, 0.01) for name in "ab"}, rounds=12)
    for name in "ab":
        assert times[name][1].discarded > 0
        assert len(times[name][1].seconds) + times[name][1].discarded == 12
        assert times[name][1].lower_quartile == pytest.approx(0.01)
        assert max(times[name][1].canary.values()) <= 0.00105


def test_those_that_lack_undisturbed_calls_have_turns_in_further_rounds():
    world = World(busy=(0.2, 3.0))
    times = measure(world, {name: world.model(name, 0.01) for name in "ab"}, rounds=4)
    for calls in (times[name][batch] for name in "ab" for batch in (1, 4)):
        assert len(calls.seconds) >= 3
        assert list(calls.canary.values()) == pytest.approx([0.001] * len(calls.canary))
    assert max(int(n) for n in times["a"][4].seconds) >= 4, "a further round"


def test_on_a_machine_that_stays_busy_the_rounds_end():
    world = World(busy=(0.05, 1e9))
    calls = measure(world, {"a": world.model("a", 0.01)}, rounds=4, batches=(1,))["a"][1]
    assert 0 < len(calls.seconds) < 3
    assert len(calls.seconds) + calls.discarded == 40


def test_a_model_that_is_too_slow_has_no_turns_at_larger_batches():
    world = World()
    times = measure(world, {"slow": world.model("slow", 1.0), "fast": world.model("fast", 0.01)}, limit=2.0)
    assert sorted(times["fast"]) == [1, 4]
    assert sorted(times["slow"]) == [1]
    assert world.log.count(("slow", 4)) == 1, "one call, which exceeds the limit"


def test_the_lower_quartile_is_that_of_the_counted_rounds():
    world, source = World(), random.Random(0)
    model = world.model("a", 0.01)
    model.sample = lambda n: world.work(source.choice([0.01, 0.02, 0.03, 0.04]))
    calls = measure(world, {"a": model}, rounds=40, batches=(1,))["a"][1]
    expected = torch.tensor(sorted(calls.seconds.values())).quantile(0.25).item()
    assert calls.lower_quartile == pytest.approx(expected)


def test_the_canary_multiplies_matrices_on_the_device():
    product = matrix_product(torch.device("cpu"))
    assert isinstance(product(), float)
    assert product() == product()
