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
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from zoo.kinds import Kind, SamplingOrder
from zoo.record.files import RECORD, write_atomic

SCHEMA = 2
Status = Literal["finished", "diverged", "failed"]
STATUSES: tuple[Status, ...] = ("finished", "diverged", "failed")
Direction = Literal["lower", "higher", "one", "none"]

Whole = Annotated[int, Ge(-(2**63)), Le(2**63 - 1)]  # the range of other readers of JSON
Count = Annotated[int, Ge(0), Le(2**63 - 1)]
LARGEST = 1e100  # no measured number is larger; squares and sums of such numbers are finite
Number = Annotated[float, Ge(-LARGEST), Le(LARGEST)]


class Part:
    """A part of a record. A file with a field that the part does not have is refused."""

    __pydantic_config__ = ConfigDict(extra="forbid")


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
class Calibration(TypedDict):
    """The sharpness of real images under blur, relative to none.

    Attributes:
        sigma: standard deviations of the Gaussian blur, in pixels.
        value: the sharpness at each of them.
    """

    sigma: list[float]
    value: list[float | None]


@with_config(ConfigDict(extra="allow", allow_inf_nan=False))
class KnownDetails(TypedDict, total=False):
    """Keys that mean the same in the ``details`` of every metric. A metric may add keys of its own.

    Attributes:
        remark: a sentence that must be read with the value; tables and ``zoo show`` print it.
        dequantisation: ``uniform`` or ``variational``: the noise that was added to integer data.
        extractor: name of the feature extractor.
        weights_sha256: hash of its weights; only values of one extractor and one hash are compared.
        reference_n: number of real examples that the samples were compared with.
        floor: the metric's value for real examples in the samples' place; None where ``floor_reason`` says
            why there is none.
        floor_n: number of those examples.
        floor_split: their split.
        estimator_deviation_nats: standard deviation of one evaluation of a stochastic log-determinant.
        looser: the less exact setting that an estimate was repeated with.
        looser_change_nats: change of the mean log-likelihood at that setting.
        bias_bound_nats: bound on the bias of a truncated series.
        blur_sigma: Gaussian blur, in pixels, under which real images are as sharp as the samples.
        calibration: sharpness of real images by blur, from which ``blur_sigma`` is read.
    """

    remark: str
    dequantisation: str
    extractor: str
    weights_sha256: str
    reference_n: Count
    floor: float | None
    floor_n: Count
    floor_split: str
    floor_reason: str
    estimator_deviation_nats: float
    looser: str
    looser_change_nats: float
    bias_bound_nats: float
    blur_sigma: float | None
    calibration: Calibration


