"""What another stopping rule would have chosen in the runs of S-VAE's table 1, from their archived curves.

    python scripts/svae_stopping.py

A run ends after 50 epochs without a better evidence lower bound of the validation images, counted from the
end of the KL's warm-up at the earliest, and the best epoch is tested. A rule that stops earlier can be
replayed on the curve. For each row, stopping.json and stopping.md in results/papers/svae_table1 receive the
epoch that a rule chooses and the bound there less that of our rule, as mean and deviation over the seeds.
Rules that wait for longer cannot be replayed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from zoo.comparison.collect import Run, collect
from zoo.record import write_atomic

FOLDER = Path("results/papers/svae_table1")
PIXELS = 784
WARMUP = 100  # epochs
RULES = {  # epochs of look-ahead, the epoch from which they are counted, and the last epoch, if there is one
    "50 from the end of the warm-up (ours)": (50, WARMUP, None),
    "50 from the first epoch": (50, 0, None),
    "50, at most 500 epochs": (50, WARMUP, 500),
    "50, at most 300 epochs": (50, WARMUP, 300),
    "50, at most 200 epochs": (50, WARMUP, 200),
    "30 from the end of the warm-up": (30, WARMUP, None),
    "20 from the end of the warm-up": (20, WARMUP, None),
    "10 from the end of the warm-up": (10, WARMUP, None),
}
OURS = next(iter(RULES))

Chosen = tuple[int, float]  # an epoch, and the bound of the validation images in nats


def chosen(bounds: Sequence[float], look_ahead: int, start: int, last: int | None = None) -> Chosen:
    """Return the best epoch, from 1 to ``last``, before the first ``look_ahead`` without a better one.

    Those up to ``start`` are not counted.

    >>> chosen([1.0, 3.0, 2.0, 2.5, 4.0], look_ahead=2, start=0)
    (2, 3.0)
    >>> chosen([1.0, 3.0, 2.0, 2.5, 4.0], look_ahead=2, start=3)
    (5, 4.0)
    >>> chosen([1.0, 3.0, 2.0, 2.5, 4.0], look_ahead=2, start=3, last=4)
    (2, 3.0)
    """
    best = 1, bounds[0]
    for epoch, bound in enumerate(bounds[:last], 1):
        if bound > best[1]:
            best = epoch, bound
        elif epoch - max(best[0], start) >= look_ahead:
            break
    return best


def bounds_of(run: Run) -> list[float]:
    """Return the evidence lower bound of the validation images after each epoch, in nats."""
    return [-PIXELS * value for _, value in run.curves()["val/nll"]]


def by_rule(runs: Sequence[Run]) -> dict[str, Any]:
    """Return for each rule the mean epoch that it chooses and the difference of the bound to ours."""
    curves = [bounds_of(run) for run in runs]
    ours = [chosen(curve, *RULES[OURS])[1] for curve in curves]
    found = {}
    for name, rule in RULES.items():
        epochs, bounds = zip(*(chosen(curve, *rule) for curve in curves), strict=True)
        changes = [bound - own for bound, own in zip(bounds, ours, strict=True)]
        found[name] = {"epoch": mean(epochs), "change": mean(changes), "deviation": stdev(changes)}
    return found


def markdown(content: dict[str, Any]) -> str:
    """Return the file's text."""
    lines = [
        "Epoch that a stopping rule chooses and the evidence lower bound of the validation images there",
        "less that of our rule, in nats: means over the seeds ± deviation (`scripts/svae_stopping.py`).",
        "",
        "| row | seeds | look-ahead, epochs | chosen epoch | change of the bound |",
        "|---|---:|---|---:|---:|",
    ]
    for row, part in content.items():
        for rule, found in part["rules"].items():
            change = f"{found['change']:.2f} ± {found['deviation']:.2f}"
            lines.append(f"| {row} | {part['seeds']} | {rule} | {found['epoch']:.0f} | {change} |")
    return "\n".join(lines) + "\n"


def by_row(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each row, by its name, in the table's order."""
    found: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        model = run.record.provenance.config["model"]
        name = "N-VAE" if model["posterior"] == "gaussian" else "S-VAE"
        found.setdefault((name, model["latent_dim"]), []).append(run)
    return {f"{name} d={dim}": found[name, dim] for name, dim in sorted(found)}


def main() -> None:
    """Replay the rules on every archived run and write both files."""
    rows = by_row(collect([FOLDER / "records.tar.xz"])[0])
    content = {row: {"seeds": len(runs), "rules": by_rule(runs)} for row, runs in rows.items()}
    write_atomic(FOLDER / "stopping.json", json.dumps(content, indent=1) + "\n")
    write_atomic(FOLDER / "stopping.md", markdown(content))
    print(FOLDER / "stopping.md")


if __name__ == "__main__":
    main()
