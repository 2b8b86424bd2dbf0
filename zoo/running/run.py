"""One run, from a composed configuration to its record."""

from __future__ import annotations

import datetime
import importlib.metadata
import io
import logging
import math
import os
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import yaml
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig
from torch import Tensor

from zoo import factory
from zoo.config import Identity, identify, own_modules, to_dict
from zoo.errors import CUT_OFF, LOST, CutOff, Diverged, Unsound, ZooError, cut_off
from zoo.evaluation.density import density_grid
from zoo.evaluation.protocol import distance_to, evaluate, extractor_for, protocol_hash
from zoo.evaluation.settings import Settings
from zoo.models.core.capabilities import declared
from zoo.models.core.distributed import world_size
from zoo.processes import JOBS, is_first_rank, lock
from zoo.record import DENSITY, LIKELIHOOD, RECORD, SAMPLES, Record, read, write_atomic
from zoo.tracking import logger as tracking
from zoo.tracking.login import by_agent
from zoo.training import distributed
from zoo.training.callbacks import CountFlops, Curves, Progress, SampleDistance, TrainingStatistics
from zoo.training.checkpoints import Checkpoints, Ending, ReadCheckpoint
from zoo.training.module import TrainingModule

PACKAGES = (
    "zoo",
    "torch",
    "lightning",
    "torchmetrics",
    "torch-fidelity",
    "torchdiffeq",
    "numpy",
    "hydra-core",
)


RANK_ERROR = ".rank-error"  # in a run's directory: why another rank than the first ended
_NO_RECORD = "cut off"  # the same command resumes


def ended(directory: Path, retry_failed: bool = True) -> Record | None:
    """The record of a run that needs no more work: finished, or diverged (it would diverge again)."""
    if not (directory / RECORD).exists():
        return None
    try:
        record = read(directory)
    except ZooError:
        return None  # damaged or of an older schema: made anew
    return None if record.status == "failed" and retry_failed else record


def run(config: DictConfig, directory: Path, show: Callable[[dict[str, Any]], None] | None = None) -> Record:
    """Train, evaluate and record; skip what has ended, resume what was cut off.

    Args:
        config: a composed configuration with its ``hydra`` node.
        directory: the run's directory; another process at work in it is waited for.
        show: told how far the run is.

    Raises:
        ZooError: a mistake that the user can mend. It is recorded as ``failed`` (or ``diverged``) first;
            but in a directory that holds a run with other settings nothing is touched.
    """
    identity = identify(config)
    directory.mkdir(parents=True, exist_ok=True)
    before = _written(directory)
    with lock(directory):
        _refuse_another(identity, directory)
        # What failed is tried again, but not what another process tried while this one waited for it.
        done = ended(directory, retry_failed=_written(directory) == before)
        if done is not None and done.status == "failed":
            raise ZooError(done.reason or "Another process tried this run just now, and it failed.")
        if done is not None:
            if is_first_rank() and by_agent():  # which waits for the results of a run of its own
                loggers = _track(config, identity, directory)
                tracking.tell_family(loggers, done.family)
                tracking.replay(loggers, directory)
                tracking.finish(loggers, done, directory)
            return done
        if is_first_rank():
            for stale in (RECORD, RANK_ERROR):
                (directory / stale).unlink(missing_ok=True)
        return _run(config, identity, directory, show)


def _written(directory: Path) -> int | None:
    """When the record was written, if there is one."""
    try:
        return (directory / RECORD).stat().st_mtime_ns
    except OSError:
        return None


def _refuse_another(identity: Identity, directory: Path) -> None:
    """A result or a checkpoint that is another run's must be neither taken for this one's nor overwritten."""
    record = ended(directory)
    if record is None and not (directory / "checkpoints" / "last.ckpt").exists():
        return
    try:  # as it was trained: a record that was judged again by other settings has these in its own
        kept = yaml.safe_load((directory / "config.yaml").read_text())
        other = kept != yaml.safe_load(yaml.safe_dump(identity.config))
    except (OSError, yaml.YAMLError):  # then a checkpoint alone does not say whose it is
        other = record is not None and record.provenance.get("config_hash") != identity.config_hash
    if other:
        raise ZooError(
            f"{directory} holds a run with other settings; leave out hydra.run.dir, so that every run gets a "
            "directory of its own, or give another one."
        )


