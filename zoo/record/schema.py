"""The record of one run, with a type for every value. Imports no torch.

Every part is a dataclass, and :func:`zoo.record.read` checks a file against these annotations. A number is
None where it was not measured. Seconds are wall-clock seconds, likelihoods are in nats, unless a unit says
otherwise.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len

from zoo.kinds import SamplingOrder
from zoo.record.files import RECORD, write_atomic
from zoo.record.metrics import Metric
from zoo.record.provenance import Provenance
from zoo.record.values import Bounded, Count, Number, Part, Whole

SCHEMA = 2
Status = Literal["finished", "pruned", "diverged", "failed"]
STATUSES: tuple[Status, ...] = ("finished", "pruned", "diverged", "failed")
SOUND: tuple[Status, ...] = ("finished", "pruned")  # statuses of runs that ended without an error


@dataclass(slots=True)
class Load(Part):
    """How busy the machine was while something was timed.

    Attributes:
        before: load average of the last minute when timing began (processes that wanted a core).
        after: the same when timing ended.
        cores: logical cores of the machine.
    """

    before: Number | None
    after: Number | None
    cores: Count


@dataclass(slots=True)
class Sampling(Part):
    """Speed and cost of sampling.

    Attributes:
        order: how a sample comes about: all dimensions in ``parallel``, one after the other (``sequential``),
            or by an iterative ``solver``; None for a run that ended before its samples were timed.
        latency_seconds: median time of one call that draws a single sample.
        latency_quartiles: first and third quartile of these times.
        latency_repeats: number of calls.
        throughput: samples per second at ``throughput_batch``, the best of the batch sizes tried.
        throughput_batch: the batch size of ``throughput``.
        throughput_by_batch: samples per second by batch size (as text, since it is a key in JSON).
        sequential_evaluations: network evaluations of one sample that must follow each other.
        sequential_evaluations_by_batch: the same by batch size.
        device: the device of the model.
        threads: processor threads for arithmetic.
        dtype: number format of the weights.
        compiled: whether torch compiled the model.
        peak_memory_bytes: of the accelerator, while speed was measured.
        peak_memory_reason: why ``peak_memory_bytes`` is None.
        flops_per_example: floating-point operations of one sample, by torch's counter.
        flops_reason: why ``flops_per_example`` is None, or what the counter misses.
        load: how busy the machine was.
        details: settings of the model's sampler: ``sampler``, ``solver``, ``atol``, ``truncation``, ...
        session: the session of ``zoo time`` that measured the times, which are compared only within one
            session; None if the run measured them itself.
        reason: why speed could not be measured.
    """

    order: SamplingOrder | None = None
    latency_seconds: Number | None = None
    latency_quartiles: Annotated[list[Number], Len(2, 2)] | None = None
    latency_repeats: Count | None = None
    throughput: Number | None = None
    throughput_batch: Count | None = None
    throughput_by_batch: dict[str, Number | None] = field(default_factory=dict)
    sequential_evaluations: Count | None = None
    sequential_evaluations_by_batch: dict[str, Count | None] = field(default_factory=dict)
    device: str | None = None
    threads: Count | None = None
    dtype: str | None = None
    compiled: bool | None = None
    peak_memory_bytes: Count | None = None
    peak_memory_reason: str | None = None
    flops_per_example: Number | None = None
    flops_reason: str | None = None
    load: Load | None = None
    details: Bounded = field(default_factory=dict)
    session: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class Stability(Part):
    """How steadily a model trained; :mod:`zoo.training.stability` has the definitions.

    Attributes:
        largest_gradient_norm: the largest gradient norm before clipping.
        loss_spikes: sudden rises of a loss, of all players together.
        gradient_spikes: sudden rises of a gradient norm, of all players together.
        non_finite_steps: updates that were skipped because a gradient was not finite.
        updates_watched: number of updates that were counted.
        oscillation: how much the curve ``oscillation_of`` swings over the last third of training, in units of
            its whole range.
        oscillation_of: the validation criterion, where the training has one.
        oscillations: the same for every validation curve, by its name.
        resumed_at: the update at which the run was last resumed.
    """

    largest_gradient_norm: Number | None = None
    loss_spikes: Count | None = None
    gradient_spikes: Count | None = None
    non_finite_steps: Count | None = None
    updates_watched: Count | None = None
    oscillation: Number | None = None
    oscillation_of: str | None = None
    oscillations: dict[str, Number | None] = field(default_factory=dict)
    resumed_at: Count | None = None


@dataclass(slots=True)
class Cost(Part):
    """The cost of training and evaluation.

    Attributes:
        parameters: number of trainable parameters.
        updates: optimiser steps of the model.
        images_seen: examples that training used, repetitions counted.
        train_seconds: time in training, validations included, over all segments of a resumed run.
        device_seconds: ``train_seconds`` of each segment times its number of devices, summed.
        examples_per_second: speed of training.
        peak_memory_bytes: of the accelerator where there is one, else of the process.
        batch_size: examples of a batch, over all devices.
        compiled: whether torch compiled the loss.
        fast_paths: what made training faster and depends on the machine or the settings: ``fused optimiser``,
            the memory formats of the first update's layers, ``channels last`` and ``features first``, and, as
            the second update shows, ``couplings as one operation`` and ``masked layers as one operation``;
            None in records made before it was kept, or if no update was made. Whatever else is fast, is so in
            every run of the commit.
        flops_per_example: floating-point operations of an update for each example, by torch's counter.
        flops_reason: why ``flops_per_example`` is None, or what the counter misses.
        evaluation_seconds: time of the evaluation by the protocol.
        total_seconds: time of the run; of its last process alone if the run was resumed.
    """

    parameters: Count | None = None
    updates: Count | None = None
    images_seen: Count | None = None
    train_seconds: Number | None = None
    device_seconds: Number | None = None
    examples_per_second: Number | None = None
    peak_memory_bytes: Count | None = None
    batch_size: Count | None = None
    compiled: bool | None = None
    fast_paths: list[str] | None = None
    flops_per_example: Number | None = None
    flops_reason: str | None = None
    evaluation_seconds: Number | None = None
    total_seconds: Number | None = None


@dataclass(slots=True)
class Record(Part):
    """One run.

    Attributes:
        run_id: readable and unique; the name of the run's directory.
        model: name of the model.
        family: ``flow``, ``continuous flow``, ``autoregressive``, ``vae``, ``gan``, ``diffusion``; a user's
            own word for a model of their own; ``unknown`` where the run failed before the model was built.
        data: name of the data set.
        seed: the seed of training.
        status: ``finished``, ``diverged``, ``failed``, or ``pruned`` (stopped early by its hyper-parameter
            search). Only a finished run is evaluated.
        reason: why the run did not finish.
        metrics: by name: ``nll``, ``bits_per_dim``, ``fid``, ``fd/<extractor>``, ...
    """

    run_id: str
    model: str
    family: str
    data: str
    seed: Whole
    status: Status
    reason: str | None = None
    metrics: dict[str, Metric] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    stability: Stability = field(default_factory=Stability)
    cost: Cost = field(default_factory=Cost)
    provenance: Provenance = field(default_factory=Provenance)
    schema: Whole = SCHEMA

    def to_json(self) -> str:
        """Return the record as strict JSON. A number that is not finite becomes null: JSON has none."""
        return json.dumps(_finite(dataclasses.asdict(self)), indent=1, allow_nan=False) + "\n"

    def write(self, directory: str | Path) -> Path:
        """Write ``record.json`` into ``directory``, whole or not at all; return its path."""
        return write_atomic(Path(directory) / RECORD, self.to_json())


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
