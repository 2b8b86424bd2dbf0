"""Operations, modes and straightness against numbers that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import zoo
from zoo.data.toys import Toy
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import measure
from zoo.evaluation.speed import sampling_flops, sampling_speed, timed_calls
from zoo.models.core.flops import count_flops

PLANE = zoo.DataSpec((2,))


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def sample(self, n):
        return self.layer(self.layer.weight.new_ones(n, 3))


def test_operations_of_a_linear_layer():
    model, x = Linear(), torch.randn(7, 3, requires_grad=True)
    assert count_flops(lambda: model.layer(x)) == (2 * 7 * 3 * 5, None)
    assert count_flops(lambda: model.layer(x).sum().backward())[0] == 3 * 2 * 7 * 3 * 5
    found = sampling_flops(model, 0, 5.0, {"latency_seconds": 0.1})
    assert found == {"flops_per_example": 2 * 3 * 5}
    slow = sampling_flops(model, 0, 5.0, {"latency_seconds": 6.0})
    assert slow["flops_per_example"] is None
    assert "time_limit" in slow["flops_reason"]
    with torch.no_grad():
        assert count_flops(lambda: torch.mv(model.layer.weight, x[0])) == (2 * 3 * 5, None)
        for add in (torch.addmv, torch.Tensor.addmv_):
            assert count_flops(lambda f=add: f(torch.zeros(5), model.layer.weight, x[0]))[0] == 2 * 3 * 5
    convolution, image = nn.Conv2d(2, 3, 3, padding=1), torch.zeros(1, 2, 4, 4)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as torchs:
        convolution(image).sum().backward()
    assert count_flops(lambda: convolution(image).sum().backward())[0] == torchs.get_total_flops()
    none, reason = count_flops(lambda: torch.ones(3).exp())
    assert none is None
    assert "no operation" in reason
    none, reason = count_flops(lambda: torch.zeros(2) @ torch.zeros(3))
    assert none is None
    assert "does not get through" in reason


def test_the_clock_is_read_when_the_device_has_done_its_work(monkeypatch):
    """Before it starts, what was queued by others; before it stops, what the sample has queued."""
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


def test_whether_a_sampler_is_compiled_is_told():
    model = Linear()
    options = {"latency_repeats": 1, "throughput_batches": [1], "throughput_repeats": 1}
    speed = sampling_speed(model, **options)
    assert speed["compiled"] is False
    assert speed["peak_memory_bytes"] is None
    assert "CUDA" in speed["peak_memory_reason"]
    model.layer.compile(backend="eager")
    assert sampling_speed(model, **options)["compiled"] is True


@pytest.mark.parametrize(
    ("settings", "critics"),
    [(["model=maf"], 0), (["model=gan", "training.critic_steps=2"], 2), (["model=flow_matching"], 0)],
)
def test_a_run_counts_the_operations_of_an_update_and_is_not_changed_by_it(tmp_path, settings, critics):
    from zoo.config import compose_run
    from zoo.running.run import run

    common = [
        "data=moons", "data.train=100", "data.val=10", "data.test=20", "logger=none", "trainer=cpu",
        "training.updates=4", "training.batch_size=10", "training.validations=1", "training.ema=0",
        "evaluation.samples=20", "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1",
        "evaluation.throughput_batches=[1]",
    ]  # fmt: skip
    from zoo.training.callbacks import CountFlops

    seen = {}
    end = CountFlops.on_train_end

    def watch(self, trainer, module):
        before = {k: v.clone() for k, v in module.model.state_dict().items()}
        end(self, trainer, module)
        seen["same"] = all(torch.equal(v, before[k]) for k, v in module.model.state_dict().items())
        seen["watched"] = module.stability.updates_watched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CountFlops, "on_train_end", watch)
        record = run(compose_run([*settings, *common]), tmp_path)
    assert seen == {"same": True, "watched": 4}
    assert record.cost.compiled is False
    assert record.cost.flops_per_example, record.cost.flops_reason
    assert record.sampling.flops_per_example, record.sampling.flops_reason
    if not critics:  # forward, and backward to inputs and weights
        assert record.cost.flops_per_example < 10 * 2 * record.cost.parameters
        assert record.cost.flops_per_example > 2 * record.cost.parameters


def modes_of(samples):
    data = Toy("8gaussians", train=50, val=5, test=200)
    data.setup()
    context = Context(samples, data.splits, data.spec, modes=data.modes)
    found = measure(context)
    return found["mode_coverage"], found["mode_quality"]


def test_modes_are_counted():
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
    assert quality.details["floor"] > 0.9, "real training points, as many"
    no_modes = Context(test, data.splits, data.spec)
    assert "mode_coverage" not in measure(no_modes)
    assert Toy("moons").modes is None


@pytest.mark.parametrize("name", ["ffjord", "diffusion", "flow_matching"])
def test_continuous_models_tell_how_straight_their_paths_are(name):
    from zoo.models.core import rng

    model = zoo.build(name, PLANE).eval()
    with torch.no_grad(), rng.keyed(rng.keys(0, count=200)):
        found = model.diagnostics(torch.zeros(200, 2))["straightness"]
    assert 0 < found.value < 100
    assert found.n == 128
    rows = zoo.build("ffjord", PLANE, flows=2).eval()
    assert rows.diagnostics(torch.zeros(5, 2)) == {}
