"""Callbacks of training: curves, progress, sample distances, statistics, fast paths, operation counts.

All of them count by the training module's own updates.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zoo.data.module import Batch, DataModule
from zoo.models.bijections import by_hand
from zoo.models.core import rng
from zoo.models.core.capabilities import HasTrainingStatistics, offers
from zoo.models.core.flops import count_flops
from zoo.ranks import rank, world_size
from zoo.record import PROGRESS, CurveWriter
from zoo.training.averaging import running_norms
from zoo.training.module import TrainingModule, unpack

COUNTERS = ("updates", "images_seen", "wall_seconds", "device_seconds", "update_seconds")
STATISTICS_BATCHES = 20  # batches from which batch normalisation beside averaged weights gets its statistics


class Curves(pl.Callback):
    """Writes ``curves.csv`` and logs the same rows; a resumed run drops the rows past its checkpoint.

    Args:
        directory: the run's directory.
        bits_per_nat: factor from nats per dimension to bits/dim, for integer data; None for other data.
        machine: the fields of a :class:`~zoo.record.Segment` that describe the machine, as plain values.
    """

    def __init__(
        self,
        directory: Path,
        bits_per_nat: float | None = None,
        machine: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.bits_per_nat = bits_per_nat
        self.machine = dict(machine or {})
        self.earlier_segments: list[dict[str, Any]] = []
        self.module: TrainingModule | None = None  # once it trains
        self.started = self.training_seconds = self.earlier_device_seconds = 0.0
        self.devices = 1

    def state_dict(self) -> dict[str, Any]:
        return {
            "training_seconds": self.seconds(),
            "device_seconds": self.device_seconds(),
            "segments": self.segments(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.training_seconds = state_dict["training_seconds"]
        self.earlier_device_seconds = state_dict["device_seconds"]
        self.earlier_segments = list(state_dict.get("segments", []))  # older checkpoints have none

    def resume(self, checkpoint: Mapping[str, Any]) -> None:
        """Take over the seconds and segments of a checkpoint, before the trainer loads it in ``fit``."""
        self.load_state_dict(checkpoint["callbacks"][self.state_key])

    def seconds(self) -> float:
        """Return the seconds in training, over all segments of a resumed run, validation included."""
        return self.training_seconds + self._segment()

    def device_seconds(self) -> float:
        """Return the device seconds in training: the seconds of each segment times its number of devices."""
        return self.earlier_device_seconds + self._segment() * self.devices

    def segments(self) -> list[dict[str, Any]]:
        """Return the segments of training so far, as plain values of :class:`~zoo.record.Segment`."""
        if self.module is None:
            return self.earlier_segments
        present = self.machine | {
            "processes": self.devices,
            "from_updates": self.first,
            "to_updates": self.module.updates,
            "seconds": self._segment(),
        }
        return [*self.earlier_segments, present]

    def _segment(self) -> float:
        """Return the seconds of the present segment; 0 before it begins."""
        return time.perf_counter() - self.started if self.started else 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.started, self.devices = time.perf_counter(), trainer.world_size
        self.module, self.first = pl_module, pl_module.updates
        columns = [*COUNTERS, *pl_module.curves, "train/gradient_norm", "val/loss", "val/nll"]
        if self.bits_per_nat is not None:
            columns.append("val/bits_per_dim")
        if pl_module.settings.validate_samples:
            columns.append("val/energy_distance")
        if trainer.is_global_zero:
            self.writer = CurveWriter(self.directory, columns, keep=pl_module.updates)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        # an update before a validation is logged with it
        if pl_module.updates % pl_module.log_every == 0 and not pl_module.validates:
            self.write(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            assert isinstance(pl_module, TrainingModule)
            self.write(trainer, pl_module)

    def write(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Write the module's latest values as a row, on the first rank."""
        if not trainer.is_global_zero:
            return
        seconds = self.seconds()
        row: dict[str, float] = {
            "updates": module.updates,
            "images_seen": module.images_seen,
            "wall_seconds": round(seconds, 4),
            "device_seconds": round(self.device_seconds(), 4),
            "update_seconds": round(module.update_seconds, 4),
            **module.latest,
        }
        if self.bits_per_nat is not None and "val/nll" in row:
            row["val/bits_per_dim"] = row["val/nll"] * self.bits_per_nat
        self.writer.append(row, to_disk="val/loss" in row)  # on the disk before the checkpoint that follows
        for logger in trainer.loggers:
            logger.log_metrics(row, step=module.updates)


