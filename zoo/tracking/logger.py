"""The loggers of a run: Weights & Biases, TensorBoard, Trackio, Lightning's CSV files, or none.

``docs/wandb.md`` says what W&B receives. The record and the curves on disk stay the source of truth, and
trouble with W&B fails no run: every call to W&B goes through :meth:`Wandb.call`, which waits a limited time
and, after the first failure, goes on without W&B.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger

from zoo.checks import check_settings
from zoo.config import Identity
from zoo.errors import ZooError, tell
from zoo.record import AXES, SOUND, Record, read_rows
from zoo.tracking.final import log_artifacts, log_result
from zoo.tracking.local import close_local, finish_local, start_tensorboard, start_trackio
from zoo.tracking.login import by_agent, from_environment, wandb_mode
from zoo.tracking.names import LONGEST_NAME, job_id

PROJECT = "zoo"  # at W&B, if neither logger.project nor WANDB_PROJECT names one
LOGGERS = ("wandb", "tensorboard", "trackio", "csv", "none")
INTERRUPTED = 130  # exit code of a run that a person or a signal ended
ANSWER_SECONDS = 60.0  # time for one call
UPLOAD_SECONDS = 900.0  # time to log and upload everything at the end of a run
CLOSE_SECONDS = 8.0  # time to close the run in a process that must end within 20 s


class Wandb(Logger):
    """A W&B run as a Lightning logger. W&B's own step is the update; it is not used as an x axis.

    (Lightning's ``WandbLogger`` adds another step to every row, and reuses any open run of the process.)
    """

    def __init__(self, run: Any, upload_checkpoint: bool = False) -> None:
        super().__init__()
        self.upload_checkpoint = upload_checkpoint
        self._run: Any = run  # None after the first failure
        self._name, self._version = str(run.project), str(run.id)

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return self._version

    def call(self, action: Callable[[Any], object], seconds: float | None = None) -> None:
        """Call ``action(run)``. If it fails or takes too long, print a warning and stop using W&B."""
        if self._run is None:
            return
        error = _call_within(ANSWER_SECONDS if seconds is None else seconds, action, self._run)
        if error is not None:
            self._run = None
            tell(f"W&B did not take all of {self.version} ({_first_line(error)}); its record has it.")
            _teardown()

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run has had its configuration from the start."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.call(lambda run: run.log(dict(metrics), step=step))


def check_logger(settings: Mapping[str, Any]) -> None:
    """Check the settings of ``conf/logger/NAME.yaml``.

    Raises:
        ZooError: an unknown logger, axis or setting, or a value of another type.
    """
    name = settings.get("name")
    if name not in LOGGERS:
        raise ZooError(f"logger= takes {', '.join(LOGGERS[:-1])} or {LOGGERS[-1]}; got '{name}'.")
    check_settings(_logger, settings, "logger")
    if name == "wandb":
        wandb_mode()


def _logger(
    *,
    name: str,
    project: str | int | None = None,
    entity: str | int | None = None,
    x_axis: Literal["updates", "images_seen", "device_seconds"] = "updates",
    upload_checkpoint: bool = False,
) -> None:
    """Declare by this signature the settings of a logger and their types."""


def start_loggers(
    settings: Mapping[str, Any], identity: Identity, protocol: str, directory: Path
) -> list[Logger]:
    """Return the loggers of a run. A W&B run that exists already is resumed.

    Args:
        settings: ``conf/logger/NAME.yaml``, and ``group``: the sweep, if there is one, and ``again``: whether
            the run is made anew, so that an existing W&B run of its id is replaced.
        identity: the run's identity.
        protocol: hash of the protocol that will evaluate the run.
        directory: the run's directory.

    Raises:
        ZooError: W&B refuses a name, for example of the project.
    """
    name = settings.get("name")
    if name == "none":
        return []
    if name == "csv":
        return [CSVLogger(str(directory), name="csv", version="")]
    if name == "tensorboard":
        return start_tensorboard(directory)
    if name == "trackio":
        group = settings.get("group") or os.environ.get("WANDB_RUN_GROUP")
        return start_trackio(settings, identity, str(group or identity.config_hash_without_seed[:10]))
    if wandb_mode() == "disabled":
        return []
    axis = settings.get("x_axis", AXES[0])
    run = _init(settings, identity, protocol, directory)
    if run is None:
        return []
    logger = Wandb(run, bool(settings.get("upload_checkpoint")))
    logger.call(lambda run: _define_axes(run, axis))
    return [logger]


def log_family(loggers: list[Logger], family: str) -> None:
    """Add the model's family to the tags and the configuration of the run."""
    for logger in _wandb(loggers):
        logger.call(lambda run: _set_family(run, family))


def log_curves(loggers: list[Logger], directory: Path) -> None:
    """Log the curves of a run that ended earlier."""
    for row in read_rows(directory):
        for logger in loggers:
            logger.log_metrics(row, step=int(row["updates"]))


def finish(loggers: list[Logger], record: Record, directory: Path) -> None:
    """Log the results in a run's directory, and close its W&B run (as failed, if the run failed)."""
    for logger in _wandb(loggers):
        logger.call(partial(_finish, record, directory, logger.upload_checkpoint), UPLOAD_SECONDS)
    for other in loggers:
        finish_local(other, record, directory)


def suspend(loggers: list[Logger], exit_code: int) -> None:
    """Close the W&B run of a run that can be resumed: as pre-empted if it was interrupted, else as failed."""
    for logger in _wandb(loggers):
        logger.call(lambda run: _suspend(run, exit_code), CLOSE_SECONDS)
    for other in loggers:
        close_local(other)


def _wandb(loggers: list[Logger]) -> Iterator[Wandb]:
    return (logger for logger in loggers if isinstance(logger, Wandb))


def _define_axes(run: Any, axis: str) -> None:
    for column in (*AXES, "wall_seconds"):
        run.define_metric(column, hidden=True)  # W&B draws no panel for it
    run.define_metric("*", step_metric=axis)


def _set_family(run: Any, family: str) -> None:
    run.tags = tuple(dict.fromkeys([*run.tags, *_tags(family)]))  # model and family may share a name
    run.config.update({"family": family})


def _finish(record: Record, directory: Path, upload_checkpoint: bool, run: Any) -> None:
    try:
        log_result(run, record, directory)
        log_artifacts(run, record, directory, upload_checkpoint)
    finally:
        run.finish(exit_code=0 if record.status in SOUND else 1)


def _suspend(run: Any, exit_code: int) -> None:
    if exit_code == INTERRUPTED:
        run.mark_preempting()
    run.finish(exit_code=exit_code)


def _init(settings: Mapping[str, Any], identity: Identity, protocol: str, directory: Path) -> Any:
    """Return the W&B run, offline if its server does not answer; None if W&B does not work at all.

    A setting of ``logger`` wins over the environment (``WANDB_PROJECT``, ...), which wins over what zoo
    derives from the run.

    Raises:
        ZooError: W&B refuses a name, for example the project's.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    group = from_environment("run_group") or settings.get("group") or os.environ.get("WANDB_SWEEP_ID")
    place = from_environment("dir") or str(directory)
    tags = (from_environment("tags") or "").split(",")
    quiet = {"console": "off", "disable_git": True, "disable_code": True}
    unset = {name: value for name, value in quiet.items() if from_environment(name) is None}
    arguments: dict[str, Any] = {
        "project": _text(settings.get("project")) or from_environment("project") or PROJECT,
        "entity": _text(settings.get("entity")) or from_environment("entity"),
        "name": from_environment("name") or identity.run_id,
        "id": None if by_agent() else job_id(identity.run_id),
        "notes": from_environment("notes"),
        "resume": None if settings.get("again") else "allow",
        "group": group or identity.config_hash_without_seed[:10],
        # groups the seeds
        "job_type": from_environment("job_type") or f"{identity.model}-{identity.data}"[: LONGEST_NAME // 2],
        "tags": _tags(identity.data, identity.model, f"protocol-{protocol}", *filter(None, tags)),
        "config": identity.config
        | {"run_id": identity.run_id, "protocol_hash": protocol}
        | dict(identity.hashes),
        "dir": place,
        "settings": wandb.Settings(**unset),  # type: ignore[arg-type]  # W&B names its settings at run time
    }
    Path(place).mkdir(parents=True, exist_ok=True)
    mode = wandb_mode()
    if mode == "online":
        try:
            return wandb.init(**arguments, mode="online")
        except Exception as error:
            tell(f"W&B cannot be reached ({_first_line(error)}); this run is kept offline, for `zoo sync`.")
            _teardown()  # its service still holds the id
            mode = "offline"
    try:
        return wandb.init(**arguments, mode=mode)  # type: ignore[arg-type]  # W&B checks WANDB_MODE itself
    except wandb.errors.UsageError as error:
        raise ZooError(f"W&B refuses the settings of logger: {_first_line(error).rstrip('.')}.") from error
    except Exception as error:
        tell(f"W&B does not work here ({_first_line(error)}); this run is not logged there.")
        _teardown()
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _tags(*names: str) -> list[str]:
    return list(dict.fromkeys(name[: LONGEST_NAME // 2] for name in names))


def _call_within(seconds: float, action: Callable[..., object], *arguments: Any) -> BaseException | None:
    """Call ``action`` in a thread; return its error, or a TimeoutError if it is not done in time."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            action(*arguments)
        except BaseException as error:  # wandb exits when its service exits
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True, name="wandb-request")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return TimeoutError(f"no answer in {seconds:g} s")
    return errors[0] if errors else None


def _teardown() -> None:
    """End wandb in this process: at exit it would wait for a service that may be gone."""
    import wandb

    _call_within(CLOSE_SECONDS, wandb.teardown, 1)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
