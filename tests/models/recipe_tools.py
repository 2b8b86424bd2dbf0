"""Tools for tests of recipes: the shape of their data, and their model without allocated weights."""

from __future__ import annotations

import functools
from typing import Any

import torch
from omegaconf import DictConfig

from zoo.config import compose_run, to_dict
from zoo.data.spec import DataSpec
from zoo.factory import instantiate

SPECS = {
    "mnist": DataSpec((1, 28, 28), levels=256, classes=10),
    "cifar10": DataSpec((3, 32, 32), levels=256, classes=10),
    "imagenet64": DataSpec((3, 64, 64), levels=256, classes=1000),
    "8gaussians": DataSpec((2,)),
    "normal_8gaussians": DataSpec((2,)),
    "mnist_logit": DataSpec((784,), classes=10),
    "mnist_dynamic": DataSpec((1, 28, 28), levels=2, classes=10),
    "mnist_static": DataSpec((1, 28, 28), levels=2),
    "ring_mixture": DataSpec((2,)),
    "dna": DataSpec((180,), levels=2),
}


@functools.cache
def recipe_config(name: str) -> DictConfig:
    """Return the composed ``+experiment=name``, to read and not to change."""
    return compose_run([f"+experiment={name}"])


def recipe_model(name: str) -> Any:
    """Return the model of ``+experiment=name`` for data of the recipe's shape, on the meta device."""
    config = recipe_config(name)
    with torch.device("meta"):
        return instantiate(to_dict(config.model), SPECS[config.data.name])
