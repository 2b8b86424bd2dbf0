"""Train a model to its budget, from the last checkpoint if there is one."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from zoo import factory
from zoo.config.identity import PRECISION
from zoo.config.targets import class_of, make
from zoo.data.module import DataModule
from zoo.data.user import UserData
from zoo.errors import MPS, CutOff, ZooError
from zoo.evaluation.protocol import distance_to
from zoo.evaluation.settings import Settings
from zoo.journal import Journal
from zoo.models.core.precision import float32_matmul
from zoo.processes import is_first_rank
from zoo.record import CHECKPOINTS, LAST, Cost, Hardware, Segment, Stability
from zoo.running.provenance import machine, peak_memory
from zoo.running.spec import RunSpec
from zoo.training import distributed
from zoo.training.adversarial import Adversarial as AdversarialTraining
from zoo.training.callbacks import CountFlops, Curves, FastPaths, Progress, SampleDistance, TrainingStatistics
from zoo.training.checkpoints import CheckpointFiles, Checkpoints, Ending
from zoo.training.likelihood import MaximumLikelihood
from zoo.training.matching import Matching
from zoo.training.module import TrainingModule
from zoo.training.prefetch import prefetched
from zoo.training.pruning import Pruning

PRECISIONS = ("32-true", "bf16-mixed")  # precisions that give right numbers, see :func:`check_precision`
# 80 GB, and the bytes of a weight under Adam in float32: itself, its gradient, two moments, its average.
LARGEST = 80 / 20  # billions of weights whose training may fit one device
NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"  # torch's variable
TIMEOUT_MIN = 30.0  # minutes that a process waits for the others before the run is cut off
# Settings of the trainer that are not Lightning's.
_OWN = ("_target_", "timeout_min", "float32_matmul", "gradient_compression", "async_checkpoints")
Show = Callable[[dict[str, Any]], None]


def training_module(spec: RunSpec, model: nn.Module) -> TrainingModule:
    """Return the training module of a run around its model.

    Raises:
        ZooError: a setting does not exist or is out of range.
    """
    target = class_of(spec.training, "training", TrainingModule)
    module: TrainingModule = make(target, spec.training, "training", model=model, seed=spec.identity.seed)
    return module


def make_trainer(settings: dict[str, Any], **more: Any) -> pl.Trainer:
    """Return a Lightning trainer.

    Args:
        settings: the section ``trainer``.
        more: arguments that override the settings.

    Raises:
        ZooError: Lightning refuses the settings, for example a device that this machine lacks.
    """
    arguments = {key: value for key, value in settings.items() if key not in (*more, *_OWN)}
    try:
        trainer: pl.Trainer = class_of(settings, "trainer", pl.Trainer)(**arguments, **more)
    except (TypeError, ValueError, MisconfigurationException, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ZooError(
            f"The trainer cannot be set up ({reason}); change the setting of trainer.*."
        ) from error
    return trainer


Objective = Literal["likelihood", "matching", "adversarial"]


def objective_of(module: TrainingModule) -> Objective | None:
    """Return the objective of a training module, which its base class tells; None for any other class."""
    classes: dict[type, Objective] = {
        MaximumLikelihood: "likelihood",
        Matching: "matching",
        AdversarialTraining: "adversarial",
    }
    return next((name for cls, name in classes.items() if isinstance(module, cls)), None)


class Fit:
    """The training of one run to its budget, from the last checkpoint where there is one.

    :meth:`cost`, :meth:`segments` and :meth:`stability` can be called however training ends.

    Args:
        spec: the run's settings.
        model: a model that has not been trained.
        data: the data module, set up.
        directory: the run's directory.
        show: function to call with the content of ``progress.json``, or None.
        resume: whether to continue from the last checkpoint, if there is one.

    Raises:
        ZooError: settings that exclude each other.
    """

    def __init__(
        self,
        spec: RunSpec,
        model: nn.Module,
        data: DataModule,
        *,
        directory: Path,
        show: Show | None,
        resume: bool = True,
    ) -> None:
        check_precision(spec.trainer)
        check_shared_gpu()
        self.float32_matmul = spec.trainer.get("float32_matmul", "highest")
        self.module = module = training_module(spec, model)
        module.training_set = data
        folder = directory / CHECKPOINTS
        self.last = folder / LAST
        checkpoint = _read(self.last) if resume else None
        bits_per_nat = 1 / math.log(2) if data.spec.levels is not None else None
        self.curves = Curves(directory, bits_per_nat, machine())
        if checkpoint is not None:  # before the loader is made, which starts at module.updates
            module.resume(checkpoint)
            self.curves.resume(checkpoint)
        self.resumed_at = None if checkpoint is None else module.updates
        about = {"model": spec.model, "spec": data.spec.to_dict(), "run_id": spec.identity.run_id}
        self.flops, self.fast_paths = CountFlops(data), FastPaths()
        self.progress = Progress(directory, spec.identity.run_id, show, len(data.splits["train"]))
        self.files = CheckpointFiles(checkpoint, background=bool(spec.trainer.get("async_checkpoints", True)))
        checkpoints = Checkpoints(folder, self.files, about)
        self.pruning = _pruning(spec)
        callbacks = [  # in this order: a validation's values are complete before they are written to files
            distributed.Agreement(spec.identity.config_hash, processes(spec.trainer)),
            self.fast_paths,
            TrainingStatistics(data),
            *_sample_distance(module.settings.validate_samples, data, int(spec.evaluation["seed"])),
            self.curves,
            *([self.pruning] if self.pruning is not None else []),
            checkpoints,
            Ending(checkpoints),
            self.flops,
            self.progress,
        ]
        self.trainer = make_trainer(
            spec.trainer,
            strategy=strategy(spec.trainer, module.partial_gradients),
            max_epochs=1,
            val_check_interval=module.validate_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=False,
            callbacks=callbacks,
            plugins=[self.files],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=str(directory),
        )
        size, with_labels = module.examples_per_update, module.with_labels
        self.train = data.train_dataloader(
            size,
            seed=spec.identity.seed,
            start=module.updates,
            stop=module.schedule.updates,
            with_labels=with_labels,
        )
        # Validation keeps no activations, so its batches may be larger than those of training.
        size = max(size, Settings.of(spec.evaluation).batch_size)
        self.validation = data.val_dataloader(size, with_labels=with_labels)

    def run(
        self, loggers: list[Any], lost: distributed.Lost = distributed.tell_of_a_lost_rank
    ) -> torch.device:
        """Train, and return the device of this process.

        Args:
            loggers: Lightning's loggers of the run.
            lost: what ends the run if this process waits for a rank that has failed.

        Raises:
            Diverged: a loss or a validation was not finite.
            KeyboardInterrupt: training was interrupted.
        """
        self.trainer.loggers = loggers
        self.last.parent.mkdir(exist_ok=True)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        if not self.module.finished:
            path = None if self.resumed_at is None else str(self.last)
            distributed.start_ranks(self.trainer.strategy, lost)
            train = prefetched(self.train, self.trainer.strategy.root_device)
            with float32_matmul(self.float32_matmul), asking_cuda(self.trainer.strategy.root_device):
                self.trainer.fit(self.module, train, self.validation, ckpt_path=path)
            if self.trainer.interrupted:
                raise KeyboardInterrupt
        self.files.release()  # frees the checkpoint of a run that had no updates left to make
        if is_first_rank():
            self.progress.report("evaluating", self.module)
        # not module.device: Lightning has moved the module back to the CPU
        return self.trainer.strategy.root_device

    @property
    def trained(self) -> bool:
        """Whether this attempt has made an update, or all updates were already made when it began."""
        return self.module.updates > (self.resumed_at or 0) or self.module.finished

    @property
    def pruned(self) -> str | None:
        """Why the search has pruned the run, in a sentence; None if it has not."""
        return None if self.pruning is None else self.pruning.reason

    def cost(self) -> Cost:
        """Return what training has cost so far."""
        module, seconds = self.module, self.curves.seconds()
        return Cost(
            parameters=sum(p.numel() for p in module.model.parameters() if p.requires_grad),
            updates=module.updates,
            images_seen=module.images_seen,
            train_seconds=seconds,
            device_seconds=self.curves.device_seconds(),
            examples_per_second=module.images_seen / seconds if seconds else None,
            peak_memory_bytes=peak_memory(),
            batch_size=module.settings.batch_size,
            compiled=module.compiled,
            fast_paths=self.fast_paths.names,
            flops_per_example=self.flops.flops_per_example,
            flops_reason=self.flops.reason,
        )

    def segments(self) -> list[Segment]:
        """Return the segments of training so far: one for each time that training began or resumed."""
        return [
            Segment(**segment | {"hardware": Hardware(**segment["hardware"])})
            for segment in self.curves.segments()
        ]

    def stability(self) -> Stability:
        """Return how steady training has been so far."""
        return dataclasses.replace(self.module.stability.report(), resumed_at=self.resumed_at)


@contextmanager
def asking_cuda(device: torch.device) -> Iterator[None]:
    """Within the block, let torch look for GPUs by CUDA and not by NVML, if the run trains on another device.

    Adam looks for them before each step. Lightning has torch do so by NVML, which does not start CUDA, as
    processes that are forked later need it. But where no GPU is in use, NVML is loaded anew each time, which
    takes some hundredths of a small update.
    """
    before = os.environ.get(NVML)
    if device.type != "cuda":
        os.environ[NVML] = "0"
    try:
        yield
    finally:
        os.environ.pop(NVML, None) if before is None else os.environ.update({NVML: before})


def _sample_distance(samples: int, data: DataModule, seed: int) -> list[SampleDistance]:
    """Return a list with the callback for ``training.validate_samples``; empty if that is 0.

    Raises:
        ZooError: fewer than two validation examples to compare with.
    """
    if not samples:
        return []
    held_out = data.splits["val"][:samples]
    if len(held_out) < 2:
        raise ZooError(
            f"training.validate_samples={samples} needs two validation examples, and there is "
            f"{len(held_out)}; set training.validate_samples=0, or raise "
            f"{'data.val_fraction' if isinstance(data, UserData) else 'data.val'}."
        )
    return [SampleDistance(partial(distance_to, held_out, data.spec, seed))]


def _pruning(spec: RunSpec) -> Pruning | None:
    """Return the callback that reports validations to the run's search; None if the run is not a trial.

    Raises:
        ZooError: Optuna is not installed, or the journal is missing or damaged.
    """
    if spec.trial is None:
        return None
    file, number = spec.trial
    if not is_first_rank():
        return Pruning(lambda step, loss: False)  # only the first rank reports
    journal = Journal(file)

    def report(step: int, loss: float) -> bool:
        try:
            return journal.report(number, step, loss)
        except ZooError as error:  # the journal is at fault, not the run, which can be resumed
            raise CutOff(str(error)) from error

    return Pruning(report)


def _read(last: Path) -> dict[str, Any] | None:
    """Return the last checkpoint, or None if there is none. A damaged one is removed."""
    if not last.exists():
        return None
    try:
        return factory.read_checkpoint(last)
    except ZooError:  # damaged when the run was cut off; training starts anew
        last.unlink(missing_ok=True)
        return None


def check_precision(trainer: Mapping[str, Any]) -> None:
    """Check that a run trains in a precision in which its numbers are right.

    In ``16-mixed`` the loss is scaled, and with it the gradients that are clipped, checked and recorded. With
    weights in half precision (``16-true``, ``bf16-true``), an averaged weight would change by less than its
    rounding.

    Raises:
        ZooError: the precision is none of :data:`PRECISIONS`.
    """
    given = str(trainer.get("precision"))
    precision = PRECISION.get(given, given)
    if precision not in PRECISIONS:
        raise ZooError(
            f"trainer.precision must be {' or '.join(PRECISIONS)}; got {precision}, in which clipped "
            "gradients or averaged weights would be wrong, or have not been checked."
        )


def check_shared_gpu() -> None:
    """Check that a job that shares a GPU through MPS has it; it would train on the CPU otherwise.

    Raises:
        CutOff: the service does not take the job, as after a fault until all that it has ended are gone.
    """
    if MPS in os.environ and not torch.cuda.is_available():
        raise CutOff("MPS gives this job no GPU; start it again when the other jobs of the GPU have ended.")


def processes(trainer: Mapping[str, Any]) -> int | None:
    """Return the number of processes that the configuration sets; None if it depends on the machine."""
    devices, nodes = trainer["devices"], trainer.get("num_nodes", 1)
    return devices * nodes if isinstance(devices, int) and devices > 0 else None


def processes_here(trainer: Mapping[str, Any]) -> int:
    """Return the number of the run's processes on each machine.

    ``auto`` and -1 are all GPUs of this machine, and one process on a CPU, as Lightning has it.
    """
    devices = trainer["devices"]
    if isinstance(devices, str) and "," in devices:
        devices = [number for number in devices.split(",") if number.strip()]
    if isinstance(devices, list):
        return len(devices)
    if str(devices).isdecimal():
        return max(1, int(devices))
    return max(1, torch.cuda.device_count()) if on_gpu(trainer) else 1


def on_gpu(trainer: Mapping[str, Any]) -> bool:
    """Return whether a run trains on NVIDIA's GPUs if this machine has any."""
    return trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")


