"""Every shipped model, on vectors and on images, is trained by two processes as by one.

``test_ddp.py`` follows a few whole runs, with validation, evaluation and record. Here each model makes a few
updates, so that none is left out: a layer that looks at its own process's examples alone shows.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import get_class
from test_ddp import in_group

import zoo
from zoo.config import compose_run, model_settings, options, to_dict
from zoo.data.module import DataModule
from zoo.kinds import suits
from zoo.running.fit import Fit
from zoo.running.spec import RunSpec
from zoo.training.expectation_maximisation import ExpectationMaximisation

SPECS = {
    "vectors": zoo.DataSpec((2,)),
    "images": zoo.DataSpec((1, 8, 8), levels=17),
    "binary vectors": zoo.DataSpec((9,), levels=2),
}
KINDS = {name: get_class(model_settings(name, {})["_target_"]).data_kind for name in options("model")}
# Plain gradient descent: Adam would make a full step along a gradient that is zero but for rounding.
GRADIENTS = {
    "optimizer": "sgd", "lr": 0.01, "ema": 0.9, "warmup": 0, "schedule": "constant",
}  # fmt: skip
FEW = [
    "training.updates=3", "training.batch_size=12", "training.validations=1", "training.validate_samples=0",
    "training.validate_likelihood=0",
]  # fmt: skip
MODELS = {
    data: [
        name
        for name, kind in KINDS.items()
        if suits(kind, spec.shape, spec.levels) and (spec.levels != 2 or kind == "binary")
    ]
    for data, spec in SPECS.items()
}
SMALLER = {  # the same code with less to compute
    "diffusion": ["model.unet.channels=4"],
    "ffjord": ["model.hidden=[8]", "model.solver.method=rk4", "model.solver.steps=2"],
    "flow_matching": ["model.unet.channels=4", "model.hidden=[8]"],
    "gaussian": ["model.ridge=0.01"],  # more pixels than examples in a batch
    "glow": ["model.steps=2", "model.width=4"],
    "iresnet": ["model.blocks=2", "model.scales=1"],
    "nsf_autoregressive": ["model.steps=2"],
    "nsf_coupling": ["model.steps=2", "model.width=4"],
    "pixelcnn": ["model.width=8"],
    "residual_flow": ["model.blocks=2", "model.scales=1"],
    "tarflow": ["model.blocks=2", "model.width=16"],
    "vae_hierarchical": ["model.width=4"],
}


class InMemory(DataModule):
    """Random examples."""

    def __init__(self, spec: zoo.DataSpec) -> None:
        super().__init__("in_memory")
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(64, *spec.shape, generator=generator)
        if spec.levels is not None:
            x = torch.randint(spec.levels, (64, *spec.shape), generator=generator)
        self.spec, self.splits = spec, {"train": x, "val": x[:8], "test": x[:8]}

    def read(self) -> None:
        pass


TWO = to_dict(compose_run(["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]).trainer)


@functools.cache  # filled before the processes fork
def spec_of(name):
    spec = RunSpec.of(compose_run([f"model={name}", *SMALLER.get(name, []), *FEW, "trainer=cpu"]))
    if get_class(spec.training["_target_"]) is ExpectationMaximisation:
        return spec
    return dataclasses.replace(spec, training={**spec.training, **GRADIENTS})


def trained(name, data, trainer=None):
    """Return the weights and buffers of a model, and of its average, after a few updates."""
    spec = spec_of(name)
    spec = dataclasses.replace(spec, trainer=trainer or spec.trainer)
    torch.manual_seed(0)
    model = zoo.build(name, SPECS[data], **{k: v for k, v in spec.model.items() if k != "_target_"})
    with tempfile.TemporaryDirectory() as place:
        fit = Fit(spec, model, InMemory(SPECS[data]), directory=Path(place), show=None)
        fit.run([])
        return {key: value.numpy() for key, value in fit.module.state_dict().items()}


def by_two(name, data):
    """Return a function that trains a model in one of two processes, as those of torchrun."""

    def function(rank):
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "GROUP_RANK": "0"}
        os.environ |= {"LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # the group is there already
        return trained(name, data, TWO)

    return function


def differences(one, two):
    """Return which weights and buffers of two processes differ from those of one, or the error of the two."""
    if not isinstance(two, dict):
        return two
    return [
        key
        for key in one.keys() | two.keys()
        if not np.allclose(one[key], two[key], rtol=1e-5, atol=1e-5, equal_nan=False)
    ]


@pytest.mark.parametrize(
    "data", ["vectors", pytest.param("images", marks=pytest.mark.slow), "binary vectors"]
)
def test_every_model_is_trained_by_two_processes_as_by_one(data):
    names = MODELS[data]
    ones = {name: trained(name, data) for name in names}
    results = in_group([by_two(name, data) for name in names], 2, timeout=250)
    differing = {
        name: differences(ones[name], two)
        for name, of_ranks in zip(names, results, strict=True)
        for two in of_ranks
    }
    assert not any(differing.values()), differing


def test_no_model_is_left_out():
    assert {name for names in MODELS.values() for name in names} == set(options("model"))
