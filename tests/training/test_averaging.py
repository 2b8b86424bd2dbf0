"""Averaged weights against the recurrence that defines them."""

from __future__ import annotations

import math

import pytest
import torch
from fitting import trainer
from torch import nn

import zoo
from zoo.data.module import DataModule
from zoo.models.bijections.batchnorm import BatchNorm
from zoo.training.averaging import averaged_copy, collect_statistics, running_norms
from zoo.training.callbacks import TrainingStatistics
from zoo.training.likelihood import MaximumLikelihood


class Point(nn.Module):
    """One weight and one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.25]))
        self.register_buffer("seen", torch.tensor(0))


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_follows_its_recurrence_from_the_first_update_on(decay):
    model = Point()
    copy = averaged_copy(model, decay)
    mean = torch.tensor([0.25])
    for t in range(1, 40):
        with torch.no_grad():
            model.weight.fill_(torch.sin(torch.tensor(1.0 * t)))
            model.seen.fill_(t)
        copy.update_parameters(model)
        d = min(decay, (1 + t) / (10 + t))
        mean = torch.lerp(mean, model.weight.detach(), 1 - d)
        assert torch.equal(copy.module.weight, mean)
        assert int(copy.module.seen) == t, "buffers are copied"


def test_the_copy_needs_no_gradients_and_the_model_keeps_its_gradients():
    model = Point()
    copy = averaged_copy(model, 0.5)
    assert not any(p.requires_grad for p in copy.parameters())
    assert model.weight.requires_grad


def test_a_loaded_copy_continues_the_average():
    model = Point()
    one, two = averaged_copy(model, 0.999), averaged_copy(model, 0.999)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for _ in range(5):
        one.update_parameters(model)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        model.weight.fill_(-1.0)
    one.update_parameters(model)
    two.update_parameters(model)
    assert torch.equal(one.module.weight, two.module.weight)


class Scaled(nn.Module):
    """w x before a batch norm: the statistics of the layer follow from w."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))
        self.drop = nn.Dropout(0.5)
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.norm(self.drop(self.weight * x))
        return z[0] if isinstance(z, tuple) else z


NORMS = {
    "torch": lambda: nn.BatchNorm1d(2),
    "bijection": lambda: BatchNorm(2),
}


@pytest.mark.parametrize("kind", NORMS)
def test_statistics_of_averaged_weights_are_the_means_over_the_passes(kind):
    model = Scaled(NORMS[kind]()).eval()
    batches = [torch.randn(50, 2) * (1 + i) + i for i in range(4)]
    mean, variance = (
        (model.norm.running_mean, model.norm.running_var)
        if kind == "torch"
        else (model.norm.mean, model.norm.variance)
    )
    mean.fill_(100.0)  # of other weights
    momentum = model.norm.momentum
    collect_statistics(model, [lambda x=x: model(x) for x in batches])
    torch.testing.assert_close(mean, torch.stack([3 * x.mean(0) for x in batches]).mean(0))
    spread = torch.stack([9 * x.var(0, correction=int(kind == "torch")) for x in batches]).mean(0)
    torch.testing.assert_close(variance, spread)
    assert model.norm.momentum == momentum
    assert not model.norm.training


def test_only_running_batch_norm_has_running_statistics():
    layers = [nn.BatchNorm2d(1), nn.SyncBatchNorm(1), BatchNorm(1)]
    without = [nn.BatchNorm2d(1, track_running_stats=False), BatchNorm(1, "training set"), nn.GroupNorm(1, 1)]
    assert running_norms(nn.Sequential(*without, *layers)) == layers


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("realnvp", {"normalisation": "batchnorm", "layers": 2, "hidden": [8]}, (2,)),
        ("vae", {"norm": "batch", "width": 4, "hidden": 8}, (1, 4, 4)),
    ],
)
def test_averaged_weights_are_evaluated_with_statistics_of_their_own(name, settings, shape):
    """In evaluation a layer divides by the spread that its input has under the averaged weights."""
    spec = zoo.DataSpec(shape, 4 if len(shape) == 3 else None)
    model = zoo.build(name, spec, **settings)
    data = InMemory(spec)
    module = MaximumLikelihood(
        model, updates=20, batch_size=64, lr=0.05, warmup=0, ema=0.9, validations=1, seed=0
    )
    fitting = trainer(TrainingStatistics(data), val_check_interval=20)
    fitting.fit(module, data.train_dataloader(64, stop=20), data.val_dataloader(64))
    averaged = module.evaluated.eval()
    norm = running_norms(averaged)[-1]
    seen = []
    norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        averaged.log_prob(data.splits["train"])
    values = seen[0].transpose(0, 1).flatten(1)
    mean = norm.mean if name == "realnvp" else norm.running_mean
    raw = running_norms(module.model)[-1]
    raw_mean = raw.mean if name == "realnvp" else raw.running_mean
    tolerance = 5 * values.std(1) / math.sqrt(20 * 64)
    assert ((mean - values.mean(1)).abs() < tolerance).all()
    assert not torch.allclose(mean, raw_mean), "the raw weights have others"


class InMemory(DataModule):
    """A thousand examples of random numbers."""

    def __init__(self, spec: zoo.DataSpec) -> None:
        super().__init__("in_memory")
        x = torch.randn(1000, *spec.shape) + 1
        self.spec = spec
        self.splits = {"train": x if spec.levels is None else (2 * x).clamp(0, 3).floor()}
        self.splits |= dict.fromkeys(("val", "test"), self.splits["train"][:64])

    def read(self) -> None:
        pass
