"""Live curves without an account: TensorBoard's files, and Trackio's database, under the names of W&B.

Both get the rows of ``curves.csv`` while a run trains, its metrics and costs at its end, and its samples.
Trouble with them fails no run: the record and the curves on disk stay the source of truth.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from zoo.config import Identity
from zoo.errors import ZooError, tell
from zoo.record import PICTURE, SOUND, Record
from zoo.tracking.names import job_id


def start_tensorboard(directory: Path) -> list[Logger]:
    """Return Lightning's logger of TensorBoard files, in the folder ``tensorboard`` of the run's directory.

    Raises:
        ZooError: TensorBoard is not installed.
    """
    try:
        return [TensorBoardLogger(str(directory), name="tensorboard", version="")]
    except ImportError:
        raise ZooError(
            "logger=tensorboard needs TensorBoard: pip install '.[tensorboard]' in the clone of zoo."
        ) from None


def start_trackio(settings: Mapping[str, Any], identity: Identity, group: str) -> list[Logger]:
    """Return the logger of a Trackio run; a run of the same id is resumed.

    Args:
        settings: ``conf/logger/trackio.yaml``.
        identity: the run's identity.
        group: of runs, such as the sweep; runs that differ in their seed share it otherwise.

    Raises:
        ZooError: Trackio is not installed.
    """
    try:
        import trackio
    except ImportError:
        raise ZooError(
            "logger=trackio needs Trackio: pip install '.[trackio]' in the clone of zoo."
        ) from None
    config = identity.config | {"run_id": identity.run_id} | dict(identity.hashes)
    with _never_fatal("Trackio does not work here"):
        run = trackio.init(
            project=str(settings.get("project") or "zoo"),
            name=job_id(identity.run_id),
            group=group,
            config=_flat(config),
            resume="allow",
            embed=False,
        )
        return [Trackio(run)]
    return []


class Trackio(Logger):
    """A Trackio run as a Lightning logger; after its first failure it is no longer used."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self._run: Any = run

    @property
    def name(self) -> str:
        return "trackio"

    @property
    def version(self) -> str:
        return str(getattr(self._run, "name", ""))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run has had its configuration from the start."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        if self._run is None:
            return
        done = False
        with _never_fatal("Trackio did not take a row, and gets no more"):
            self._run.log(dict(metrics), step=step)
            done = True
        if not done:
            self._run = None

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            with _never_fatal("Trackio did not close its run"):
                self._run.finish()
            self._run = None


def finish_local(logger: Logger, record: Record, directory: Path) -> None:
    """Log a run's metrics, costs and samples, and close the logger; other loggers are left alone."""
    step = record.cost.updates or 0
    if isinstance(logger, TensorBoardLogger):
        with _never_fatal("TensorBoard did not take the results"):
            logger.log_metrics(final_values(record), step=step)
            if (directory / PICTURE).exists():
                logger.experiment.add_image("samples", _picture(directory / PICTURE), step, dataformats="HWC")
            logger.experiment.add_text("command", record.provenance.command or "", step)
            logger.finalize("success" if record.status in SOUND else "failed")
    elif isinstance(logger, Trackio):
        logger.log_metrics(final_values(record), step=step)
        logger.close()


def close_local(logger: Logger) -> None:
    """Close the logger of a run that can be resumed; other loggers are left alone."""
    if isinstance(logger, TensorBoardLogger):
        with _never_fatal("TensorBoard did not close its file"):
            logger.finalize("aborted")
    elif isinstance(logger, Trackio):
        logger.close()


def final_values(record: Record) -> dict[str, float]:
    """Return the metrics, costs and speeds of a record, by the names that they have in W&B's summary."""
    values = {name: metric.value for name, metric in record.metrics.items() if metric.value is not None}
    for section in ("cost", "sampling", "stability"):
        for key, value in dataclasses.asdict(getattr(record, section)).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values[f"{section}/{key}"] = float(value)
    return values


def _picture(file: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, branch in tree.items():
        flat |= (
            _flat(branch, f"{prefix}{key}.") if isinstance(branch, Mapping) else {f"{prefix}{key}": branch}
        )
    return flat


@contextlib.contextmanager
def _never_fatal(what: str) -> Iterator[None]:
    """Print one sentence in place of an exception."""
    try:
        yield
    except Exception as error:  # of a library, a database or a full disk
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        tell(f"{what} ({line}).")
