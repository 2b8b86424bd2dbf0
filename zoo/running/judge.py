"""Judge a trained model by the protocol and write its samples, likelihoods and densities."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from zoo import factory
from zoo.config import compose_run, find_own_modules
from zoo.data.module import DataModule
from zoo.data.user import listed
from zoo.errors import ZooError
from zoo.evaluation.density import density_grid
from zoo.evaluation.gallery import gallery
from zoo.evaluation.protocol import evaluate, protocol_contents, protocol_hash
from zoo.locks import lock
from zoo.processes import is_first_rank
from zoo.record import (
    CHECKPOINTS,
    DENSITY,
    GALLERY,
    LAST,
    LIKELIHOOD,
    DataDescription,
    Judgement,
    Metric,
    Provenance,
    Record,
    Sampling,
    meaning,
    read,
    remove_unfinished,
)
from zoo.running.artifacts import write_arrays, write_samples
from zoo.running.check import check_run
from zoo.running.data import prepare_data
from zoo.running.provenance import provenance_of
from zoo.running.spec import RunSpec
from zoo.training import distributed


@dataclass
class Judged:
    """The results of evaluating a run by the protocol.

    Attributes:
        metrics: the metrics, by name.
        sampling: speed and cost of sampling.
        seconds: how long the evaluation took.
        checkpoint: the evaluated checkpoint, a path relative to the run's directory.
        updates: number of updates at this checkpoint.
        weights: ``ema`` (averaged) or ``raw``.
    """

    metrics: dict[str, Metric]
    sampling: Sampling
    seconds: float
    checkpoint: str
    updates: int
    weights: Literal["ema", "raw"]

    def enter(self, record: Record) -> None:
        """Write the results into the run's record."""
        record.metrics, record.sampling = self.metrics, self.sampling
        record.cost.evaluation_seconds = self.seconds
        provenance = record.provenance
        provenance.checkpoint, provenance.checkpoint_updates = self.checkpoint, self.updates
        provenance.weights = self.weights


def judge_run(
    settings: dict[str, Any], data: DataModule, directory: Path, device: torch.device, seed: int
) -> Judged | None:
    """Evaluate the run's chosen checkpoint, and write its samples, likelihoods and densities.

    Every rank must call this. Only the first rank writes files and gets the results; the others get None.

    Args:
        settings: the settings of the protocol.
        data: the run's data module, set up.
        directory: the run's directory, with its checkpoints.
        device: device of the evaluation.
        seed: the seed of training.
    """
    distributed.wait()  # until the first rank has written the checkpoint
    path = factory.chosen_checkpoint(directory)
    checkpoint = factory.read_checkpoint(path)
    about = checkpoint["zoo"]
    model = factory.restore(checkpoint, path).to(device).eval()
    del checkpoint  # frees the memory of the mapped file
    distributed.same_weights(model)  # another machine may have read an older file from a network file system
    started = time.perf_counter()
    torch.manual_seed(0)
    result = evaluate(
        model,
        data.splits,
        data.spec,
        natural=data.natural,
        settings=settings,
        seed=seed,
        entropy=data.entropy,
        log_density=data.log_density,
        modes=data.modes,
    )
    if not is_first_rank():
        return None
    seconds = time.perf_counter() - started
    write_arrays(directory / LIKELIHOOD, result.likelihoods)
    write_arrays(directory / DENSITY, density_grid(model, data.splits, data.spec))
    write_arrays(directory / GALLERY, gallery(model, data.splits, data.spec, result.likelihoods))
    write_samples(directory, result.samples, data.splits["test"], data.spec.levels)
    return Judged(
        result.metrics,
        result.sampling,
        seconds,
        checkpoint=str(path.relative_to(directory)),
        updates=about["updates"],
        weights=about["weights"],
    )