def _hold_bounds(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details as they are, once their numbers, at any depth, have been compared with the bound."""
    if (too_large := _too_large(details)) is not None:
        raise ValueError(f"{too_large:.3g} is a number that no run measures")
    return details


def _too_large(tree: Any) -> float | None:
    """Return a number beyond :data:`LARGEST`, or one that is not finite; None if there is none."""
    for value in tree.values() if type(tree) is dict else tree:
        if type(value) is float:
            if not -LARGEST <= value <= LARGEST:
                return value
        elif type(value) in (dict, list) and (inner := _too_large(value)) is not None:
            return inner
    return None


def _hold_known(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details as they are, in their order, once the keys that metrics share have been checked."""
    _known_details().validate_python(details, strict=True)
    return details


@cache
def _known_details() -> TypeAdapter[KnownDetails]:
    return TypeAdapter(KnownDetails)


Bounded = Annotated[dict[str, Any], AfterValidator(_hold_bounds)]
Details = Annotated[Bounded, AfterValidator(_hold_known)]


@dataclass
class Metric(Part):
    """One measured value with everything needed to read it.

    Attributes:
        value: the number; None where it could not be computed, for the ``reason`` given.
        unit: ``nats``, ``bits/dim``, ``1`` for a plain number, ...
        kind: ``exact``, ``lower bound`` (of the log-likelihood), ``estimate`` or ``none``.
        direction: which value is better: ``lower``, ``higher`` or ``one`` (the nearer to 1); ``none`` for a
            diagnostic, which is never ranked and is not a column of a comparison.
        standard_error: over the ``n`` examples.
        n: number of examples.
        split: the split that the value is about, or the reference split of a metric of samples.
        details: what controls the value; :class:`KnownDetails` names the keys that metrics share.
        reason: why ``value`` is None.
    """

    value: Number | None
    unit: str
    kind: Kind = "estimate"
    direction: Direction = "lower"
    standard_error: Number | None = None
    n: Count = 0
    split: str = "test"
    details: Details = field(default_factory=dict)
    reason: str | None = None


@dataclass
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


@dataclass
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
        throughput_by_batch: samples per second by batch size (a number as text, as JSON has it).
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
        session: of ``zoo time``, where the times are its; only times of one session are compared then.
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


@dataclass
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


@dataclass
class Cost(Part):
    """The cost of training and evaluation.

    Attributes:
        parameters: number of trainable parameters.
        updates: optimiser steps of the model.
        images_seen: examples that training used, repetitions counted.
        train_seconds: time in training, validations included, over all segments of a resumed run.
        device_seconds: the same times the devices of each segment.
        examples_per_second: speed of training.
        peak_memory_bytes: of the accelerator where there is one, else of the process.
        batch_size: examples of a batch, over all devices.
        compiled: whether torch compiled the loss.
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
    flops_per_example: Number | None = None
    flops_reason: str | None = None
    evaluation_seconds: Number | None = None
    total_seconds: Number | None = None


@dataclass
class Hardware(Part):
    """The machine.

    Attributes:
        cpu: model name of the processor.
        cores: logical cores.
        threads: threads of the process for arithmetic.
        jobs: number of a sweep's jobs that ran on the machine at a time; None if unknown.
        accelerator: name of the GPU.
        accelerators: number of GPUs that the process may use; None without one and in records made before it
            was kept, as are the next two.
        accelerator_bytes: memory of a GPU, or of the slice of one.
        driver: version of the GPU's driver.
    """

    cpu: str | None = None
    cores: Count | None = None
    threads: Count | None = None
    jobs: Count | None = None
    accelerator: str | None = None
    accelerators: Count | None = None
    accelerator_bytes: Count | None = None
    driver: str | None = None


@dataclass
class Segment(Part):
    """A stretch of training by one set of processes. A run that was never resumed has one.

    Attributes:
        host: name of the first rank's machine.
        job: the cluster's job, such as ``Slurm 812_3``, with the number of its restarts; None outside one.
        hardware: that machine.
        processes: number of processes, each with a device.
        git_commit: of zoo's code.
        from_updates: number of updates when it began.
        to_updates: number of updates when it ended; for one that was cut off, at its last checkpoint.
        seconds: time in training, validations included.
    """

    host: str | None = None
    job: str | None = None
    hardware: Hardware = field(default_factory=Hardware)
    processes: Count | None = None
    git_commit: str | None = None
    from_updates: Count = 0
    to_updates: Count = 0
    seconds: Number = 0.0


@dataclass
class DataDescription(Part):
    """The data set of the run.

    Attributes:
        name: of the data set.
        sizes: examples by split.
        split_rule: how the splits were made.
        fingerprint: hash of the training split.
        fingerprints: hash of each split; empty in records made before it was kept.
        labels: hash of the labels of each split; empty without labels and in records made before it was kept.
        shape: of an example.
        levels: number of values of an integer pixel; None for continuous data.
        classes: number of labels; None without labels.
        entropy: of the density, in nats, where it is known.
        details: more on a user's own data: ``path``, ``columns`` with their ``mean`` and ``std``,
            ``log_scale``, ``dequantised`` and ``left_out`` columns, ``classes``.
    """

    name: str | None = None
    sizes: dict[str, Count] = field(default_factory=dict)
    split_rule: str | None = None
    fingerprint: str | None = None
    fingerprints: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    shape: list[Count] | None = None
    levels: Count | None = None
    classes: Count | None = None
    entropy: Number | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Protocol(Part):
    """The protocol that judged the run, in full; ``provenance.protocol_hash`` is its hash.

    Attributes:
        version: of the code that computes the metrics.
        settings: the ``evaluation`` settings, without paths of the machine.
    """

    version: Count
    settings: dict[str, Any]


@dataclass
class Judgement(Part):
    """Code and machine of an evaluation that was repeated after the run had ended.

    Attributes:
        git_commit: of zoo's code.
        versions: of the libraries.
        hardware: the machine.
    """

    git_commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    hardware: Hardware = field(default_factory=Hardware)


@dataclass
class Provenance(Part):
    """Where the numbers come from.

    Attributes:
        command: paste it into a shell, and the same run is made; one of an own ``conf/`` or an own model in
            the directory that holds them. That of a record of schema 1 has today's names of the settings and
            today's defaults; None where there is no such command.
        overrides: the Hydra overrides of that command.
        config: the composed configuration, without settings that do not change the numbers.
        config_hash: of the configuration; two runs with the same hash are the same run.
        config_hash_without_seed: runs that share it differ in their seed alone.
        protocol_hash: hash of the protocol that judged the run.
        protocol: the protocol itself.
        git_commit: of zoo's code.
        versions: of the libraries; on a GPU also of CUDA, cuDNN and NCCL.
        hardware: the machine; of the last segment, if the run was resumed.
        host: name of that machine; None in records made before it was kept.
        job: as in :class:`Segment`.
        segments: the stretches of training, one for each time that it was begun or resumed; empty in records
            made before they were kept.
        data: the data set.
        checkpoint: file that was judged, below the run's directory.
        checkpoint_updates: number of updates at this checkpoint.
        weights: ``ema`` (averaged) or ``raw``.
        objective: what training minimised, by the class that its module is derived from; None for a training
            of a user's own, and in records made before it was kept.
        finished_at: time in UTC, ISO 8601.
        judged_again: code and machine of a later evaluation, if there was one.
    """

    command: str | None = None
    overrides: list[str] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    config_hash: str | None = None
    config_hash_without_seed: str | None = None
    protocol_hash: str | None = None
    protocol: Protocol | None = None
    git_commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    hardware: Hardware = field(default_factory=Hardware)
    host: str | None = None
    job: str | None = None
    segments: list[Segment] = field(default_factory=list)
    data: DataDescription | None = None
    checkpoint: str | None = None
    checkpoint_updates: Count | None = None
    weights: Literal["ema", "raw"] | None = None
    objective: Literal["likelihood", "matching", "adversarial"] | None = None
    finished_at: str | None = None
    judged_again: Judgement | None = None


@dataclass
class Record(Part):
    """One run.

    Attributes:
        run_id: readable and unique; the name of the run's directory.
        model: name of the model.
        family: ``flow``, ``continuous flow``, ``autoregressive``, ``vae``, ``gan``, ``diffusion``; a user's
            own word for a model of their own; ``unknown`` where the run failed before the model was built.
        data: name of the data set.
        seed: of training.
        status: whether the run finished, diverged or failed.
        reason: why it did not finish.
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