class Progress(pl.Callback):
    """Writes how far the run is to ``progress.json``, and passes it to the function that shows it.

    With a function to show them, it does so twice a second. Without one, as in a job of a sweep, it does so
    less and less often, down to every ten seconds: each time a file is replaced, and the server of a
    cluster's file system does this for many jobs.

    Args:
        directory: the run's directory.
        label: name of the run.
        show: function that is called with the content of ``progress.json``; None for none.
        examples: number of training examples; 0 if unknown, and the epoch then stays 0.
    """

    def __init__(
        self,
        directory: Path,
        label: str,
        show: Callable[[dict[str, Any]], None] | None = None,
        examples: int = 0,
    ) -> None:
        self.file, self.label, self.show, self.examples = directory / PROGRESS, label, show, examples
        self.reported = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.started, self.first = time.perf_counter(), pl_module.updates

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        now, schedule = time.perf_counter(), pl_module.schedule
        pause = 0.5 if self.show else report_pause(now - self.started)
        if trainer.is_global_zero and (pl_module.finished or now - self.reported > pause):
            self.reported = now
            updates_made = max(1, pl_module.updates - self.first)
            left = (now - self.started) / updates_made * (schedule.updates - pl_module.updates)
            if schedule.max_seconds is not None:
                left = min(left, max(0.0, schedule.max_seconds - pl_module.update_seconds))
            self.report("training", pl_module, left)

    def report(self, phase: str, module: TrainingModule, left: float | None = None) -> None:
        """Write how far the run is.

        Args:
            phase: ``training`` or ``evaluating``.
            module: the training module, which holds the number of updates and the last loss.
            left: seconds until training ends; None if unknown.
        """
        epoch = module.images_seen / self.examples if self.examples else 0.0
        state = {
            "label": self.label,
            "phase": phase,
            "updates": module.updates,
            "budget": module.schedule.updates,
            "epoch": round(epoch, 1),
            "loss": module.latest.get("train/loss"),
            "seconds_left": left,
        }
        temporary = self.file.with_name(f".{PROGRESS}")
        temporary.write_text(json.dumps(state), encoding="utf-8")
        os.replace(temporary, self.file)
        if self.show:
            self.show(state)


def report_pause(seconds: float) -> float:
    """Return the seconds between two writes of ``progress.json`` by a job that has trained for ``seconds``.

    >>> report_pause(3.0), report_pause(100.0), report_pause(86400.0)
    (0.5, 2.0, 10.0)
    """
    return min(10.0, max(0.5, seconds / 50))


class SampleDistance(pl.Callback):
    """Measures at each validation how far the evaluated model's samples are from the data.

    The distance is the curve ``val/energy_distance``. The record reports the oscillation of this curve where
    the training has no validation loss. In the list of callbacks this one must come before :class:`Curves`
    and :class:`~zoo.training.checkpoints.Checkpoints`, which write the values of a validation.

    Args:
        distance: function that returns the distance for a model, the same in every process. It returns NaN if
            a sample is not finite; the curve then has a gap, and training goes on.
    """

    def __init__(self, distance: Callable[[nn.Module], float]) -> None:
        self.distance = distance

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        name, distance = "val/energy_distance", self.distance(pl_module.evaluated)
        pl_module.latest.pop(name, None)
        if math.isfinite(distance):
            pl_module.latest[name] = distance
            pl_module.stability.validation(name, pl_module.updates, distance)


