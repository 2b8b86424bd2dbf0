"""An update leaves the host free to go on: no value is waited for where the device can decide."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from fitting import batches, trainer
from hydra.utils import get_class
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo.config import compose_run, model_settings, options, to_dict
from zoo.errors import Diverged
from zoo.training import optimizers, reports
from zoo.training.adversarial import Adversarial
from zoo.training.likelihood import MaximumLikelihood
from zoo.training.matching import Matching

SPEC = zoo.DataSpec((2,))
RULES = {"maf": MaximumLikelihood, "gan": Adversarial, "flow_matching": Matching}
SMALL = {"maf": {"layers": 1, "hidden": [4]}, "gan": {"hidden": 4}, "flow_matching": {"hidden": [4]}}


aten = torch.ops.aten
# Operations whose result the host waits for: item(), bool() and the like; shapes that depend on values.
WAITING = {
    aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default, aten.nonzero.default,
    aten.masked_select.default, aten.index.Tensor,
}  # fmt: skip
READING = {
    Tensor.tolist,
    Tensor.numpy,
    Tensor.cpu,
    Tensor.unique,
    torch.unique,
}  # no such operations on a CPU


class Waits(TorchDispatchMode):
    """Count the values that the host waits for."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.reading = Reading(self)

    def __enter__(self):
        self.reading.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.reading.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = func is aten.index.Tensor and any(i is not None and i.dtype is torch.bool for i in args[1])
        self.count += masks if func is aten.index.Tensor else func in WAITING
        return func(*args, **(kwargs or {}))