def _run(
    config: DictConfig, identity: Identity, directory: Path, show: Callable[[dict[str, Any]], None] | None
) -> Record:
    _quiet()
    record = Record(
        run_id=identity.run_id,
        model=identity.model,
        family="unknown",
        data=identity.data,
        seed=identity.seed,
        status="failed",
        provenance=provenance(identity)
        | {"overrides": [o for o in config.hydra.overrides.task if not o.startswith("hydra.")]},
    )
    started = time.perf_counter()
    loggers: list[Any] = []
    rule: TrainingModule | None = None
    try:
        if is_first_rank():
            write_atomic(directory / "config.yaml", yaml.safe_dump(identity.config, sort_keys=False))
            loggers = _track(config, identity, directory)
        with own_modules():
            data = prepare_data(config)
            natural = bool(getattr(data, "natural", False))
            extractor_for(Settings.of(to_dict(config.evaluation)), data.spec, natural)
            pl.seed_everything(identity.seed, verbose=False)
            settings = to_dict(config.model)
            model = factory.instantiate(settings, data.spec)
            record.family = declared(model).family
            tracking.tell_family(loggers, record.family)
            rule = _rule(config, model, identity.seed)
            about = {"model": settings, "spec": data.spec.to_dict(), "run_id": identity.run_id}
            record.provenance["data"] = data.describe()
            device = _fit(config, rule, data, directory, identity, about, loggers, show, record)
            if is_first_rank() or world_size() > 1:  # without a group nothing was trained, and one is enough
                _judge(config, data, directory, record, device)
            if not is_first_rank():
                return record
        record.status = "finished"
    except (Diverged, Unsound) as error:  # the second from a validation; the protocol makes a cell of it
        record.status, record.reason = "diverged", str(error)
        raise
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second of the first
        record.reason = _NO_RECORD
        tracking.break_off(loggers, tracking.INTERRUPTED)
        raise KeyboardInterrupt from None
    except Exception as error:
        if not is_first_rank():
            _tell(error, directory)
            raise
        outside = cut_off(error)
        told = _told(directory) if outside == LOST else None
        if outside is not None and told is None:
            record.reason = _NO_RECORD
            tracking.break_off(loggers, CUT_OFF)
            raise CutOff(outside) from error
        record.reason = told or _sentence(error)
        write_atomic(directory / "error.log", traceback.format_exc())
        if told is not None:
            raise ZooError(told) from error
        raise
    finally:
        if is_first_rank() and record.reason != _NO_RECORD:
            if rule is not None:
                record.stability |= rule.stability.report()
                record.cost |= {"updates": rule.updates, "images_seen": rule.images_seen}
            record.cost["total_seconds"] = time.perf_counter() - started
            record.provenance["finished_at"] = datetime.datetime.now(datetime.UTC).isoformat(
                timespec="seconds"
            )
            record.write(directory)
            tracking.finish(loggers, record, directory)
    return record


def _track(config: DictConfig, identity: Identity, directory: Path) -> list[Any]:
    settings = to_dict(config.logger) | {"group": config.sweep}
    return tracking.start(settings, identity, protocol_hash(to_dict(config.evaluation)), directory)


def _tell(error: Exception, directory: Path) -> None:
    """Leave word of why this rank ends, for the first rank, which will only see that it is gone."""
    if cut_off(error) is None:
        write_atomic(directory / RANK_ERROR, _sentence(error))


