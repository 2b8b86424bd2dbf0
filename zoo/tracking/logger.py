"""Where a run is logged beside its record: Weights & Biases, Lightning's CSV files, or nowhere.

``docs/wandb.md`` says what W&B gets and how it is read there. The record and the curves on disk stay the
source of truth: what goes wrong with W&B costs no run. So a run at W&B is spoken to through :meth:`Wandb.ask`
alone, which waits for so long and no longer, and after one fault goes on without it.
"""

from __future__ import annotations

import contextlib
import csv
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger

from zoo.config import Identity
from zoo.errors import ZooError
from zoo.record import AXES, CURVES, DENSITY, LIKELIHOOD, RECORD, SAMPLES, Record
from zoo.tracking.login import by_agent, wandb_mode

BEST = "val/best_loss"  # of a finished run: what a W&B sweep minimises
INTERRUPTED = 130
_LONGEST = 128  # of an id, for W&B; a tag may have half of that
# Seconds that W&B gets: to take something; to take and upload all at a run's end; to close, in a process that
# was asked to end and has 20 s for that.
_ANSWER, _UPLOAD, _CLOSE = 60.0, 900.0, 8.0


def job_id(run_id: str) -> str:
    """A run's id at W&B: the job's own, so that every segment of a resumed run is one run there."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", run_id)[-_LONGEST:]


class Wandb(Logger):
    """A W&B run as a logger of Lightning's. W&B's own step is the update, and no x axis.

    (Lightning's ``WandbLogger`` adds a step of its own to every row, and takes over a run it finds open.)
    """

    def __init__(self, run: Any, upload_checkpoint: bool = False) -> None:
        super().__init__()
        self.upload_checkpoint = upload_checkpoint
        self._run: Any = run  # None once it has failed
        self._name, self._version = str(run.project), str(run.id)

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return self._version

    def ask(self, act: Callable[[Any], object], seconds: float = _ANSWER) -> None:
        """Do something with the run at W&B; where that fails or lasts too long, say so and go on without."""
        if self._run is None:
            return
        trouble = _within(seconds, act, self._run)
        if trouble is not None:
            self._run = None
            _warn(f"W&B did not take all of {self.version} ({_line(trouble)}); its record has it.")
            _let_go()

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run has its configuration from the start."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.ask(lambda run: run.log(dict(metrics), step=step))


def start(settings: Mapping[str, Any], identity: Identity, protocol: str, directory: Path) -> list[Logger]:
    """The logger of a run; a run at W&B that was begun before is gone on with.

    Args:
        settings: ``conf/logger/NAME.yaml``, and ``group``: the sweep, if any.
        identity: the run's.
        protocol: hash of the protocol that will judge it.
        directory: the run's.

    Raises:
        ZooError: an unknown logger or axis.
    """
    name = settings.get("name")
    if name == "none":
        return []
    if name == "csv":
        return [CSVLogger(str(directory), name="csv", version="")]
    if name != "wandb":
        raise ZooError(f"logger= takes wandb, csv or none; got '{name}'.")
    axis = settings.get("x_axis", AXES[0])
    if axis not in AXES:
        raise ZooError(f"logger.x_axis is one of {', '.join(AXES)}; got '{axis}'.")
    run = _init(settings, identity, protocol, directory)
    if run is None:
        return []
    logger = Wandb(run, bool(settings.get("upload_checkpoint")))
    logger.ask(lambda run: _define_axes(run, axis))
    return [logger]


def _define_axes(run: Any, axis: str) -> None:
    for column in (*AXES, "wall_seconds"):
        run.define_metric(column, hidden=True)  # no panel of its own
    run.define_metric("*", step_metric=axis)


def _init(settings: Mapping[str, Any], identity: Identity, protocol: str, directory: Path) -> Any:
    """The run at W&B, offline where its server does not answer; None where W&B does not work here at all."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    group = settings.get("group") or os.environ.get("WANDB_RUN_GROUP")
    about: dict[str, Any] = {
        "project": settings.get("project"),
        "entity": settings.get("entity"),
        "name": identity.run_id,
        "id": None if by_agent() else job_id(identity.run_id),
        "resume": "allow",
        "group": group or os.environ.get("WANDB_SWEEP_ID") or identity.config_hash_without_seed[:10],
        "job_type": f"{identity.model}-{identity.data}"[: _LONGEST // 2],  # the seeds of a sweep's cell
        "tags": _tags(identity.data, identity.model, f"protocol-{protocol}"),
        "config": identity.config
        | {
            "run_id": identity.run_id,
            "config_hash": identity.config_hash,
            "config_hash_without_seed": identity.config_hash_without_seed,
            "protocol_hash": protocol,
        },
        "dir": str(directory),
        "settings": wandb.Settings(console="off", disable_git=True, disable_code=True),
    }
    mode = wandb_mode()
    if mode == "online":
        try:
            return wandb.init(**about, mode="online")
        except Exception as error:
            _warn(f"W&B cannot be reached ({_line(error)}); this run is kept offline, for `zoo sync`.")
            _let_go()  # its service still holds the id
            mode = "offline"
    try:
        return wandb.init(**about, mode=mode)  # type: ignore[arg-type]
    except wandb.errors.UsageError:
        raise  # a project that cannot be, say
    except Exception as error:
        _warn(
            f"W&B does not work here ({_line(error)}); this run is not logged there, its record has it all."
        )
        _let_go()
        return None


def _tags(*names: str) -> list[str]:
    return list(dict.fromkeys(name[: _LONGEST // 2] for name in names))


def tell_family(loggers: list[Logger], family: str) -> None:
    """Tag a run with its model's family, once the model is there to say it."""
    for logger in _wandb(loggers):
        logger.ask(lambda run: _tell_family(run, family))


def _tell_family(run: Any, family: str) -> None:
    run.tags = tuple(dict.fromkeys([*run.tags, *_tags(family)]))  # a vae's family is vae
    run.config.update({"family": family})


def replay(loggers: list[Logger], directory: Path) -> None:
    """Log the curves of a run that ended before: an agent asked for a job that needs no more work."""
    for row in curves(directory):
        for logger in loggers:
            logger.log_metrics(row, step=int(row["updates"]))


def curves(directory: Path) -> list[dict[str, float]]:
    """The rows of a run's ``curves.csv``, without empty cells."""
    try:
        with (directory / CURVES).open(newline="") as stream:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
    except (OSError, ValueError):
        return []


def finish(loggers: list[Logger], record: Record, directory: Path) -> None:
    """Log what the directory of an ended run holds, and close the run: as failed, unless it has finished.

    Args:
        loggers: of :func:`start`.
        record: the run's.
        directory: with the record, the curves, samples and densities, and the checkpoint.
    """
    for logger in _wandb(loggers):
        logger.ask(partial(_end, record, directory, logger.upload_checkpoint), _UPLOAD)


def _end(record: Record, directory: Path, upload_checkpoint: bool, run: Any) -> None:
    try:
        _log_end(run, record, directory)
        _log_artifacts(run, record, directory, upload_checkpoint)
    finally:
        run.finish(exit_code=0 if record.status == "finished" else 1)


def break_off(loggers: list[Logger], exit_code: int) -> None:
    """Close a run that the same command resumes: as pre-empted where a person ended it, else as failed."""
    for logger in _wandb(loggers):
        logger.ask(lambda run: _break_off(run, exit_code), _CLOSE)


def _break_off(run: Any, exit_code: int) -> None:
    if exit_code == INTERRUPTED:
        run.mark_preempting()
    run.finish(exit_code=exit_code)


def _wandb(loggers: list[Logger]) -> Iterator[Wandb]:
    return (logger for logger in loggers if isinstance(logger, Wandb))


def _log_end(run: Any, record: Record, directory: Path) -> None:
    """The last row, with pictures and histograms, and the summary."""
    import wandb

    rows = curves(directory)
    last: dict[str, Any] = {axis: record.cost.get(axis, 0) for axis in AXES}
    if record.status == "finished":
        best = min((row["val/loss"] for row in rows if "val/loss" in row), default=math.inf)
        if math.isfinite(best):
            last[BEST] = best
        if (directory / "samples.png").exists():
            last["samples"] = wandb.Image(str(directory / "samples.png"))
        if (directory / DENSITY).exists():
            picture = density_picture(directory / DENSITY)
            last["density"] = wandb.Image(picture, caption="data | model", file_type="png")
        if (directory / SAMPLES).exists():
            last |= {
                f"histogram/{name}": wandb.Histogram(np_histogram=h)
                for name, h in histograms(directory / SAMPLES).items()
            }
        if (directory / LIKELIHOOD).exists():
            with np.load(directory / LIKELIHOOD) as arrays:
                values = -arrays["values"].astype(np.float64)
            last["histogram/nll"] = wandb.Histogram(
                np_histogram=np.histogram(values[np.isfinite(values)], 64)
            )
    norms = [row["train/gradient_norm"] for row in rows if "train/gradient_norm" in row]
    if norms:
        last["histogram/gradient_norm"] = wandb.Histogram(norms)
    run.log(last, step=int(last["updates"]))
    for name, metric in record.metrics.items():
        run.summary.update({name: metric.value, f"{name}/kind": metric.kind})
    run.summary.update({"status": record.status, "reason": record.reason})
    for kind in ("cost", "sampling", "stability"):
        run.summary.update({f"{kind}/{name}": value for name, value in getattr(record, kind).items()})


def histograms(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Counts and edges of all values of ``samples`` and of as many ``real`` examples, in the same bins."""
    with np.load(file) as arrays:
        values = {name: arrays[name].astype(np.float64) for name in ("samples", "real")}
        levels = int(arrays["levels"])
    values = {name: array[np.isfinite(array)] for name, array in values.items()}
    both = np.concatenate(list(values.values()))
    low, high = (-0.5, levels - 0.5) if levels else (both.min(), both.max()) if len(both) else (0.0, 1.0)
    edges = np.linspace(low, high, min(levels or 64, 64) + 1)
    return {name: np.histogram(array, edges) for name, array in values.items()}


def density_picture(file: Path) -> np.ndarray:
    """The data's and the model's density side by side on one scale, ``(H, W, 3)`` bytes, y upwards."""
    from matplotlib import colormaps

    with np.load(file) as arrays:
        data, density = (np.flipud(arrays[name].astype(np.float64)) for name in ("data", "density"))
    # the scale is that of the data; a model's narrow peak may be infinite in float16
    top = float(np.quantile(data[data > 0], 0.95)) if (data > 0).any() else 1.0
    panels = [colormaps["viridis"](np.clip(np.nan_to_num(d) / top, 0, 1))[..., :3] for d in (data, density)]
    gap = np.ones((len(data), 2, 3))
    wide = np.concatenate([panels[0], gap, panels[1]], axis=1)
    return (wide * 255 + 0.5).astype(np.uint8).repeat(3, axis=0).repeat(3, axis=1)


def _log_artifacts(run: Any, record: Record, directory: Path, upload_checkpoint: bool) -> None:
    """The record with its curves, and the checkpoint that it is about."""
    import wandb

    name = job_id(record.run_id)[-(_LONGEST - len("-checkpoint")) :]
    about = {"model": record.model, "family": record.family, "data": record.data, "status": record.status}
    artifact = wandb.Artifact(f"{name}-record", type="record", metadata=about)
    for file in (RECORD, CURVES):
        if (directory / file).exists():
            artifact.add_file(str(directory / file))
    run.log_artifact(artifact)
    checkpoint = record.provenance.get("checkpoint")
    if not checkpoint or not (directory / checkpoint).exists():
        return
    artifact = wandb.Artifact(f"{name}-checkpoint", type="model", metadata=about)
    if upload_checkpoint:
        artifact.add_file(str(directory / checkpoint), policy="immutable")  # it stays, and is not copied
    else:
        artifact.add_reference((directory / checkpoint).resolve().as_uri())
    run.log_artifact(artifact)


def _within(seconds: float, act: Callable[..., object], *arguments: Any) -> BaseException | None:
    """What goes wrong with ``act(*arguments)``, which may wait for ever for a service that is gone."""
    troubles: list[BaseException] = []

    def work() -> None:
        try:
            act(*arguments)
        except BaseException as trouble:  # it exits where its service does
            troubles.append(trouble)

    thread = threading.Thread(target=work, daemon=True, name="wandb-request")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return TimeoutError(f"no answer in {seconds:g} s")
    return troubles[0] if troubles else None


def _let_go() -> None:
    """End what wandb has at work in this process: at exit it would wait for a service that may be gone."""
    import wandb

    _within(_CLOSE, wandb.teardown, 1)


def _warn(sentence: str) -> None:
    with contextlib.suppress(OSError):  # the disk that is full may be the one that the log is on
        print(f"zoo: {sentence}", file=sys.stderr)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