class Reading(TorchFunctionMode):
    """Adds to a count the tensors that the host reads as a whole."""

    counts = True

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.waits.count += self.counts and func in READING
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Take the paths of a GPU on the CPU: a fused optimiser, and values that are read late."""
    monkeypatch.setattr(optimizers, "FUSED_ON", {"cpu"})
    monkeypatch.setattr(reports, "LATE", {"cpu"})
    monkeypatch.setattr(reports, "to_host", arriving_meanwhile)


def arriving_meanwhile(values):
    """Return a function that returns the values, as a copy to pinned memory does that nobody waits for."""
    Reading.counts = False
    host = values.tolist()
    Reading.counts = True
    return lambda: host


def counting(rule):
    """Return a training module that counts the waits of each of its updates."""

    class Counted(rule):
        waits = ()

        def training_step(self, batch, index):
            with Waits() as waits:
                super().training_step(batch, index)
            self.waits = (*self.waits, waits.count)

    return Counted


def counted(name, updates=8, **settings):
    torch.manual_seed(0)
    model = zoo.build(name, SPEC, **SMALL[name])

    settings = {"ema": 0.9, "batch_size": 8, "log_every": 100, "validations": 1} | settings
    return counting(RULES[name])(model, updates=updates, **settings)


def fit(module):
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    trainer().fit(module, batches(x, 8 * module.batches_per_update, module.schedule.updates))
    return module


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("name", RULES)
def test_an_update_on_a_gpu_waits_for_no_value(name, optimizer, as_on_a_gpu):
    waits = fit(counted(name, optimizer=optimizer)).waits
    assert waits[1:] == (0,) * 7, waits  # the first reads how many averages there were


# What an update of a shipped model waits for where the device cannot decide alone; 0 for the others.
BUDGETS = {
    # how many power iterations the spectral norms need, of all layers at once
    "iresnet": 1,
    "residual_flow": 1,
    # torch's RMSprop cannot skip a step by a flag on the device: five steps of the critic and the generator's
    "wgan": 6,
    # the degrees of its masks, which are drawn on the host: no wait for a device
    "made_binary": 1,
    # torchdiffeq's steps, forwards and backwards: which is accepted, and how long the next one is
    "ffjord": 60,
}
KINDS = {
    "any": [zoo.DataSpec((2,)), zoo.DataSpec((1, 8, 8), levels=17)],
    "binary": [zoo.DataSpec((9,), levels=2)],
    "integer images": [zoo.DataSpec((1, 8, 8), levels=17)],
}
TARGETS = {name: get_class(model_settings(name, {})["_target_"]) for name in options("model")}
SMALLER = {  # the same code with less to compute
    "diffusion": {"unet": {"channels": 4}},
    "ffjord": {"solver": {"train_tolerance": 1e-2}},
    "flow_matching": {"unet": {"channels": 4}},
    "gaussian": {"ridge": 1e-3},
    "glow": {"steps": 2, "width": 16},
    "iaf": {"hidden": [32]},
    "iresnet": {"blocks": 2, "scales": 1},
    "nsf_autoregressive": {"steps": 2},
    "nsf_coupling": {"steps": 2, "width": 8},
    "realnvp": {"width": 8},
    "residual_flow": {"blocks": 2, "scales": 1},
    "tarflow": {"blocks": 2, "width": 16},
    "vae_hierarchical": {"width": 8},
}
CASES = [(name, spec) for name, target in TARGETS.items() for spec in KINDS[target.data_kind]]


@pytest.mark.parametrize(("name", "spec"), CASES, ids=[f"{name}-{len(spec.shape)}d" for name, spec in CASES])
def test_an_update_of_every_model_waits_no_more_often_than_its_budget(name, spec, as_on_a_gpu):
    torch.manual_seed(0)
    training = to_dict(compose_run([f"model={name}"]).training) | {"updates": 6, "batch_size": 8}
    training |= {"log_every": 100, "validations": 1, "validate_samples": 0}
    rule = counting(get_class(training.pop("_target_")))
    module = rule(zoo.build(name, spec, **SMALLER.get(name, {})), **training)
    x = torch.randn(64, *spec.shape) if spec.levels is None else torch.randint(spec.levels, (64, *spec.shape))
    module.training_set = SimpleNamespace(splits={"train": x}, take=lambda split, rows, labels: x[rows])
    trainer().fit(module, batches(x, 8 * module.batches_per_update, 6))
    assert max(module.waits[2:]) <= BUDGETS.get(name, 0), module.waits


def test_every_budget_is_that_of_a_model():
    assert set(BUDGETS) <= set(TARGETS)


@pytest.mark.parametrize(("name", "steps"), [("maf", 1), ("flow_matching", 1), ("gan", 2)])
def test_elsewhere_each_step_waits_for_its_norm(name, steps, monkeypatch):
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, closure=None: None
    )  # it has counters of its own
    waits = fit(counted(name)).waits
    assert waits[1:] == (steps + 1,) * 7, waits  # and for the values to log


@pytest.mark.parametrize("name", RULES)
def test_values_that_are_read_late_are_the_same(name, as_on_a_gpu, monkeypatch):
    late = fit(counted(name))
    monkeypatch.setattr(reports, "LATE", set())
    at_once = fit(counted(name))
    assert late.latest == at_once.latest
    assert late.stability.state_dict() == at_once.stability.state_dict()
    assert late.stability.updates_watched == 8
    assert all(map(torch.equal, late.state_dict().values(), at_once.state_dict().values()))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_fused_step_along_nan_leaves_weights_and_state(optimizer, as_on_a_gpu):
    weight = torch.nn.Parameter(torch.ones(3))
    adam = optimizers.Optimizer(optimizer, 0.1, (0.9, 0.99), 0.0).build([weight])
    weight.grad = torch.full((3,), math.nan)
    optimizers.step_if_finite(adam, torch.tensor(math.nan))  # before there is any state
    assert torch.equal(weight, torch.ones(3))
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
    plain = torch.nn.Parameter(torch.ones(3))
    twice = optimizers.Optimizer(optimizer, 0.1, (0.9, 0.99), 0.0).build([plain], fused=False)
    for _ in range(2):
        plain.grad = torch.ones(3)
        twice.step()
    torch.testing.assert_close(weight, plain)


def test_a_divergence_that_is_read_late_names_its_update_and_spoils_no_weight(as_on_a_gpu):
    module = counted("maf")
    loss = module.loss
    module.loss = lambda x, y: loss(x, y) * (math.nan if module.updates == 3 else 1)
    with pytest.raises(Diverged, match="at update 4: train/loss is nan"):
        fit(module)
    assert module.stability.non_finite_steps == 1
    assert all(p.isfinite().all() for p in module.model.parameters())
