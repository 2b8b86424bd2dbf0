"""Tests of the speed of sampling, with clocks and layers of known results."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.errors import Unsound
from zoo.evaluation.settings import Settings
from zoo.evaluation.speed import load_average, sampling_speed, timed_calls
from zoo.models.core.flops import count_flops
from zoo.models.core.nfe import add_nfe

ONCE = Settings.of({"latency_repeats": 1, "throughput_batches": [1], "throughput_repeats": 1})


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def sample(self, n):
        return self.layer(self.layer.weight.new_ones(n, 3))


class Slow(nn.Module):
    """A sampler that takes 2 s + n/10 s by a fake clock."""

    family, likelihood = "autoregressive", "exact"

    def __init__(self):
        super().__init__()
        self.now, self.calls = 0.0, []

    def sample(self, n, temperature=1.0):
        self.now += 2 + n / 10
        self.calls.append(n)
        add_nfe(5)
        return torch.zeros(n, 2)


def measure(model, **settings):
    """Return the speed by the model's clock, by default without a time limit."""
    return sampling_speed(
        model, Settings.of({"time_limit_seconds": 1000} | settings), clock=lambda: model.now
    )


def test_latency_and_throughput_follow_from_the_clock():
    model = Slow()
    speed = measure(model, latency_repeats=3, throughput_batches=[10, 20], throughput_repeats=2)
    assert speed.latency_seconds == pytest.approx(2.1)
    assert speed.latency_quartiles == pytest.approx([2.1, 2.1])
    assert (speed.throughput, speed.throughput_batch) == (pytest.approx(5), 20)
    assert speed.throughput_by_batch == {"10": pytest.approx(10 / 3), "20": pytest.approx(5)}
    assert speed.sequential_evaluations == 5
    assert model.calls[:10] == [1] * 4 + [10] * 3 + [20] * 3


class Uneven(nn.Module):
    """A sampler whose calls take the given seconds, one after another."""

    likelihood, sampling = "none", "sequential"

    def __init__(self, *seconds):
        super().__init__()
        self.now, self.seconds = 0.0, list(seconds)

    def sample(self, n):
        self.now += self.seconds.pop(0) if self.seconds else 1.0
        return torch.zeros(n, 2)

    def sampling_details(self):
        return {"sampler": "uneven"}


def test_latency_and_throughput_are_medians_without_the_first_call():
    model = Uneven(100, 10, 1, 4, 3, 2, 50, 8, 1, 2)
    speed = measure(model, latency_repeats=5, throughput_batches=[6], throughput_repeats=3)
    assert speed.latency_seconds == 3, "the median of 1, 2, 3, 4, 10"
    assert speed.latency_quartiles == [2, 4]
    assert speed.latency_repeats == 5
    assert speed.throughput == 6 / 2, "the median of 1, 2, 8"


def test_order_load_and_sampler_are_reported(monkeypatch):
    loads = iter([0.5, 7.0, 1.0, 1.0])
    monkeypatch.setattr(os, "getloadavg", lambda: (next(loads), 0.0, 0.0))
    speed = measure(Uneven(), latency_repeats=1, throughput_batches=[1], throughput_repeats=1)
    assert (speed.order, speed.details) == ("sequential", {"sampler": "uneven"})
    assert (speed.load.before, speed.load.after, speed.load.cores) == (0.5, 7.0, os.cpu_count())
    assert (speed.device, speed.dtype, speed.threads) == ("cpu", "float32", torch.get_num_threads())
    bare = measure(Slow(), latency_repeats=1, throughput_batches=[1], throughput_repeats=1)
    assert (bare.order, bare.details) == (None, {})


def test_a_system_without_a_load_average_has_none(monkeypatch):
    def fails():
        raise OSError("unobtainable")

    monkeypatch.setattr(os, "getloadavg", fails)
    assert load_average() is None
    monkeypatch.delattr(os, "getloadavg")
    assert load_average() is None


