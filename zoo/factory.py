"""Build a model from its name and load a trained one: the two doors of the library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import torch

from zoo.config import model_settings, own_modules
from zoo.data.spec import DataSpec
from zoo.errors import ZooError, cut_off

if TYPE_CHECKING:
    from zoo.models.core.model import GenerativeModel

CHECKPOINTS = ("best.ckpt", "last.ckpt")


def build(name: str, spec: DataSpec, **overrides: Any) -> GenerativeModel:
    """A fresh model: ``conf/model/<name>.yaml`` for data of this ``spec``, settings overridden by keyword.

    Raises:
        ZooError: unknown model or setting (the nearest names are offered).
    """
    return instantiate(model_settings(name, overrides), spec)


def instantiate(settings: Mapping[str, Any], spec: DataSpec) -> Any:
    """The model of a composed ``model`` node: its ``_target_`` called with ``spec`` and the other settings.

    Raises:
        ZooError: the target cannot be imported, or does not take these settings (null where none may be).
    """
    from hydra.utils import get_class

    settings = dict(settings)
    target = settings.pop("_target_", None)
    if not target:
        raise ZooError("A model's YAML needs a line `_target_: package.module.Class`.")
    try:
        with own_modules():
            model_class = get_class(target)
    except Exception as error:
        raise ZooError(f"The model's _target_ '{target}' cannot be imported: {error}.") from error
    for name, hint in _hints(model_class).items():
        if name in settings and settings[name] is None and type(None) not in get_args(hint):
            raise ZooError(f"model.{name} has no null: it is of type {getattr(hint, '__name__', hint)}.")
    try:
        return model_class(spec=spec, **settings)
    except TypeError as error:
        raise ZooError(f"{target} does not take these settings: {error}.") from error


def _hints(model_class: type) -> dict[str, Any]:
    """The types of a model's settings, as far as it tells them."""
    try:
        hints = get_type_hints(model_class.__init__)  # type: ignore[misc]
    except Exception:  # names that only a type checker imports
        return {}
    return {name: hint for name, hint in hints.items() if hint is not Any}


def load(path: str | Path, device: torch.device | str | None = None) -> Any:
    """A trained model in evaluation mode, from a run's directory or a checkpoint file.

    A run's directory stands for its best checkpoint on validation. The weights are those that were evaluated
    (the moving average where the run kept one).

    Args:
        path: run directory or ``.ckpt`` file.
        device: where to put it; the CPU by default.

    Raises:
        ZooError: nothing there, or the checkpoint is damaged.
    """
    path = Path(path)
    if path.is_dir():
        found = [
            path / "checkpoints" / name for name in CHECKPOINTS if (path / "checkpoints" / name).exists()
        ]
        if not found:
            raise ZooError(f"There is no checkpoint under {path / 'checkpoints'}; train the run first.")
        path = found[0]
    checkpoint = read_checkpoint(path)
    about = checkpoint["zoo"]
    spec = DataSpec(tuple(about["spec"]["shape"]), about["spec"]["levels"], about["spec"]["classes"])
    model = instantiate(about["model"], spec)
    prefix = "ema.module." if about["weights"] == "ema" else "model."
    state = {k[len(prefix) :]: v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ZooError(
            f"The checkpoint {path} does not fit {about['model']['_target_']} as it is now; load it with the "
            "code that made it, or train the run again."
        ) from error
    return model.to(device or "cpu").eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, loaded with ``weights_only=True``.

    Raises:
        ZooError: no such file, not one of zoo's, or damaged.
        PermissionError, MemoryError, ...: the file may be sound; it is the machine that does not give it.
    """
    if not path.exists():
        raise ZooError(f"There is no checkpoint at {path}.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint["zoo"]["spec"], checkpoint["state_dict"]
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        if isinstance(error, PermissionError) or cut_off(error) is not None:
            raise
        raise ZooError(
            f"The checkpoint {path} cannot be read, since it is damaged or not one of zoo's; give another, "
            "or delete it and train the run again."
        ) from error
    return checkpoint