def reevaluate(directory: Path, changes: Sequence[str] = ()) -> Record:
    """Evaluate a run's checkpoint again, by today's protocol; write the values into its record and return it.

    Args:
        directory: the run's directory.
        changes: overrides of ``evaluation.*``, which the record keeps, and where the data lie now
            (``data.path=`` or ``data.root=``); no other setting can change.

    Raises:
        ZooError: there is no run, its training did not end, another setting is to change, or the data or the
            code are no longer those of its training. The record then stays as it was.
    """
    for text in changes:
        if not text.startswith(("evaluation.", "data.path=", "data.root=")) or "=" not in text:
            raise ZooError(
                f"'{text}' cannot change after training; give evaluation.KEY=VALUE (or data.path= where the "
                "data have moved), or train anew."
            )
    record = read(directory)
    origin = record.provenance
    if origin.overrides is None:
        raise ZooError(f"The record in {directory} does not say how it was made; train the run again.")
    overrides = [*origin.overrides, *changes]
    find_own_modules()
    with lock(directory):
        remove_unfinished(directory)
        config = compose_run(overrides)
        spec = RunSpec.of(config)
        if not _trained(record, directory, spec):
            raise ZooError(
                f"The run in {directory} has {record.status} before its training ended ({record.reason}), so "
                "there is nothing to judge."
            )
        check_run(spec)
        _check_code(origin, spec, directory)
        data = prepare_data(spec.data)
        _check_data(origin, spec, data.describe(), directory)
        gpu = spec.trainer["accelerator"] != "cpu" and torch.cuda.is_available()
        device = torch.device("cuda" if gpu else "cpu")
        judged = judge_run(spec.evaluation, data, directory, device, spec.identity.seed)
        if judged is not None:
            judged.enter(record)
        now = provenance_of(spec)
        if changes:
            origin.command, origin.overrides, origin.config = now.command, overrides, now.config
            origin.config_hash, origin.config_hash_without_seed = (
                now.config_hash,
                now.config_hash_without_seed,
            )
        origin.protocol_hash = protocol_hash(spec.evaluation)
        origin.protocol = protocol_contents(spec.evaluation)
        origin.judged_again = Judgement(now.git_commit, now.versions, now.hardware)
        record.status, record.reason = "finished", None
        record.write(directory)
    return record


def _check_code(kept: Provenance, spec: RunSpec, directory: Path) -> None:
    """Raise a ZooError if a user's own code has changed since the run was trained."""
    before, now = (config.get("code", {}) for config in (kept.config, spec.identity.config))
    if "code" in kept.config and before != now:
        changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        raise ZooError(
            f"The code of {listed(changed)} has changed since the run in {directory} was trained; evaluate "
            "it with the old code, or train again."
        )


def _check_data(kept: Provenance, spec: RunSpec, now: DataDescription, directory: Path) -> None:
    """Raise a ZooError if the data are not those that the run was trained on.

    A property that an older record does not hold, such as a fingerprint of each split, is not compared.
    Without hashes of the labels, the data file itself must be unchanged.
    """
    before = kept.data
    if before is None:
        return
    pairs = [
        (before.fingerprint, now.fingerprint),
        (before.sizes, now.sizes),
        (before.shape, now.shape),
        (before.fingerprints, now.fingerprints),
    ]
    other = []
    if any(then and then != present for then, present in pairs) or before.levels != now.levels:
        other.append("values, sizes or splits")
    meaning_before, means = meaning(before), meaning(now)
    other += [
        f"{part} of columns" if part == "units" else part
        for part in meaning_before
        if meaning_before[part] != means.get(part)
    ]
    contents = [(config.get("data") or {}).get("content") for config in (kept.config, spec.identity.config)]
    if now.labels and not before.labels and isinstance(contents[0], str) and contents[0] != contents[1]:
        other.append("labels, perhaps, of which the record has no hash")
    if other:
        raise ZooError(
            f"The data of {spec.identity.data} are not those that the run in {directory} was trained on "
            f"(other {listed(other)}), so it is not evaluated and its record stays; give those data, "
            "by data.path= if they have moved, or train anew."
        )


def _trained(record: Record, directory: Path, spec: RunSpec) -> bool:
    """Return whether the run's training has ended, even if its evaluation has failed since."""
    last = directory / CHECKPOINTS / LAST
    if record.status == "finished":
        return True
    if record.status != "failed" or not last.exists():
        return False
    progress = factory.read_checkpoint(last)["zoo"]
    return bool(progress["stopped"]) or progress["updates"] >= spec.training["updates"]