class TrainingStatistics(pl.Callback):
    """Computes, before each validation, the statistics of the training set that the evaluated model needs.

    A model with a method for it gets the whole training set. A model with averaged weights and batch
    normalisation gets running statistics that belong to the averaged weights, from :data:`STATISTICS_BATCHES`
    random batches, of which each process takes its part as in training.

    Args:
        data: the data set, which every process reads as a whole.
    """

    def __init__(self, data: DataModule) -> None:
        self.data = data

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        model = pl_module.evaluated
        if pl_module.ema is not None and running_norms(model):
            pl_module.collect_averaged_statistics(self._drawn(pl_module))
        if offers(model, HasTrainingStatistics):
            model.on_training_statistics(self._batches(max(pl_module.settings.batch_size, 1000)))

    def _drawn(self, module: TrainingModule) -> Iterator[Batch]:
        """Yield this process's part of each of the random batches, which are the same at each validation."""
        n, size = len(self.data.splits["train"]), module.settings.batch_size
        generator = torch.Generator().manual_seed(0)
        for _ in range(STATISTICS_BATCHES):
            rows = torch.randint(n, (size,), generator=generator)[rank() :: world_size()]
            x, y = unpack(self.data.take("train", rows, module.with_labels))
            x = x.to(module.device)
            yield x if y is None else (x, y.to(module.device))

    def _batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        x, y = self.data.splits["train"], self.data.labels.get("train")
        for rows in torch.arange(len(x)).split(size):
            yield x[rows], None if y is None else y[rows]


class FastPaths(pl.Callback):
    """Notes which faster ways of computing a run takes that depend on the machine or on its settings.

    Hooks watch the layers during the run's first update alone; layers that torch compiles are not watched,
    since torch chooses their memory formats. Layers with hooks compute by autograd, so only the second update
    shows whether they are one operation. The two ways round differently, and a resumed run must repeat an
    uninterrupted one. So a resumed run has no hooks, and takes its names from its checkpoint.

    Attributes:
        names: ``fused optimiser``, ``channels last``, ``features first`` and the names of
            :mod:`~zoo.models.bijections.by_hand`; None before the first update.
    """

    names: list[str] | None = None

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.hooks: list[RemovableHandle] = []
        self.uses_before: Counter[str] = Counter()

    def state_dict(self) -> dict[str, Any]:
        return {"names": self.names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.names = state_dict["names"]
        self.seen = set(self.names or ())

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if groups and all(group.get("fused") for group in groups):
            self.seen.add("fused optimiser")
        if not pl_module.updates and not pl_module.compiled:
            self.hooks = [layer.register_forward_pre_hook(self._look) for layer in pl_module.model.modules()]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.updates == 1:
            self.uses_before = by_hand.uses.copy()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.updates > 2:
            return
        if pl_module.updates == 2:
            self.seen.update(by_hand.uses - self.uses_before)
        self.names = sorted(self.seen)
        self._end()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._end()

    def _end(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks = []

    def _look(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note the memory format of a layer's inputs, if it is not torch's usual one."""
        for x in inputs:
            if isinstance(x, Tensor) and not x.is_contiguous():
                if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
                    self.seen.add("channels last")
                elif x.ndim == 2 and x.t().is_contiguous():
                    self.seen.add("features first")


class CountFlops(pl.Callback):
    """Counts, after training, the floating-point operations of one more update, made as a dry run.

    The update uses the first examples of the training set and changes no weights. Runs of several processes
    are not counted. See :func:`~zoo.models.core.flops.count_flops` for what the counter does not see.

    Args:
        data: the data set.

    Attributes:
        flops_per_example: operations of an update divided by its number of examples; None if unknown.
        reason: why the number is unknown, or what the counter does not see.
    """

    def __init__(self, data: DataModule) -> None:
        self.data = data
        self.flops_per_example: float | None = None
        self.reason: str | None = "Training had ended before."

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if not pl_module.updates or trainer.interrupted:
            return
        if trainer.world_size > 1:
            self.reason = "Operations are counted in a single process only."
            return
        device, size = pl_module.device, pl_module.examples_per_update
        rows = torch.arange(size) % len(self.data.splits["train"])
        x, y = unpack(self.data.take("train", rows, pl_module.with_labels))
        x, y = x.to(device), None if y is None else y.to(device)
        with pl_module.dry_run(), rng.keyed(rng.keys(pl_module.seed, count=size, device=device)):
            flops, self.reason = count_flops(lambda: pl_module.update(x, y))
        self.flops_per_example = None if flops is None else flops / size