def _told(directory: Path, patience: float = 3.0) -> str | None:
    """What another rank says about its own end; None where it had no time to."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if (directory / RANK_ERROR).exists():
            return (directory / RANK_ERROR).read_text()
        time.sleep(0.1)
    return None


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"


def prepare_data(config: DictConfig) -> Any:
    """The data module of a configuration, set up."""
    settings = to_dict(config.data)
    target = get_class(settings.pop("_target_"))
    data = target(**settings)
    data.setup()
    return data


def _rule(config: DictConfig, model: Any, seed: int) -> TrainingModule:
    settings = to_dict(config.training)
    target = get_class(settings.pop("_target_"))
    return target(model, seed=seed, **settings)


def _fit(
    config: DictConfig,
    rule: TrainingModule,
    data: Any,
    directory: Path,
    identity: Identity,
    about: dict[str, Any],
    loggers: list[Any],
    show: Callable[[dict[str, Any]], None] | None,
    record: Record,
) -> torch.device:
    """Train to the budget, from the last checkpoint where there is one; returns this process's device."""
    folder = directory / "checkpoints"
    folder.mkdir(exist_ok=True)
    last = folder / "last.ckpt"
    checkpoint = None
    if last.exists():
        try:
            checkpoint = factory.read_checkpoint(last)
        except ZooError:  # damaged by whatever cut the run off: begin again
            last.unlink(missing_ok=True)
    curves = Curves(directory, 1 / math.log(2) if data.spec.levels is not None else None)
    if checkpoint is not None:
        rule.on_load_checkpoint(checkpoint)
        curves.resume(checkpoint)
        record.stability["resumed_at"] = rule.updates
    progress = Progress(directory, identity.run_id, show, len(data.splits["train"]))
    checkpoints, flops = Checkpoints(folder, about), CountFlops(data)
    callbacks = [
        distributed.Agreement(identity.config_hash, _processes(config)),
        TrainingStatistics(data),
        *_sample_distance(rule.settings.validate_samples, data, int(config.evaluation.seed)),
        curves,
        checkpoints,
        Ending(checkpoints),
        flops,
        progress,
    ]
    size, with_labels = rule.examples_per_update, rule.with_labels
    train = data.train_dataloader(
        size,
        seed=identity.seed,
        start=rule.updates,
        stop=rule.schedule.updates,
        with_labels=with_labels,
    )
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trainer: pl.Trainer = instantiate(
        config.trainer,
        strategy=_strategy(config),
        max_epochs=1,
        val_check_interval=rule.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=loggers,
        callbacks=callbacks,
        plugins=[] if checkpoint is None else [ReadCheckpoint(checkpoint)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(directory),
    )
    if not rule.finished:
        trainer.fit(
            rule,
            train,
            data.val_dataloader(size, with_labels=with_labels),
            ckpt_path=None if checkpoint is None else str(last),
            weights_only=True,
        )
        if trainer.interrupted:
            raise KeyboardInterrupt
    if is_first_rank():
        progress.report("evaluating", rule)
    seconds = curves.seconds()
    record.cost |= {
        "parameters": sum(p.numel() for p in rule.model.parameters() if p.requires_grad),
        "updates": rule.updates,
        "images_seen": rule.images_seen,
        "train_seconds": seconds,
        "device_seconds": seconds * trainer.world_size,
        "examples_per_second": rule.images_seen / seconds if seconds else None,
        "peak_memory_bytes": _peak_memory(),
        "batch_size": rule.settings.batch_size,
        "compiled": rule.compiled,
        "flops_per_example": flops.flops_per_example,
    }
    if flops.reason is not None:
        record.cost["flops_reason"] = flops.reason
    return trainer.strategy.root_device  # rule.device is the CPU by now: Lightning has moved it there


def _sample_distance(samples: int, data: Any, seed: int) -> list[SampleDistance]:
    """The callback of ``training.validate_samples``, if it asks for any.

    Raises:
        ZooError: fewer than two validation examples to compare with.
    """
    if not samples:
        return []
    held_out = data.splits["val"][:samples]
    if len(held_out) < 2:
        raise ZooError(
            f"training.validate_samples={samples} needs two validation examples; there are {len(held_out)}. "
            "Set it to 0, or raise data.val."
        )
    return [SampleDistance(partial(distance_to, held_out, data.spec, seed))]


def _processes(config: DictConfig) -> int | None:
    """How many processes the configuration asks for; None where Lightning counts the devices itself."""
    devices, nodes = config.trainer.devices, config.trainer.get("num_nodes", 1)
    return devices * nodes if isinstance(devices, int) and devices > 0 else None


def _strategy(config: DictConfig) -> Any:
    """How several processes share a run; one process needs nothing.

    Raises:
        ZooError: a strategy that does not know how rules take their gradients, or another number of processes
            than were started.
    """
    name, wanted, started = (
        config.trainer.get("strategy", "auto"),
        _processes(config),
        os.environ.get("WORLD_SIZE"),
    )
    if "RANK" in os.environ and wanted is not None and wanted != int(started or 1):
        raise ZooError(
            f"torchrun has started {started} processes, the configuration asks for {wanted}; set trainer=ddp "
            "trainer.devices= and trainer.num_nodes= to what it starts."
        )
    if name == "ddp" or (name == "auto" and wanted != 1):
        return distributed.Averaging()
    if name == "auto":
        return "auto"
    raise ZooError(
        f"trainer.strategy is ddp or auto; got '{name}', which would shard or wrap the model, while rules "
        "average their gradients themselves (docs/sweeps.md); use trainer=ddp."
    )


def _judge(config: DictConfig, data: Any, directory: Path, record: Record, device: torch.device) -> None:
    """Evaluate the chosen checkpoint by the protocol; write samples; fill the record.

    All processes of a group take part; only the first writes, and fills its record.
    """
    distributed.wait()  # until the first has written the checkpoint
    model = factory.load(directory, device=device)
    distributed.same_weights(model)  # a network's file system may show an older checkpoint elsewhere
    settings = to_dict(config.evaluation)
    started = time.perf_counter()
    torch.manual_seed(0)
    result = evaluate(
        model,
        data.splits,
        data.spec,
        natural=bool(getattr(data, "natural", False)),
        settings=settings,
        entropy=getattr(data, "entropy", None),
        modes=getattr(data, "modes", None),
    )
    if not is_first_rank():
        return
    record.metrics, record.sampling = result.metrics, result.sampling
    record.cost["evaluation_seconds"] = time.perf_counter() - started
    best = directory / "checkpoints" / "best.ckpt"
    chosen = best if best.exists() else directory / "checkpoints" / "last.ckpt"
    about = factory.read_checkpoint(chosen)["zoo"]
    record.provenance |= {
        "protocol_hash": protocol_hash(settings),
        "checkpoint": str(chosen.relative_to(directory)),
        "checkpoint_updates": about["updates"],
        "weights": about["weights"],
    }
    if result.likelihoods is not None:
        write_arrays(directory / LIKELIHOOD, result.likelihoods)
    else:
        (directory / LIKELIHOOD).unlink(missing_ok=True)
    grid = density_grid(model, data.splits, data.spec)
    if grid is not None:
        write_arrays(directory / DENSITY, grid)
    write_samples(directory, result.samples, data.splits["test"], data.spec.levels)


def reevaluate(directory: Path, changes: Sequence[str] = ()) -> Record:
    """Judge a finished run again by the present protocol, from its checkpoint; rewrite its record.

    Args:
        directory: the run.
        changes: overrides of ``evaluation.*``, which the record keeps; all else is as the run had it.

    Raises:
        ZooError: not a run, or one that was not trained to the end; a change of anything but the evaluation.
    """
    from zoo.config import compose_run

    for text in changes:
        if not text.startswith("evaluation.") or "=" not in text:
            raise ZooError(
                f"'{text}' cannot change after training; give evaluation.KEY=VALUE, or train anew."
            )
    record = read(directory)
    overrides = record.provenance.get("overrides")
    if overrides is None:
        raise ZooError(f"The record in {directory} does not say how it was made; train the run again.")
    with own_modules(), lock(directory):
        config = compose_run([*overrides, *changes])
        last = directory / "checkpoints" / "last.ckpt"
        whole = record.status == "finished" or (  # it may have failed while it was judged
            record.status == "failed"
            and last.exists()
            and factory.read_checkpoint(last)["zoo"]["updates"] >= config.training.updates
        )
        if not whole:
            raise ZooError(
                f"The run in {directory} has {record.status} before its training ended ({record.reason}), so "
                "there is nothing to judge."
            )
        identity = identify(config)
        gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
        _judge(config, prepare_data(config), directory, record, torch.device("cuda" if gpu else "cpu"))
        by = provenance(identity)
        record.provenance["judged_again"] = {key: by[key] for key in ("git_commit", "versions", "hardware")}
        if changes:
            record.provenance |= {
                "overrides": [*overrides, *changes],
                "config": identity.config,
                "config_hash": identity.config_hash,
                "config_hash_without_seed": identity.config_hash_without_seed,
            }
        record.status, record.reason = "finished", None
        record.write(directory)
    return record


def write_samples(directory: Path, samples: Tensor, real: Tensor, levels: int | None) -> Path | None:
    """``samples.npz`` for comparisons and, for images, ``samples.png``; returns the picture.

    Without any samples there are no such files.
    """
    if len(samples) == 0:
        for name in (SAMPLES, "samples.png"):
            (directory / name).unlink(missing_ok=True)
        return None
    dtype = torch.uint8 if levels is not None and levels <= 256 else torch.float32
    arrays = {
        "samples": samples.detach().cpu().to(dtype).numpy(),
        "real": real[: len(samples)].cpu().to(dtype).numpy(),
        "levels": np.array(levels or 0),
    }
    write_arrays(directory / SAMPLES, arrays)
    if samples.ndim != 4 or levels is None:
        return None
    return write_grid(directory / "samples.png", samples, levels)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed ``.npz``, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def write_grid(path: Path, images: Tensor, levels: int) -> Path:
    """A square grid of images ``(N, C, H, W)`` with values ``0..levels-1``, enlarged without smoothing."""
    from PIL import Image
    from torchvision.utils import make_grid

    side = max(1, math.ceil(math.sqrt(len(images))))
    grid = make_grid(images.detach().cpu().float() / (levels - 1), nrow=side, padding=1, pad_value=0.5)
    pixels = (grid.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    factor = max(1, 640 // pixels.shape[1])
    picture = Image.fromarray(pixels).resize(
        (pixels.shape[1] * factor, pixels.shape[0] * factor), Image.Resampling.NEAREST
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def provenance(identity: Identity) -> dict[str, Any]:
    """Where a number comes from: configuration, code, versions, hardware."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return {
        "config": identity.config,
        "config_hash": identity.config_hash,
        "config_hash_without_seed": identity.config_hash_without_seed,
        "git_commit": _git_commit(),
        "versions": versions,
        "hardware": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "jobs": int(os.environ[JOBS]) if JOBS in os.environ else None,
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def _git_commit() -> str | None:
    here = Path(__file__).resolve().parent
    answer = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _quiet() -> None:
    """Silence the notes that Lightning addresses to programmers."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*lightning.*")
