"""zoo: train every family of generative model and compare them by one protocol.

>>> import zoo
>>> spec = zoo.DataSpec(shape=(2,))
>>> model = zoo.build("realnvp", spec)
>>> model.sample(3, seed=0).shape
torch.Size([3, 2])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.data.spec import DataSpec
    from zoo.factory import build, load
    from zoo.models.core.model import GenerativeModel

from zoo.errors import Diverged, InvalidData, NoLikelihood, Unsound, ZooError

__version__ = "0.1.0"
__all__ = [
    "DataSpec",
    "Diverged",
    "GenerativeModel",
    "InvalidData",
    "NoLikelihood",
    "Unsound",
    "ZooError",
    "build",
    "load",
]

# Loaded on first access: commands that only read records must not wait for torch.
_LAZY = {
    "DataSpec": "zoo.data.spec",
    "GenerativeModel": "zoo.models.core.model",
    "build": "zoo.factory",
    "load": "zoo.factory",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'zoo' has no attribute '{name}'")
