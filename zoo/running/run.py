"""One run, from a composed configuration to its record."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from omegaconf import DictConfig

from zoo import factory
from zoo.config import differing, find_own_modules
from zoo.data.module import DataModule
from zoo.data.user import UserData, listed
from zoo.errors import CutOff, ZooError, tell
from zoo.evaluation.protocol import (
    announcement,
    extractor_for,
    in_effect,
    protocol_contents,
    protocol_hash,
    shortage,
    stand_in,
)
from zoo.evaluation.settings import Settings
from zoo.locks import lock
from zoo.models.core.capabilities import declared
from zoo.processes import is_first_rank
from zoo.ranks import world_size
from zoo.record import (
    CHECKPOINTS,
    CONFIG,
    LAST,
    RECORD,
    Attempts,
    Record,
    clear,
    read,
    remove_unfinished,
    write_atomic,
)
from zoo.running.check import check_model_given, check_run, check_section
from zoo.running.data import prepare_data
from zoo.running.fit import Fit, Show, objective_of, on_gpu, processes_here
from zoo.running.judge import judge_run
from zoo.running.outcome import Pruned, recorded
from zoo.running.provenance import provenance_of
from zoo.running.spec import RunSpec
from zoo.tracking import logger as tracking
from zoo.tracking.login import by_agent
from zoo.training.distributed import record_collectives, share_cores


def run(config: DictConfig, directory: Path, show: Show | None = None, again: bool = False) -> Record:
    """Train, evaluate and record; skip a run that has ended, resume one that was cut off.

    Args:
        config: a composed configuration with its ``hydra`` node.
        directory: the run's directory; if another process works in it, wait for its end.
        show: function that is called with the progress of the run.
        again: whether to make the run anew, without its earlier record and checkpoints.

    Raises:
        ZooError: a mistake that the user can correct. If it shows before the first update of this attempt,
            the run is refused: no record is written, a directory that was made for the run is removed, and a
            checkpoint stays. If it shows later, the run is first recorded as ``failed`` (or ``diverged``).
    """
    spec = RunSpec.of(config)
    created = _missing(directory)
    directory.mkdir(parents=True, exist_ok=True)
    before = _modified(directory)
    try:
        with lock(directory):
            if is_first_rank():
                remove_unfinished(directory)
            _refuse_another(spec, directory)
            # A failed run is repeated, unless another process has done so while this one waited for the lock.
            retry_failed = _modified(directory) == before
            done = None if again else ended(directory, retry_failed, resume_pruned=spec.trial is None)
            if done is None:
                return _train_and_judge(spec, directory, show, again)
    except ZooError as error:
        if is_first_rank() and not isinstance(error, CutOff) and not (directory / RECORD).exists():
            _remove(directory, created)
        raise
    if done.status == "failed":
        raise ZooError(done.reason or "Another process tried this run just now, and it failed.")
    check_section("trainer", spec.trainer)  # the trainer may differ from that of the done run
    if is_first_rank():
        _say_done(done)
        if by_agent():  # W&B's agents expect the finished run to be logged again
            _log_again(spec, done, directory)
    return done


def _train_and_judge(spec: RunSpec, directory: Path, show: Show | None, again: bool) -> Record:
    """Prepare the data and the model, train, evaluate, and return the record, which is written."""
    _silence_lightning()
    share_cores(processes_here(spec.trainer))
    if processes_here(spec.trainer) * int(spec.trainer.get("num_nodes") or 1) > 1 and on_gpu(spec.trainer):
        record_collectives(directory)
    identity = spec.identity
    record = Record(identity.run_id, identity.model, "unknown", identity.data, identity.seed, status="failed")
    record.provenance = provenance_of(spec)
    loggers: list[Any] = []
    attempts = None
    if is_first_rank():
        attempts = Attempts(directory)
        attempts.begin(anew=again)
    with recorded(record, directory, loggers, attempts) as ending:
        find_own_modules()
        check_run(spec)
        record.provenance.protocol_hash = protocol_hash(spec.evaluation)
        record.provenance.protocol = protocol_contents(spec.evaluation)
        data = prepare_data(spec.data)
        _announce(Settings.of(spec.evaluation), data)  # fails before training
        if is_first_rank():  # which writes the record; describing the data reads all of them
            record.provenance.data = data.describe()
        check_model_given(spec, data.spec)

        pl.seed_everything(identity.seed, verbose=False)
        model = factory.instantiate(spec.model, data.spec)
        record.family = declared(model).family

        fit = Fit(spec, model, data, directory=directory, show=show, resume=not again)
        record.provenance.objective = objective_of(fit.module)
        if attempts is not None:  # on the first rank, now that every check has passed
            if again:
                clear(directory)
                attempts.write()
            (directory / RECORD).unlink(missing_ok=True)
            write_atomic(directory / CONFIG, yaml.safe_dump(identity.config, sort_keys=False))
            loggers += _start_loggers(spec, directory, again)
            tracking.log_family(loggers, record.family)
        try:
            device = fit.run(loggers, ending.after_a_lost_rank)
        finally:
            record.cost, record.stability = fit.cost(), fit.stability()
            record.provenance.segments = fit.segments()
            ending.trained = fit.trained
        if fit.pruned is not None:
            raise Pruned(fit.pruned)

        if is_first_rank() or world_size() > 1:  # other ranks take part only in a process group
            judged = judge_run(spec.evaluation, data, directory, device, identity.seed)
            if judged is not None:
                judged.enter(record)
    return record


def _missing(directory: Path) -> Path | None:
    """Return the topmost of a directory and its parents that does not exist; None if all exist."""
    above = [directory, *directory.parents]
    return next((place for place in reversed(above) if not place.exists()), None)


def _remove(directory: Path, created: Path | None) -> None:
    """Remove the directory of a refused run, and its parents from ``created`` on while they are empty."""
    if created is None:
        return
    shutil.rmtree(directory, ignore_errors=True)
    for place in directory.parents:
        if not place.is_relative_to(created) or any(place.iterdir()):
            return  # another run has been made in it
        place.rmdir()


def _say_done(record: Record) -> None:
    """Print to standard error that a run is skipped, when it ended, and how to make it anew."""
    at = record.provenance.finished_at
    when = f" on {at[:16].replace('T', ' at ')} (UTC)" if at else ""
    how = "was pruned" if record.status == "pruned" else record.status
    tell(f"This run is already done, nothing was trained: it {how}{when}; --again makes it anew.")


def _announce(settings: Settings, data: DataModule) -> None:
    """Choose the feature extractor, and print which one it is and where its values are limited."""
    extractor, _ = extractor_for(settings, data.spec, data.natural, data.splits)
    sizes = {split: len(x) for split, x in data.splits.items()}
    sentences = (
        announcement(
            settings, extractor, data.natural, sizes if stand_in(settings, data.spec, sizes) else None
        ),
        shortage(in_effect(settings, data.spec, sizes), extractor, sizes, isinstance(data, UserData)),
    )
    if is_first_rank():
        for sentence in filter(None, sentences):
            tell(sentence)


def ended(directory: Path, retry_failed: bool = True, resume_pruned: bool = False) -> Record | None:
    """Return the record of a run that has ended; None if the run must be made or resumed.

    A diverged run has ended: it would diverge again.

    Args:
        directory: the run's directory.
        retry_failed: whether a failed run must be made again.
        resume_pruned: whether a pruned run must be resumed, as outside of the search that pruned it.
    """
    if not (directory / RECORD).exists():
        return None
    try:
        record = read(directory)
    except ZooError:
        return None  # damaged: the run is made again
    repeat = record.status == "failed" and retry_failed
    resume = record.status == "pruned" and resume_pruned
    return None if repeat or resume else record


def _modified(directory: Path) -> int | None:
    """Return when the record was written, in nanoseconds; None without one."""
    try:
        return (directory / RECORD).stat().st_mtime_ns
    except OSError:
        return None


def _refuse_another(spec: RunSpec, directory: Path) -> None:
    """Raise a ZooError if the directory holds a run with other settings, which must not be overwritten."""
    record = ended(directory)
    if record is None and not (directory / CHECKPOINTS / LAST).exists():
        return
    try:  # config.yaml, since a record that was evaluated again has other settings of the evaluation
        earlier = yaml.safe_load((directory / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):  # then only the record's hash shows whether the settings differ
        earlier = None
    if isinstance(earlier, dict):
        differences = differing(earlier, yaml.safe_load(yaml.safe_dump(spec.identity.config)))
    elif record is not None and record.provenance.config_hash != spec.identity.config_hash:
        differences = ["another hash"]
    else:
        differences = []
    if differences:
        raise ZooError(
            f"{directory} holds a run with other settings ({listed(differences, 3)}); leave out "
            "hydra.run.dir, so that every run gets its own directory, or give another one."
        )


def _start_loggers(spec: RunSpec, directory: Path, again: bool = False) -> list[Any]:
    settings = spec.logger | {"group": spec.sweep, "again": again}
    return tracking.start_loggers(settings, spec.identity, protocol_hash(spec.evaluation), directory)


def _log_again(spec: RunSpec, record: Record, directory: Path) -> None:
    loggers = _start_loggers(spec, directory)
    tracking.log_family(loggers, record.family)
    tracking.log_curves(loggers, directory)
    tracking.finish(loggers, record, directory)


def _silence_lightning() -> None:
    """Silence Lightning's warnings and log, which are for those who write code with it."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*lightning.*")