def test_sequential_evaluations_are_counted_at_each_batch_size():
    class Adaptive(Slow):
        """A sampler that takes one more step for every ten examples, like an adaptive solver."""

        def sample(self, n, temperature=1.0):
            add_nfe(n // 10)
            return super().sample(n, temperature)

    model = Adaptive()
    speed = measure(model, latency_repeats=2, throughput_batches=[20, 10], throughput_repeats=2)
    assert speed.sequential_evaluations == 5
    assert speed.sequential_evaluations_by_batch == {"10": 6, "20": 7}
    assert list(speed.throughput_by_batch) == list(speed.sequential_evaluations_by_batch)
    assert model.calls[:9] == [1] * 3 + [10] * 3 + [20] * 3, "no extra samples are drawn for the count"


def test_the_time_limit_ends_slow_samplers():
    model = Slow()
    speed = measure(model, latency_repeats=50, throughput_batches=[10, 20], time_limit_seconds=2.5)
    assert model.calls[:3] == [1, 1, 10], "a call with 10 took 3 s: it is the measurement, and 20 is left out"
    assert speed.throughput == pytest.approx(10 / 3)
    assert list(speed.throughput_by_batch) == ["10"]


def test_operations_of_a_sample_are_counted_unless_a_call_is_too_slow():
    assert sampling_speed(Linear(), ONCE).flops_per_example == 2 * 3 * 5

    class Sleeper(Slow):
        def sample(self, n, temperature=1.0):
            assert len(self.calls) < 2, "one call for latency, one for the batch, none for the count"
            return super().sample(n, temperature)

    slow = measure(Sleeper(), throughput_batches=[1], time_limit_seconds=1)
    assert slow.latency_seconds == pytest.approx(2.1)
    assert slow.flops_per_example is None
    assert "time_limit" in slow.flops_reason


def test_a_sample_that_cannot_be_computed_has_a_reason_in_place_of_numbers():
    class Fails(Slow):
        def sample(self, n, temperature=1.0):
            if n > 1:
                raise Unsound("The fixed point is lost.")
            return super().sample(n)

    speed = measure(Fails(), latency_repeats=1)
    assert speed.reason == "The fixed point is lost."
    assert speed.latency_seconds is speed.throughput is speed.latency_repeats is None
    assert speed.throughput_by_batch == {}
    assert speed.device == "cpu"


def test_operations_of_known_layers():
    model, x = Linear(), torch.randn(7, 3, requires_grad=True)
    assert count_flops(lambda: model.layer(x)) == (2 * 7 * 3 * 5, None)
    assert count_flops(lambda: model.layer(x).sum().backward())[0] == 3 * 2 * 7 * 3 * 5
    with torch.no_grad():
        assert count_flops(lambda: torch.mv(model.layer.weight, x[0])) == (2 * 3 * 5, None)
        for add in (torch.addmv, torch.Tensor.addmv_):
            assert count_flops(lambda f=add: f(torch.zeros(5), model.layer.weight, x[0]))[0] == 2 * 3 * 5
    convolution, image = nn.Conv2d(2, 3, 3, padding=1), torch.zeros(1, 2, 4, 4)
    with FlopCounterMode(display=False) as theirs:
        convolution(image).sum().backward()
    assert count_flops(lambda: convolution(image).sum().backward())[0] == theirs.get_total_flops()
    none, reason = count_flops(lambda: torch.ones(3).exp())
    assert none is None
    assert "no operation" in reason
    none, reason = count_flops(lambda: torch.zeros(2) @ torch.zeros(3))
    assert none is None
    assert "does not get through" in reason


def test_the_clock_is_read_when_the_device_has_done_its_work(monkeypatch):
    """The queue is empty before the clock starts and before it stops."""
    happened = []

    class Queueing(nn.Module):
        def sample(self, n):
            happened.append("sample")
            return torch.zeros(n, 1)

    def clock():
        happened.append("clock")
        return float(len(happened))

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: happened.append(f"wait {device}"))
    timed_calls(Queueing(), 2, 3, 1e9, clock, torch.device("cuda"))
    one = ["wait cuda", "clock", "sample", "wait cuda", "clock"]
    assert happened == 4 * one, "the first warms up, three count"


def test_a_compiled_sampler_is_recognised():
    model = Linear()
    speed = sampling_speed(model, ONCE)
    assert speed.compiled is False
    assert speed.peak_memory_bytes is None
    assert "CUDA" in speed.peak_memory_reason
    model.layer.compile(backend="eager")
    assert sampling_speed(model, ONCE).compiled is True
