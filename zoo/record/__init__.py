"""The record of one run: all that passes from running to comparing. Imports no torch.

A run's directory holds ``record.json`` (this), ``curves.csv`` (one row per logged update: ``updates``,
``images_seen``, ``wall_seconds``, ``device_seconds`` and named values such as ``train/loss``, ``val/loss``)
and ``samples.npz`` (``samples`` and ``real``: uint8 ``(N, C, H, W)`` for images, float32 ``(N, D)`` for
vectors; ``levels``, 0 where continuous). A model with a likelihood leaves ``likelihood.npz``: ``values``,
log p of each scored example in nats, float32 ``(n,)``, and ``indices``, its place in the test split. Points
of the plane leave ``density.npz`` too: the model's density on a grid beside the data's histogram
(``density``, ``data``, ``extent``).
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import ZooError

SCHEMA = 1
RECORD, CURVES, SAMPLES, DENSITY = "record.json", "curves.csv", "samples.npz", "density.npz"
LIKELIHOOD = "likelihood.npz"
AXES = ("updates", "images_seen", "device_seconds")  # in every row of the curves; any of them is an x axis
STATUSES = ("finished", "diverged", "failed")


@dataclass
class Metric:
    """One measured value with everything needed to read it.

    Attributes:
        value: the number, or None where there is none (then ``reason`` says why).
        unit: ``nats``, ``bits/dim``, ``1`` for a plain number, ...
        kind: ``exact``, ``lower bound`` (of the log-likelihood), ``estimate`` or ``none``.
        direction: ``lower`` or ``higher``: which is better; ``one``: the nearer to 1 the better; ``none``: a
            diagnostic, which ranks nothing and is no column of a comparison.
        standard_error: over the ``n`` examples; None where it was not estimated.
        n: number of examples.
        split: the data split that the value is about, or the reference split of a sample metric.
        details: what controls the value: dequantisation, solver and tolerance, extractor, floor, ...
        reason: why ``value`` is None.
    """

    value: float | None
    unit: str
    kind: str = "estimate"
    direction: str = "lower"
    standard_error: float | None = None
    n: int = 0
    split: str = "test"
    details: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None


@dataclass
class Record:
    """One run. ``status`` is one of :data:`STATUSES`; ``reason`` says why it is not ``finished``.

    Attributes:
        sampling: ``latency_seconds`` (batch 1, median), ``latency_quartiles``, ``throughput`` (examples/s at
            ``throughput_batch``), ``sequential_evaluations``, both also ``_by_batch``, ``device``,
            ``threads``, ``dtype``.
        stability: ``largest_gradient_norm`` (before clipping), ``loss_spikes``, ``gradient_spikes``,
            ``non_finite_steps``, ``updates_watched``, ``oscillation`` and ``oscillation_of``,
            ``oscillations`` by curve, see ``zoo/training/stability.py``; after a resume, ``resumed_at`` (an
            update).
        cost: ``parameters``, ``updates``, ``images_seen``, ``train_seconds``, ``examples_per_second``,
            ``peak_memory_bytes``, ``evaluation_seconds``, ``total_seconds`` (of the last process alone, where
            the run was resumed), ``compiled``, ``flops_per_example`` (of an update, by torch's counter; else
            None and ``flops_reason``; ``sampling`` has its own).
        provenance: ``config``, ``config_hash``, ``overrides`` (``zoo train``'s), ``git_commit``,
            ``versions``, ``hardware`` (with ``jobs``, how many its sweep ran on this machine at a time; None:
            unknown), ``protocol_hash``, ``checkpoint``, ``weights``, ``data``, ``finished_at``; of a run that
            was judged again, ``judged_again``: commit, versions and hardware of that.
    """

    run_id: str
    model: str
    family: str
    data: str
    seed: int
    status: str
    reason: str | None = None
    metrics: dict[str, Metric] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    stability: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Strict JSON: values that are not finite become null, since JSON has no word for them."""
        return json.dumps(_finite(dataclasses.asdict(self)), indent=1, allow_nan=False) + "\n"

    def write(self, directory: str | Path) -> Path:
        """Write ``record.json`` into ``directory``, whole or not at all."""
        return write_atomic(Path(directory) / RECORD, self.to_json())


_RECORD_FIELDS, _METRIC_FIELDS = (frozenset(f.name for f in dataclasses.fields(c)) for c in (Record, Metric))


def read(path: str | Path) -> Record:
    """Read a record from its file or its run's directory.

    Raises:
        ZooError: no record there, a damaged one, or one of another schema version.
    """
    path = Path(path)
    file = path / RECORD if path.is_dir() else path
    try:
        raw = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ZooError(f"There is no record at {file}; give the directory of a run that has ended.") from None
    except (OSError, ValueError) as error:
        raise ZooError(
            f"The record {file} cannot be read ({error}); delete it and run the job again."
        ) from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else None
        raise ZooError(f"The record {file} has schema {found}, this zoo reads {SCHEMA}; run the job again.")
    try:
        metrics = {
            name: Metric(**{k: v for k, v in metric.items() if k in _METRIC_FIELDS})
            for name, metric in raw.get("metrics", {}).items()
        }
        record = Record(**{k: v for k, v in raw.items() if k in _RECORD_FIELDS} | {"metrics": metrics})
        if record.status not in STATUSES:
            raise ValueError(f"status '{record.status}'")
        return record
    except (TypeError, AttributeError, ValueError) as error:
        raise ZooError(f"The record {file} is damaged ({error}); delete it and run the job again.") from None


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all: to a neighbour first, flushed to disk, then renamed over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
