"""The provenance of a record: configuration, code, data, protocol and machines. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.record.values import Count, Number, Part

PROTOCOL_VERSION = 5  # to be raised whenever a change of the code changes the meaning of a number


@dataclass(slots=True)
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


@dataclass(slots=True)
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


@dataclass(slots=True)
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


@dataclass(slots=True)
class Protocol(Part):
    """The protocol that judged the run, in full; ``provenance.protocol_hash`` is its hash.

    Attributes:
        version: of the code that computes the metrics.
        settings: the ``evaluation`` settings, without paths of the machine.
    """

    version: Count
    settings: dict[str, Any]


@dataclass(slots=True)
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


@dataclass(slots=True)
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
