"""What happens beside training: checkpoints, curves, progress. All keep time by the rule's own updates."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from zoo.errors import CutOff
from zoo.processes import ENDING
from zoo.record import CURVES, write_atomic
from zoo.training import distributed
from zoo.training.module import Rule

AXES = ("updates", "images_seen", "wall_seconds", "device_seconds", "update_seconds")
PROGRESS = "progress.json"


class Checkpoints(pl.Callback):
    """``last.ckpt`` at every validation and ``best.ckpt`` by the lowest validation loss, never half-written.

    Without a criterion there is no best one, and the last stands for the run.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.best: float | None = None
        self.best_updates = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        assert isinstance(pl_module, Rule)
        loss = pl_module.latest.get("val/loss")
        better = loss is not None and (self.best is None or loss < self.best)
        if better:
            self.best, self.best_updates = loss, pl_module.updates
        self.save(trainer, better)

    def save(self, trainer: pl.Trainer, better: bool = False) -> None:
        """Write ``last.ckpt``, and the same as ``best.ckpt`` where it is better than all before."""
        last, best = self.directory / "last.ckpt", self.directory / "best.ckpt"
        fresh, copy = self.directory / ".last.ckpt", self.directory / ".best.ckpt"
        try:
            trainer.save_checkpoint(fresh)  # every rank takes part
            if trainer.is_global_zero:
                if better:
                    shutil.copyfile(fresh, copy)
                    _replace(copy, best)
                _replace(fresh, last)
        except BaseException:
            if trainer.is_global_zero:  # a full disk is not to be filled by half a checkpoint
                fresh.unlink(missing_ok=True)
                copy.unlink(missing_ok=True)
            raise

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_updates": self.best_updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_updates = state_dict["best"], state_dict["best_updates"]


def _replace(fresh: Path, target: Path) -> None:
    """Put a whole file in another's place: its content is on the disk before its name is."""
    with fresh.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(fresh, target)


class Ending(pl.Callback):
    """When the process is asked to end (SIGTERM; Slurm's signal before a time-out), do so with a checkpoint.

    The update at hand is finished first; of several processes all end after the same one.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints, self.asked = checkpoints, False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # in place of Lightning's own handlers, one of which starts a collective wherever the others are;
        # Lightning puts back those from before
        if threading.current_thread() is threading.main_thread():
            for signum in ENDING:
                signal.signal(signum, self._ask)

    def _ask(self, signum: int, frame: object) -> None:
        self.asked = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Rule)
        if pl_module.validates:
            return  # then its checkpoint is the one
        agrees = trainer.world_size == 1 or pl_module.updates % pl_module.log_every == 0
        if agrees and distributed.any_of(self.asked, pl_module.device):
            self.checkpoints.save(trainer)
            self._end(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Rule)
        if not pl_module.finished and distributed.any_of(self.asked, pl_module.device):
            self._end(pl_module)

    def _end(self, rule: Rule) -> None:
        raise CutOff(f"Asked to end, with a checkpoint at update {rule.updates} of {rule.budget}.")


class Curves(pl.Callback):
    """``curves.csv`` and the same rows to the loggers; a resumed run cuts what lies past its checkpoint."""

    def __init__(self, directory: Path, bits_per_nat: float | None = None) -> None:
        self.file = directory / CURVES
        self.bits_per_nat = bits_per_nat
        self.started = self.training_seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"training_seconds": self.seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.training_seconds = state_dict["training_seconds"]

    def seconds(self) -> float:
        """Seconds in training, over all segments of a resumed run, validation included."""
        return self.training_seconds + (time.perf_counter() - self.started if self.started else 0.0)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Rule)
        self.started = time.perf_counter()
        self.columns = [*AXES, *pl_module.curves, "train/gradient_norm", "val/loss", "val/nll"]
        if self.bits_per_nat is not None:
            self.columns.append("val/bits_per_dim")
        if pl_module.validate_samples:
            self.columns.append("val/energy_distance")
        if not trainer.is_global_zero:
            return
        kept = []
        if pl_module.updates and self.file.exists():
            whole = self.file.read_text().rpartition("\n")[0]  # what follows was cut off while it was written
            kept = [r for r in csv.DictReader(whole.splitlines()) if float(r["updates"]) <= pl_module.updates]
        lines = [",".join(self.columns)]
        lines += [",".join(row.get(c, "") for c in self.columns) for row in kept]
        write_atomic(self.file, "\n".join(lines) + "\n")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Rule)
        # A validating update is logged with its validation.
        if pl_module.updates % pl_module.log_every == 0 and not pl_module.validates:
            self._write(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            assert isinstance(pl_module, Rule)
            self._write(trainer, pl_module)

    def _write(self, trainer: pl.Trainer, rule: Rule) -> None:
        if not trainer.is_global_zero:
            return
        seconds = self.seconds()
        row: dict[str, float] = {
            "updates": rule.updates,
            "images_seen": rule.images_seen,
            "wall_seconds": round(seconds, 4),
            "device_seconds": round(seconds * trainer.world_size, 4),
            "update_seconds": round(rule.update_seconds, 4),
            **rule.latest,
        }
        if self.bits_per_nat is not None and "val/nll" in row:
            row["val/bits_per_dim"] = row["val/nll"] * self.bits_per_nat
        with self.file.open("a") as stream:
            stream.write(",".join(_number(row.get(c)) for c in self.columns) + "\n")
            if "val/loss" in row:  # the checkpoint that follows must not know more than the curve
                stream.flush()
                os.fsync(stream.fileno())
        for logger in trainer.loggers:
            logger.log_metrics(row, step=rule.updates)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"


class Progress(pl.Callback):
    """Tell how far the run is, twice a second: into ``progress.json``, and to ``show`` where given."""

    def __init__(self, directory: Path, label: str, show: Callable[[dict[str, Any]], None] | None) -> None:
        self.file, self.label, self.show = directory / PROGRESS, label, show
        self.told = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Rule)
        self.started, self.first = time.perf_counter(), pl_module.updates

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Rule)
        now = time.perf_counter()
        if trainer.is_global_zero and (pl_module.finished or now - self.told > 0.5):
            self.told = now
            made = max(1, pl_module.updates - self.first)
            left = (now - self.started) / made * (pl_module.budget - pl_module.updates)
            if pl_module.max_seconds is not None:
                left = min(left, max(0.0, pl_module.max_seconds - pl_module.update_seconds))
            examples = getattr(trainer.datamodule, "train_size", 0)  # type: ignore[attr-defined]
            self.tell("training", pl_module, left, pl_module.images_seen / examples if examples else 0.0)

    def tell(self, phase: str, rule: Rule, left: float | None = None, epoch: float = 0.0) -> None:
        """Report a phase of the run."""
        state = {
            "label": self.label,
            "phase": phase,
            "updates": rule.updates,
            "budget": rule.budget,
            "epoch": round(epoch, 1),
            "loss": rule.latest.get("train/loss"),
            "seconds_left": left,
        }
        temporary = self.file.with_name(f".{PROGRESS}")
        temporary.write_text(json.dumps(state))
        os.replace(temporary, self.file)
        if self.show:
            self.show(state)
