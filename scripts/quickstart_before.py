"""Write results/studies/quickstart_before.md: quality of the quickstart before and after it was made shorter.

python scripts/quickstart_before.py runs/quickstart_before

Reads the finished runs of ``zoo sweep quickstart_before``. For each model and quantity it gives the mean over
seeds with either settings, and today's less before's with Welch's 95 % interval. Today is called worse or
better where that interval excludes zero; three seeds tell only large differences apart.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import ttest_ind

from zoo.comparison.collect import collect
from zoo.record import read_rows

PLACE = Path(__file__).resolve().parents[1] / "results" / "studies"
BEFORE, TODAY = "before", "today"
BATCHES = {128: BEFORE, 64: TODAY}  # the batch size tells a run's settings
# Quantities by model: title, column of the curves or metric of the test split, and whether less is better;
# None: near 1 is better.
VALIDATION = {"gan": "val/energy_distance", "diffusion": "val/loss"}
TEST: dict[str, tuple[str, bool | None]] = {
    "bits_per_dim": ("bits/dim", True),
    "fd/digits-cnn": ("Fréchet distance", True),
    "sharpness": ("sharpness", None),
}


def rows(runs: Path) -> list[dict[str, Any]]:
    """Return the values of each finished run: model, settings, seed, validation and test.

    Raises:
        SystemExit: there is no finished run with either settings.
    """
    found = []
    for run in collect([runs])[0]:
        record = run.record
        if (
            record.status != "finished"
            or record.model not in VALIDATION
            or record.cost.batch_size not in BATCHES
        ):
            continue
        column = VALIDATION[record.model]
        curve = [row[column] for row in read_rows(run.directory) if row.get(column) is not None]
        metrics = {name: record.metrics[name].value for name in TEST if name in record.metrics}
        found.append(
            {
                "model": record.model,
                "settings": BATCHES[record.cost.batch_size],
                "seed": record.seed,
                "validation": curve[-1],
                **{name: value for name, value in metrics.items() if value is not None},
            }
        )
    if {row["settings"] for row in found} != {BEFORE, TODAY}:
        raise SystemExit(f"{runs} lacks finished runs; run zoo sweep quickstart_before first.")
    return sorted(found, key=lambda row: (row["model"], row["settings"], row["seed"]))


def verdict(before: Sequence[float], today: Sequence[float], least: bool | None) -> tuple[str, str]:
    """Return today's mean less before's with its interval, and what that says of today.

    Args:
        before: values of the seeds with the settings of before.
        today: those with today's.
        least: whether less is better; None: the distance from 1 is compared, of which less is better.
    """
    if least is None:
        before, today = [abs(value - 1) for value in before], [abs(value - 1) for value in today]
    low, high = ttest_ind(today, before, equal_var=False).confidence_interval()
    difference = statistics.fmean(today) - statistics.fmean(before)
    text = f"{difference:+.3g} [{low:+.3g}, {high:+.3g}]"
    return text, "worse" if low > 0 else "better" if high < 0 else "not told apart"


def table(measured: list[dict[str, Any]]) -> str:
    """Return the Markdown table: a line for each model and quantity."""
    lines = [
        "| model | split | quantity | before | today | today less before, 95 % | today is | seeds |",
        "|---|---|---|---:|---:|---:|---|---:|",
    ]
    groups: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in measured:
        for name in ("validation", *TEST):
            if name in row:
                groups[row["model"], name][row["settings"]].append(row[name])
    for (model, name), values in groups.items():
        before, today = values[BEFORE], values[TODAY]
        if min(len(before), len(today)) < 2:
            continue
        title, least = TEST.get(name, (VALIDATION[model].removeprefix("val/").replace("_", " "), True))
        difference, word = verdict(before, today, least)
        means = " | ".join(f"{statistics.fmean(part):.4g}" for part in (before, today))
        split = "validation" if name == "validation" else "test"
        note = ", distance from 1" if least is None else ""
        seeds = f"{len(before)} and {len(today)}"
        lines.append(f"| {model} | {split} | {title} | {means} | {difference}{note} | {word} | {seeds} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(
            "Give the folder of the runs: python scripts/quickstart_before.py runs/quickstart_before"
        )
    measured = rows(Path(sys.argv[1]))
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "quickstart_before.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    text = table(measured)
    (PLACE / "quickstart_before.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
