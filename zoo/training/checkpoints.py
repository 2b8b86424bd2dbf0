"""Checkpoints: callbacks that write them at each validation and before an early end, and their reader."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import threading
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from zoo.errors import Interrupted
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
        files: the trainer's plugin that writes them, perhaps while training goes on.
        about: what a reader needs to rebuild the model (its settings, the data's spec, the run's id); stored
            in the checkpoint's entry ``zoo``.
    """

    def __init__(
        self, directory: Path, files: CheckpointFiles, about: Mapping[str, Any] | None = None
    ) -> None:
        self.directory, self.files, self.about = directory, files, dict(about or {})

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.files.check()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        assert isinstance(pl_module, TrainingModule)
        self.save(trainer, better=pl_module.validation.best_updates == pl_module.updates)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.files.wait()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint.setdefault("zoo", {}).update(self.about)

    def save(self, trainer: pl.Trainer, better: bool = False) -> None:
        """Write ``last.ckpt`` and, if it is the best so far, give the same file the name ``best.ckpt`` too.

        Args:
            trainer: Lightning's; every process must make this call.
            better: whether the validation loss is the lowest so far.
        """
        best = self.directory / BEST if better else None
        trainer.save_checkpoint(self.directory / LAST, storage_options=best)

    def finish(self, trainer: pl.Trainer) -> None:
        """Wait until the last checkpoint is on the disk; every process must make this call."""
        self.files.wait()
        trainer.strategy.barrier()


class CheckpointFiles(TorchCheckpointIO):
    """The plugin through which Lightning's trainer writes and reads checkpoints.

    It writes a checkpoint straight to its file, where Lightning would make two copies in memory first. In the
    background, it copies the content once, and one thread writes the copy while training goes on. There is at
    most one such write: the next one, the end of training and an error in training wait for it.

    On ``fit(ckpt_path=...)`` the plugin returns the content that the run has read before, so that the file is
    read once.

    Args:
        checkpoint: content of the checkpoint that the run resumes from; None for a run from the start. It is
            held until the trainer asks for it.
        background: whether training goes on during a write.
    """

    def __init__(self, checkpoint: dict[str, Any] | None = None, background: bool = False) -> None:
        self.checkpoint, self.background = checkpoint, background
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Path | None = None
    ) -> None:
        """Write a checkpoint, in the background or at once.

        Args:
            checkpoint: its content.
            path: its file.
            storage_options: a second name of the file.

        Raises:
            OSError, RuntimeError: this write has failed, or the last one in the background.
        """
        self.wait()
        distributed.WRITING.acquire()  # not in the thread, which may begin late
        if not self.background:
            _write(checkpoint, Path(path), storage_options)
            return
        try:
            self._thread = self._thread or ThreadPoolExecutor(1, "checkpoint")
            content = snapshot(checkpoint)
            self._writing = self._thread.submit(_write, content, Path(path), storage_options)
        except BaseException:
            distributed.WRITING.release()
            raise

    def wait(self) -> None:
        """Wait for the write in the background, if there is one, and raise its error."""
        if self._writing is not None:
            error = self._writing.exception()
            self._writing = None
            if error is not None:
                raise error

    def check(self) -> None:
        """Raise the error of a write in the background that has failed."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def teardown(self) -> None:
        """Wait for the write in the background, and end the thread. Training has ended, perhaps by an error.

        An error of the write is dropped: :meth:`wait` has raised it, unless another error has ended training.
        """
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self._thread = self._writing = None

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
        return checkpoint | {"optimizer_states": snapshot(checkpoint.get("optimizer_states", []))}


def _write(checkpoint: dict[str, Any], file: Path, second: Path | None) -> None:
    """Write a checkpoint as :func:`write_checkpoint` does, and release the lock that the caller has taken."""
    try:
        write_checkpoint(checkpoint, file, second)
    finally:
        distributed.WRITING.release()


def write_checkpoint(checkpoint: dict[str, Any], file: Path, second: Path | None = None) -> None:
    """Write a checkpoint whole or not at all: to a temporary file that is flushed to the disk and renamed.

    Args:
        checkpoint: its content.
        file: its name.
        second: another name that the same file gets, before this one.
    """
    with _new(file) as new:
        _save(checkpoint, new)
        if second is not None:
            with _new(second) as link:
                _link(new, link)
                os.replace(link, second)
        os.replace(new, file)


class _Stream:
    """A file that keeps the first error of its disk, in whose place torch raises a RuntimeError."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def _save(checkpoint: dict[str, Any], file: Path) -> None:
    """Write a checkpoint to a file and wait until it is on the disk.

    Raises:
        OSError: the disk does not take it.
    """
    with file.open("wb") as opened:
        stream = _Stream(opened)
        try:
            torch.save(checkpoint, cast("IO[bytes]", stream))
        except RuntimeError:
            if stream.error is None:
                raise
        if stream.error is not None:
            raise stream.error
        opened.flush()
        os.fsync(opened.fileno())


@contextmanager
def _new(file: Path) -> Iterator[Path]:
    """Yield the temporary name of a file; an error leaves no file of this name, such as half a checkpoint."""
    new = file.with_name(f".{file.name}")
    new.unlink(missing_ok=True)  # a killed process left it, perhaps as another name of best.ckpt
    try:
        yield new
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _to_disk(file: Path) -> None:
    """Wait until a file's content is on the disk, so that it is whole before it is renamed."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _link(file: Path, name: Path) -> None:
    """Give a file a second name; copy it where the file system has no hard links."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)
        _to_disk(name)


def snapshot(value: Any) -> Any:
    """Return a copy of a nested value in the memory of the host, which later updates do not change.

    Tensors that are the same part of one storage are one tensor in the copy too. Those on a GPU are copied to
    pinned memory, all at once, and are there when the function returns.
    """
    copies: dict[Hashable, Tensor] = {}
    copied = _copied(value, copies)
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return copied


def _copied(value: Any, copies: dict[Hashable, Tensor]) -> Any:
    """Return a copy of a nested value; ``copies`` has those of its tensors, by their place in memory."""
    if isinstance(value, Tensor):
        place = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        if place not in copies:
            copies[place] = _on_host(value.detach())
        return copies[place]
    if isinstance(value, dict):
        new = copy.copy(value)  # of its own class and attributes, such as the versions of a state's modules
        new.update((key, _copied(inner, copies)) for key, inner in value.items())
        return new
    return type(value)(_copied(v, copies) for v in value) if isinstance(value, list | tuple) else value


def _on_host(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor in the host's memory; one from an NVIDIA GPU is perhaps still on its way."""
    if tensor.device.type != "cuda":
        return tensor.to("cpu", copy=True)
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)


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
            self._end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if not pl_module.finished and distributed.any_of(pl_module.signalled, pl_module.device):
            self._end(trainer, pl_module)

    def _end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        self.checkpoints.finish(trainer)
        raise Interrupted(
            f"Ended by a signal, with a checkpoint at update {module.updates} of {module.schedule.updates}."
        )
