"""The times of a finished run that ``zoo time`` measured, in a file beside its record."""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from zoo.errors import ZooError
from zoo.record.files import TIMING, write_atomic
from zoo.record.schema import Load, Record
from zoo.visible import is_suspect, made_visible

# Number of undisturbed calls that a batch size needs to get a time (or all calls, if there are fewer rounds).
LEAST_CALLS = 3


@dataclass
class Calls:
    """The calls of one batch size in a session.

    Attributes:
        seconds: seconds of each call that counts, by round (as text, since it is a key in JSON).
        discarded: number of calls that do not count, since the machine was busy.
        canary: seconds of the canary (a fixed matrix product) beside each call that counts, by round.
    """

    seconds: dict[str, float]
    discarded: int
    canary: dict[str, float]

    @property
    def lower_quartile(self) -> float:
        """The first quartile of the rounds' seconds, by linear interpolation."""
        values = list(self.seconds.values())
        return values[0] if len(values) == 1 else statistics.quantiles(values, n=4, method="inclusive")[0]


@dataclass
class Timing:
    """A session of ``zoo time`` as far as it concerns one run.

    Attributes:
        session: identifier of the session; only times of one session are compared with each other.
        measured_at: when it began, UTC, ISO 8601.
        rounds: number of rounds over all runs, in shuffled order; further ones follow for those that lack
            undisturbed calls.
        runs: number of runs that took turns.
        device, threads, dtype, compiled: as in :class:`~zoo.record.Sampling`.
        cpu: name of the processor.
        load: how busy the machine was.
        tolerance: a call is discarded if the canary beside it took longer than its least time by this share.
        batches: the calls by batch size (as text).
    """

    session: str
    measured_at: str
    rounds: int
    runs: int
    device: str
    threads: int
    dtype: str
    compiled: bool
    cpu: str | None
    load: Load
    tolerance: float
    batches: dict[str, Calls]

    @property
    def times(self) -> dict[int, float]:
        """Seconds of a call (lower quartile) by batch size, without sizes that have too few calls."""
        least = min(LEAST_CALLS, self.rounds)
        return {
            int(size): calls.lower_quartile
            for size, calls in self.batches.items()
            if len(calls.seconds) >= least
        }

    @property
    def counts(self) -> bool:
        """Whether the session has a time of the run: of one sample, if it was called, else of any batch."""
        return 1 in self.times or ("1" not in self.batches and bool(self.times))

    def write(self, directory: Path) -> Path:
        """Write the times beside a run's record and return the file."""
        return write_atomic(directory / TIMING, _adapter().dump_json(self, indent=1))


def read_timing(directory: Path) -> Timing | None:
    """Return the times beside a run's record; None if it was not re-timed.

    Raises:
        ZooError: the file is damaged.
    """
    if not os.path.lexists(f"{directory}/{TIMING}"):  # faster than an error for each of many runs
        return None
    content = (directory / TIMING).read_bytes()
    try:
        if is_suspect(content):
            content = json.dumps(made_visible(json.loads(content))).encode()
        return _adapter().validate_json(content)
    except (ValidationError, ValueError):
        raise ZooError(
            f"The file {directory / TIMING} is damaged; delete it and run zoo time again."
        ) from None


def retimed(record: Record, timing: Timing) -> Record:
    """Return a copy of a record with the speed of sampling that ``zoo time`` measured.

    The latency is the lower quartile over the rounds. ``sampling.session`` names the session.
    """
    times = timing.times
    speeds = {size: size / seconds for size, seconds in times.items()}
    best = max(speeds, key=lambda size: speeds[size], default=None)
    sampling = replace(
        record.sampling,
        latency_seconds=times.get(1),
        latency_quartiles=None,
        latency_repeats=len(timing.batches["1"].seconds) if "1" in timing.batches else None,
        throughput=None if best is None else speeds[best],
        throughput_batch=best,
        throughput_by_batch={str(size): speed for size, speed in speeds.items()},
        device=timing.device,
        threads=timing.threads,
        dtype=timing.dtype,
        compiled=timing.compiled,
        load=timing.load,
        session=timing.session,
    )
    return replace(record, sampling=sampling)


@cache
def _adapter() -> TypeAdapter[Timing]:
    return TypeAdapter(Timing)
