"""Judge a trained model by the protocol and write its samples, likelihoods and densities."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from zoo import factory
from zoo.config import compose_run, own_modules
from zoo.data.module import DataModule
from zoo.errors import ZooError
from zoo.evaluation.density import density_grid
from zoo.evaluation.protocol import evaluate, protocol_contents, protocol_hash
from zoo.processes import is_first_rank, lock
from zoo.record import DENSITY, LIKELIHOOD, Judgement, Record, read
from zoo.running.artifacts import write_arrays, write_samples
from zoo.running.data import prepare_data
from zoo.running.provenance import command, git_commit, hardware, versions
from zoo.running.spec import RunSpec
from zoo.training import distributed


def judge(
    settings: dict[str, Any], data: DataModule, directory: Path, record: Record, device: torch.device
) -> None:
    """Evaluate the run's chosen checkpoint; write samples, likelihoods and densities; fill the record.

    All ranks of a group take part. Only the first writes files and fills its record.

    Args:
        settings: the settings of the protocol.
        data: the run's data, set up.
        directory: the run's directory, with its checkpoints.
        record: the run's record; its ``metrics``, ``sampling`` and checkpoint fields are replaced.
        device: the device for the evaluation.
    """
    distributed.wait()  # until the first rank has written the checkpoint
    model = factory.load(directory, device=device)
    distributed.same_weights(model)  # a network's file system may show an older checkpoint elsewhere
    started = time.perf_counter()
    torch.manual_seed(0)
    result = evaluate(
        model,
        data.splits,
        data.spec,
        natural=data.natural,
        settings=settings,
        entropy=data.entropy,
        modes=data.modes,
    )
    if not is_first_rank():
        return
    record.metrics, record.sampling = result.metrics, result.sampling
    record.cost.evaluation_seconds = time.perf_counter() - started
    best = directory / "checkpoints" / "best.ckpt"
    chosen = best if best.exists() else directory / "checkpoints" / "last.ckpt"
    about = factory.read_checkpoint(chosen)["zoo"]
    provenance = record.provenance
    provenance.protocol_hash, provenance.protocol = protocol_hash(settings), protocol_contents(settings)
    provenance.checkpoint = str(chosen.relative_to(directory))
    provenance.checkpoint_updates, provenance.weights = about["updates"], about["weights"]
    write_arrays(directory / LIKELIHOOD, result.likelihoods)
    write_arrays(directory / DENSITY, density_grid(model, data.splits, data.spec))
    write_samples(directory, result.samples, data.splits["test"], data.spec.levels)


def reevaluate(directory: Path, changes: Sequence[str] = ()) -> Record:
    """Judge a finished run again by the present protocol, from its checkpoint; rewrite and return its record.

    Args:
        directory: the run.
        changes: overrides of ``evaluation.*``, which the record keeps; all other settings stay the same.

    Raises:
        ZooError: there is no run, its training did not end, or a change is not one of the evaluation.
    """
    for text in changes:
        if not text.startswith("evaluation.") or "=" not in text:
            raise ZooError(
                f"'{text}' cannot change after training; give evaluation.KEY=VALUE, or train anew."
            )
    record = read(directory)
    provenance = record.provenance
    if provenance.overrides is None:
        raise ZooError(f"The record in {directory} does not say how it was made; train the run again.")
    overrides = [*provenance.overrides, *changes]
    with own_modules(), lock(directory):
        config = compose_run(overrides)
        spec = RunSpec.of(config)
        if not _trained(record, directory, spec):
            raise ZooError(
                f"The run in {directory} has {record.status} before its training ended ({record.reason}), so "
                "there is nothing to judge."
            )
        gpu = spec.trainer["accelerator"] != "cpu" and torch.cuda.is_available()
        judge(
            spec.evaluation,
            prepare_data(spec.data),
            directory,
            record,
            torch.device("cuda" if gpu else "cpu"),
        )
        provenance.judged_again = Judgement(git_commit(), versions(), hardware())
        if changes:
            provenance.overrides, provenance.command = overrides, command(overrides)
            provenance.config = spec.identity.config
            provenance.config_hash = spec.identity.config_hash
            provenance.config_hash_without_seed = spec.identity.config_hash_without_seed
        record.status, record.reason = "finished", None
        record.write(directory)
    return record


def _trained(record: Record, directory: Path, spec: RunSpec) -> bool:
    """Return whether training reached its budget. A run that failed in its evaluation was trained, too."""
    last = directory / "checkpoints" / "last.ckpt"
    return record.status == "finished" or (
        record.status == "failed"
        and last.exists()
        and factory.read_checkpoint(last)["zoo"]["updates"] >= spec.training["updates"]
    )
