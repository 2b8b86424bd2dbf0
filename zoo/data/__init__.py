"""Data sets as LightningDataModules, and the :class:`DataSpec` that models are built from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.data.digits import Digits
    from zoo.data.imagenet import ImageNet
    from zoo.data.images import Images
    from zoo.data.module import DataModule
    from zoo.data.spec import DataSpec
    from zoo.data.tables import Table
    from zoo.data.torchvision_sets import CIFAR10, MNIST, FashionMNIST
    from zoo.data.toys import Toy

# Loaded at first use, so that importing DataSpec does not import Lightning.
_LAZY = {
    "CIFAR10": "torchvision_sets",
    "DataModule": "module",
    "DataSpec": "spec",
    "Digits": "digits",
    "FashionMNIST": "torchvision_sets",
    "ImageNet": "imagenet",
    "Images": "images",
    "MNIST": "torchvision_sets",
    "Table": "tables",
    "Toy": "toys",
}
__all__ = [
    "CIFAR10",
    "MNIST",
    "DataModule",
    "DataSpec",
    "Digits",
    "FashionMNIST",
    "ImageNet",
    "Images",
    "Table",
    "Toy",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        value = getattr(import_module(f"zoo.data.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'zoo.data' has no attribute '{name}'")
