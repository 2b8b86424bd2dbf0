"""The facts of every run on the page: its origin, its machine, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.packed import in_packed
from zoo.comparison.page.reproduce import departure, restored
from zoo.comparison.page.shorten import Strings, rounded
from zoo.record import Hardware, Record

Json = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """A published value that a run repeats.

    Attributes:
        metric: the metric of the record that measures the same quantity.
        cell: row and column of the paper's table.
        text: the value with its error.
        source: the paper, and how the value was read.
        command: prints both side by side.
    """

    metric: str
    cell: str
    text: str
    source: str
    command: str


def facts_of_runs(
    runs: Sequence[Run], strings: Strings, published: Mapping[str, Sequence[Published]] | None = None
) -> Json:
    """Return a list of each fact, with an entry for each run.

    Args:
        runs: the runs.
        strings: receives the texts.
        published: the published values of some runs, by the run's id.
    """

    def each(fact: Callable[[Run], Any]) -> list[Any]:
        return [fact(run) for run in runs]

    def text(fact: Callable[[Run], str | None]) -> list[int]:
        return [strings.place(fact(run) or "") for run in runs]

    return {
        "id": each(lambda run: run.record.run_id),
        "seed": each(lambda run: run.record.seed),
        "status": text(lambda run: run.record.status),
        "reason": text(lambda run: run.record.reason),
        "command": each(lambda run: run.record.provenance.command or ""),
        "departs": text(departure),
        "restored": text(restored),
        "hash": each(lambda run: (run.record.provenance.config_hash or "")[:16]),
        "commit": text(lambda run: (run.record.provenance.git_commit or "")[:12]),
        "versions": text(lambda run: _pairs(run.record.provenance.versions)),
        "hardware": text(lambda run: hardware_text(run.record.provenance.hardware)),
        "place": text(_place),
        "load": text(_load),
        "again": text(_judged_again),
        "checkpoint": text(_checkpoint),
        "finished": text(lambda run: (run.record.provenance.finished_at or "")[:16].replace("T", " ")),
        "directory": each(_where),
        "images": each(lambda run: run.record.cost.images_seen),
        "flops": each(lambda run: rounded(run.record.cost.flops_per_example)),
        "published": each(
            lambda run: [
                [strings.place(part) for part in (one.metric, one.cell, one.text, one.source, one.command)]
                for one in (published or {}).get(run.record.run_id, ())
            ]
        ),
    }


def _where(run: Run) -> str:
    """Return a packed file and the place of a run in it, or the last three parts of the run's path.

    That is enough to find it, and says nothing of the machine.
    """
    return in_packed(run.directory) or "/".join(run.directory.parts[-3:])


def _place(run: Run) -> str:
    """Return the cluster's jobs that trained a run, and their numbers of processes, each once."""
    source = run.record.provenance
    jobs = [segment.job for segment in source.segments] + [source.job]
    processes = [f"{s.processes} processes" for s in source.segments if (s.processes or 1) > 1]
    return ", ".join(dict.fromkeys(filter(None, [*jobs, *processes])))


def _checkpoint(run: Run) -> str:
    """Return which weights were judged, as a path below the run's directory, and whether they are there."""
    source = run.record.provenance
    if not source.checkpoint:
        return ""
    facts = [source.checkpoint if run.checkpoint else f"{source.checkpoint} (not kept with this record)"]
    if source.checkpoint_updates is not None:
        facts.append(f"after {source.checkpoint_updates:,} updates")
    if source.weights:
        facts.append(f"{source.weights} weights")
    return ", ".join(facts)


def _load(run: Run) -> str:
    load = run.record.sampling.load
    if load is None or load.before is None:
        return ""
    after = "" if load.after is None else f" to {load.after:.1f}"
    return f"load {load.before:.1f}{after} on {load.cores} cores while speed was measured"


def _judged_again(run: Run) -> str:
    again = run.record.provenance.judged_again
    if again is None:
        return ""
    return f"judged again by commit {(again.git_commit or 'unknown')[:12]} on {hardware_text(again.hardware)}"


def hardware_text(hardware: Hardware) -> str:
    """Return a machine in words."""
    counts = [(getattr(hardware, name), name) for name in ("cores", "threads", "jobs")]
    facts = [f"{count} {name if count != 1 else name[:-1]}" for count, name in counts if count is not None]
    several = f"{hardware.accelerators} x " if (hardware.accelerators or 0) > 1 else ""
    gpu = several + hardware.accelerator if hardware.accelerator else None
    if hardware.driver:
        facts.append(f"driver {hardware.driver}")
    return ", ".join(filter(None, [gpu, hardware.cpu, *facts]))


def _pairs(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def summary(runs: Sequence[Run]) -> Json:
    """Return the numbers of runs, models and seeds, the newest date, protocols, versions and machines."""
    records = [run.record for run in runs]
    times = [r.provenance.finished_at for r in records if r.provenance.finished_at]
    return {
        "runs": len(runs),
        "models": len({r.model for r in records}),
        "finished": sum(r.status == "finished" for r in records),
        "seeds": len({r.seed for r in records}),
        "newest": max(times, default="")[:16].replace("T", " "),
        "protocols": sorted({_protocol(r) for r in records} - {""}),
        "commits": sorted({(r.provenance.git_commit or "")[:12] for r in records} - {""}),
        "versions": sorted({v for r in records if (v := r.provenance.versions.get("zoo")) and v != "absent"}),
        "machines": sorted({m for r in records if (m := hardware_text(r.provenance.hardware))}),
    }


def _protocol(record: Record) -> str:
    """Return the version of a run's protocol and the beginning of its hash, ``5 (1d685bbc)``."""
    source = record.provenance
    name = (source.protocol_hash or "")[:8]
    return f"{source.protocol.version} ({name})" if source.protocol is not None and name else name
