"""An update leaves the host free to go on: no value is waited for where the device can decide."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from fitting import batches, trainer
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo.errors import Diverged
from zoo.training import optimizers, reports
from zoo.training.adversarial import Adversarial
from zoo.training.likelihood import MaximumLikelihood
from zoo.training.matching import Matching

SPEC = zoo.DataSpec((2,))
RULES = {"maf": MaximumLikelihood, "gan": Adversarial, "flow_matching": Matching}
SMALL = {"maf": {"layers": 1, "hidden": [4]}, "gan": {"hidden": 4}, "flow_matching": {"hidden": [4]}}


class Waits(TorchDispatchMode):
    """Count the values that the host waits for."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Take the paths of a GPU on the CPU: a fused optimiser, and values that are read late."""
    monkeypatch.setattr(optimizers, "FUSED_ON", {"cpu"})
    monkeypatch.setattr(reports, "LATE", {"cpu"})


def counted(name, updates=8, **settings):
    torch.manual_seed(0)
    model = zoo.build(name, SPEC, **SMALL[name])

    class Counted(RULES[name]):
        waits = ()

        def training_step(self, batch, index):
            with Waits() as waits:
                super().training_step(batch, index)
            self.waits = (*self.waits, waits.count)

    settings = {"ema": 0.9, "batch_size": 8, "log_every": 100, "validations": 1} | settings
    return Counted(model, updates=updates, **settings)


def fit(module):
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    trainer().fit(module, batches(x, 8 * module.batches_per_update, module.schedule.updates))
    return module


@pytest.mark.parametrize("name", RULES)
def test_an_update_on_a_gpu_waits_for_no_value(name, as_on_a_gpu):
    waits = fit(counted(name)).waits
    assert waits[1:] == (0,) * 7, waits  # the first reads how many averages there were


@pytest.mark.parametrize(("name", "steps"), [("maf", 0), ("flow_matching", 0), ("gan", 2)])
def test_elsewhere_only_an_optimiser_that_is_not_fused_waits_for_the_norm(name, steps, monkeypatch):
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, closure=None: None
    )  # it has counters of its own
    waits = fit(counted(name)).waits
    assert waits[1:] == (steps,) * 7, waits


@pytest.mark.parametrize("name", RULES)
def test_values_that_are_read_late_are_the_same(name, as_on_a_gpu, monkeypatch):
    late = fit(counted(name))
    monkeypatch.setattr(reports, "LATE", set())
    at_once = fit(counted(name))
    assert late.latest == at_once.latest
    assert late.stability.state_dict() == at_once.stability.state_dict()
    assert late.stability.updates_watched == 8
    assert all(map(torch.equal, late.state_dict().values(), at_once.state_dict().values()))


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_fused_step_along_nan_leaves_weights_and_state(optimizer, as_on_a_gpu):
    weight = torch.nn.Parameter(torch.ones(3))
    adam = optimizers.Optimizer(optimizer, 0.1, (0.9, 0.99), 0.0).build([weight])
    weight.grad = torch.ones(3)
    optimizers.step_if_finite(adam, torch.tensor(1.0))
    before = copy.deepcopy((weight.detach(), adam.state_dict()["state"][0]))
    for bad in (math.nan, math.inf):
        weight.grad = torch.full((3,), bad)
        optimizers.step_if_finite(adam, torch.tensor(bad))
    after = weight.detach(), adam.state_dict()["state"][0]
    assert torch.equal(before[0], after[0])
    assert all(torch.equal(before[1][key], after[1][key]) for key in before[1])
    weight.grad = torch.ones(3)
    optimizers.step_if_finite(adam, torch.tensor(1.0))
    assert float(adam.state_dict()["state"][0]["step"]) == 2


def test_a_divergence_that_is_read_late_names_its_update_and_spoils_no_weight(as_on_a_gpu):
    module = counted("maf")
    loss = module.loss
    module.loss = lambda x, y: loss(x, y) * (math.nan if module.updates == 3 else 1)
    with pytest.raises(Diverged, match="at update 4: train/loss is nan"):
        fit(module)
    assert module.stability.non_finite_steps == 1
    assert all(p.isfinite().all() for p in module.model.parameters())
