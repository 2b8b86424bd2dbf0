"""Checkpoints: callbacks that write them at each validation and before an early end, and their reader."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from zoo.errors import CutOff
from zoo.processes import ENDING
from zoo.record import BEST, LAST
from zoo.training import distributed
from zoo.training.module import TrainingModule


class Checkpoints(pl.Callback):
    """Writes ``last.ckpt`` at each validation, and ``best.ckpt`` at the lowest validation loss so far.

    A file of these names is always whole. Without a validation loss there is no ``best.ckpt``, and the last
    checkpoint is evaluated.

    Args:
        directory: where to write them.
        about: what a reader needs to rebuild the model (its settings, the data's spec, the run's id); stored
            in the checkpoint's entry ``zoo``.
    """

    def __init__(self, directory: Path, about: Mapping[str, Any] | None = None) -> None:
        self.directory, self.about = directory, dict(about or {})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        assert isinstance(pl_module, TrainingModule)
        self.save(trainer, better=pl_module.best_updates == pl_module.updates)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint.setdefault("zoo", {}).update(self.about)

    def save(self, trainer: pl.Trainer, better: bool = False) -> None:
        """Write ``last.ckpt`` and, if it is the best so far, give the same file the name ``best.ckpt`` too.

        Training waits for the write. A write in the background would need memory for one more copy, and would
        report a full disk only at the next validation.

        Args:
            trainer: Lightning's; every process must make this call.
            better: whether the validation loss is the lowest so far.
        """
        last, best = self.directory / LAST, self.directory / BEST
        new, copy = self.directory / f".{LAST}", self.directory / f".{BEST}"
        try:
            if trainer.is_global_zero:
                new.unlink(missing_ok=True)  # a killed process left it, perhaps as a second name of best.ckpt
            trainer.save_checkpoint(new)  # every rank takes part
            if trainer.is_global_zero:
                _to_disk(new)
                if better:
                    _link(new, copy)
                    os.replace(copy, best)
                os.replace(new, last)
        except BaseException:
            if trainer.is_global_zero:  # do not leave half a checkpoint on a full disk
                new.unlink(missing_ok=True)
                copy.unlink(missing_ok=True)
            raise


def _to_disk(file: Path) -> None:
    """Wait until a file's content is on the disk, so that it is whole before it is renamed."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _link(file: Path, name: Path) -> None:
    """Give a file a second name; copy it where the file system has no hard links."""
    name.unlink(missing_ok=True)  # of a process that was killed
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)
        _to_disk(name)


class CheckpointFiles(TorchCheckpointIO):
    """The plugin through which Lightning's trainer writes and reads checkpoints.

    It writes a checkpoint straight to its file, where Lightning would make two copies in memory first. On
    ``fit(ckpt_path=...)`` it returns the content that the run has read before, so that the file is read once.

    Args:
        checkpoint: content of the checkpoint that the run resumes from; None for a run from the start. It is
            held until the trainer asks for it.
    """

    def __init__(self, checkpoint: dict[str, Any] | None = None) -> None:
        self.checkpoint = checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        torch.save(checkpoint, path)

    def release(self) -> dict[str, Any] | None:
        """Return the content that this plugin holds, and drop its reference to it."""
        checkpoint, self.checkpoint = self.checkpoint, None
        return checkpoint

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        checkpoint = self.release()
        if checkpoint is None:
            return super().load_checkpoint(path, *args, **kwargs)
        # An optimiser on the CPU keeps the tensors of its state; uncopied, they would keep the whole mapped
        # file.
        return checkpoint | {"optimizer_states": _copied(checkpoint.get("optimizer_states", []))}


def _copied(value: Any) -> Any:
    """Return a copy of a nested value, its tensors copied too."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return type(value)(map(_copied, value)) if isinstance(value, list | tuple) else value


class Ending(pl.Callback):
    """Ends training with a checkpoint after SIGTERM or Slurm's signal before a time limit.

    The update in progress is finished first. Several processes all end after the same update.

    Args:
        checkpoints: the callback that writes checkpoints.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Replaces Lightning's handlers, one of which starts a collective operation at once, in which the
        # other processes may not take part. Lightning restores the handlers from before training.
        assert isinstance(pl_module, TrainingModule)
        module = pl_module

        def note(signum: int, frame: object) -> None:
            module.signalled = True

        if threading.current_thread() is threading.main_thread():
            for signum in ENDING:
                signal.signal(signum, note)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.validates:
            return  # the checkpoint of the validation follows
        if pl_module.signalled if trainer.world_size == 1 else pl_module.asked_to_end:
            self.checkpoints.save(trainer)
            self._end(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if not pl_module.finished and distributed.any_of(pl_module.signalled, pl_module.device):
            self._end(pl_module)

    def _end(self, module: TrainingModule) -> None:
        raise CutOff(
            f"Ended by a signal, with a checkpoint at update {module.updates} of {module.schedule.updates}."
        )
