"""Write how long the jobs of a sweep took into its file, by which a sweep tells the time left.

python scripts/sweep_seconds.py sweeps/quickstart.yaml runs/quickstart

The lines from ``seconds:`` to the end of the file are made again: for each model the mean over its finished
runs, from the start of the run to its record. ``make results`` calls this for the quickstart.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from zoo.comparison.collect import collect
from zoo.record import Record


def with_seconds(text: str, records: Sequence[Record]) -> str:
    """Return a sweep's YAML with the seconds of these runs, the longest first; without any, as it is."""
    taken: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.status == "finished" and record.cost.total_seconds is not None:
            taken[record.model].append(record.cost.total_seconds)
    if not taken:
        return text
    means = {model: max(1, round(statistics.fmean(seconds))) for model, seconds in taken.items()}
    lines = [f"  model={model}: {means[model]}" for model in sorted(means, key=lambda m: (-means[m], m))]
    head = text.split("\nseconds:")[0].rstrip("\n")
    return "\n".join(
        [head, "seconds:  # by scripts/sweep_seconds.py; they only tell the time left", *lines, ""]
    )


if __name__ == "__main__":
    file, runs = map(Path, sys.argv[1:])
    records = [run.record for run in collect([runs])[0]]
    file.write_text(with_seconds(file.read_text(encoding="utf-8"), records), encoding="utf-8")
