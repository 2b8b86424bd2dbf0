"""Checkpoints: written at every validation and when the process must end, read once when a run resumes."""

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
    """``last.ckpt`` at every validation and ``best.ckpt`` by the lowest validation loss, never half-written.

    Without a criterion there is no best checkpoint; the last one is then evaluated.

    Args:
        directory: where to write them.
        about: the data that rebuild the model (its settings, the data's spec, the run's id), for the
            checkpoint's ``zoo`` entry.
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
        """Write ``last.ckpt``, and the same as ``best.ckpt`` if it is better than all before.

        Both are one file with two names, where the file system has hard links. Training waits: writing beside
        it would hold one more copy in memory, and find out about a full disk only at the next validation.
        """
        last, best = self.directory / LAST, self.directory / BEST
        new, copy = self.directory / f".{LAST}", self.directory / f".{BEST}"
        try:
            if trainer.is_global_zero:
                new.unlink(missing_ok=True)  # left by a killed process, it may be the best checkpoint's file
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
    """Wait until a file's content is on the disk, so that what takes its name is whole."""
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
    """Lightning's access to checkpoint files; pass it as a plugin of the trainer.

    A checkpoint is written straight to its file: Lightning would make two copies of it in memory first. A run
    that resumes has read its checkpoint already, so ``fit(ckpt_path=...)`` takes this content and reads no
    file.

    Args:
        checkpoint: content of the checkpoint that the run resumes from; held until the trainer takes it.
    """

    def __init__(self, checkpoint: dict[str, Any] | None = None) -> None:
        self.checkpoint = checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        torch.save(checkpoint, path)

    def release(self) -> dict[str, Any] | None:
        """Return the content that is held, and hold it no longer."""
        checkpoint, self.checkpoint = self.checkpoint, None
        return checkpoint

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        checkpoint = self.release()
        if checkpoint is None:
            return super().load_checkpoint(path, *args, **kwargs)
        # An optimiser on the CPU keeps the tensors that it is given, and with one of them the whole mapping.
        return checkpoint | {"optimizer_states": _copied(checkpoint.get("optimizer_states", []))}


def _copied(value: Any) -> Any:
    """Return a nested value with copies of its tensors."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return type(value)(map(_copied, value)) if isinstance(value, list | tuple) else value


class Ending(pl.Callback):
    """Ends training with a checkpoint after SIGTERM, or after Slurm's signal before a time-out.

    The update in progress is finished first; several processes all end after the same update.

    Args:
        checkpoints: the callback that writes checkpoints.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # These replace Lightning's handlers, one of which would start a collective operation at a moment when
        # the other processes may not join it. Lightning restores the previous handlers.
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