def strategy(trainer: Mapping[str, Any], partial_gradients: bool = False) -> Any:
    """Return Lightning's strategy for several processes; ``auto`` for one.

    Args:
        trainer: the section ``trainer``.
        partial_gradients: whether a backward pass of the training module may leave weights without a
            gradient.

    Raises:
        ZooError: the strategy would shard the model, torchrun has started another number of processes, or
            gradients are to be compressed although a single process exchanges none.
    """
    name, count, started = trainer.get("strategy", "auto"), processes(trainer), os.environ.get("WORLD_SIZE")
    if "RANK" in os.environ and count is not None and count != int(started or 1):
        raise ZooError(
            f"torchrun has started {started} processes, but trainer.devices times trainer.num_nodes is "
            f"{count}; give trainer=ddp and the numbers that torchrun was given."
        )
    compression: distributed.Compression = trainer.get("gradient_compression") or "none"
    if compression != "none" and count == 1:
        raise distributed.nothing_to_compress(compression)
    if name in ("ddp", distributed.FIND_UNUSED) or (name == "auto" and count != 1):
        minutes = float(trainer.get("timeout_min") or TIMEOUT_MIN)
        return distributed.Averaging(
            find_unused=partial_gradients or name == distributed.FIND_UNUSED,
            compression=compression,
            timeout=datetime.timedelta(minutes=minutes),
        )
    if name == "auto":
        return "auto"
    raise ZooError(
        f"trainer.strategy is ddp or auto; got '{name}', which would shard the model: that pays from about "
        f"{LARGEST:.0f} billion weights on, whose training no longer fits one device of 80 GB; use "
        "trainer=ddp."
    )
