"""Build a model by its name, and load a trained one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from zoo.config import model_settings
from zoo.config.targets import class_of, make
from zoo.data.spec import DataSpec
from zoo.errors import ZooError, cut_off
from zoo.models.core.capabilities import HasUnreadSettings, missing
from zoo.record import BEST, CHECKPOINTS, LAST

if TYPE_CHECKING:
    from zoo.models.core.model import GenerativeModel


def build(name: str, spec: DataSpec, **overrides: Any) -> GenerativeModel:
    """Return a fresh model from ``conf/model/<name>.yaml``, its settings overridden by keyword.

    A mapping changes the values that it names in its node: ``pixels={"alpha": 0.05}`` keeps the others.

    Raises:
        ZooError: unknown model or setting (the nearest names are offered), or a value that is not allowed.

    >>> spec = DataSpec((1, 8, 8), levels=17)
    >>> build("maf", spec, layers=2, hidden=[32], pixels={"alpha": 0.05}).sample(4).shape
    torch.Size([4, 1, 8, 8])
    """
    return instantiate(model_settings(name, overrides), spec)


def instantiate(settings: Mapping[str, Any], spec: DataSpec) -> Any:
    """Return the model of a composed ``model`` node: ``_target_`` called with ``spec`` and the settings.

    Raises:
        ZooError: the target cannot be imported, or does not take these settings.
    """
    return make(class_of(settings, "model"), settings, "model", spec=spec)


def check_given(settings: Mapping[str, Any], spec: DataSpec, names: Iterable[str]) -> None:
    """Refuse settings that a user has given and that the model of these data does not read.

    A run with such a setting would have another hash and the same weights.

    Args:
        settings: a composed ``model`` node.
        spec: the data.
        names: names of the settings of the node that the user has given; the defaults are not among them.

    Raises:
        ZooError: one of them is not read.
    """
    model = class_of(settings, "model")
    if missing(model, HasUnreadSettings):
        return
    unread = cast(HasUnreadSettings, model).unread(spec)
    if ignored := [f"model.{name}" for name in dict.fromkeys(names) if name in unread]:
        form = "images" if spec.is_image else "vectors"
        raise ZooError(
            f"{model.__name__} does not read {' and '.join(ignored)} for these {form} of shape "
            f"{list(spec.shape)}; leave {'it' if len(ignored) == 1 else 'them'} out."
        )


def load(path: str | Path, device: torch.device | str | None = None) -> Any:
    """Return a trained model in evaluation mode, from a run's directory or a checkpoint file.

    Of a run's directory it loads the best checkpoint on validation. The weights are those that were evaluated
    (their moving average if the run kept one).

    Args:
        path: run directory or ``.ckpt`` file.
        device: where to put it; the CPU by default.

    Raises:
        ZooError: there is no checkpoint, or it is damaged.
    """
    path = Path(path)
    path = chosen_checkpoint(path) if path.is_dir() else path
    return restore(read_checkpoint(path), path).to(device or "cpu").eval()


def chosen_checkpoint(directory: Path) -> Path:
    """Return the checkpoint that a run is judged by: the best one on validation, else the last.

    Raises:
        ZooError: there is none.
    """
    folder = directory / CHECKPOINTS
    for name in (BEST, LAST):
        if (folder / name).exists():
            return folder / name
    raise ZooError(f"There is no checkpoint under {folder}; train the run first.")


def restore(checkpoint: Mapping[str, Any], path: Path) -> Any:
    """Return the model of a checkpoint's content, with the weights that are evaluated.

    Args:
        checkpoint: see :func:`read_checkpoint`.
        path: its file, for errors.

    Raises:
        ZooError: the model's code has changed since the checkpoint was written.
    """
    about = checkpoint["zoo"]
    prefix = "ema.module." if about["weights"] == "ema" else "model."
    state = {k[len(prefix) :]: v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    try:
        model = instantiate(about["model"], spec_of(checkpoint))
        model.load_state_dict(state)
    except (ZooError, RuntimeError) as error:
        cause = str(error).splitlines()[0].rstrip(".:")
        raise ZooError(
            f"The checkpoint {path} does not fit {about['model']['_target_']} as it is now; load it with the "
            f"version of zoo that made it, or train the run again ({cause})."
        ) from error
    return model


def spec_of(checkpoint: Mapping[str, Any]) -> DataSpec:
    """Return the spec of the data that a checkpoint's model was trained on."""
    spec = checkpoint["zoo"]["spec"]
    return DataSpec(tuple(spec["shape"]), spec["levels"], spec["classes"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's content, loaded with ``weights_only=True``.

    Its tensors are memory-mapped: they are read from the file as they are used, and processes of one machine
    share the memory. So let go of them soon: the mapping keeps the file on the disk after it is replaced.

    Raises:
        ZooError: the file does not exist, is damaged, or is not a checkpoint of zoo.
        PermissionError, MemoryError, ...: the machine cannot read the file, which may be sound.
    """
    if not path.exists():
        raise ZooError(f"There is no checkpoint at {path}.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        checkpoint["zoo"]["spec"], checkpoint["state_dict"]
    except Exception as error:  # the type of the error depends on where the file is damaged
        if isinstance(error, PermissionError) or cut_off(error) is not None:
            raise
        raise ZooError(
            f"The checkpoint {path} cannot be read, since it is damaged or not one of zoo's; give another, "
            "or delete it and train the run again."
        ) from error
    return checkpoint
