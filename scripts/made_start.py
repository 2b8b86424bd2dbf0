"""How much each setting of the authors' MADE changes its log-likelihood on MNIST (MAF's table 2).

    zoo sweep papers/made_start data.root=DIR --jobs 2
    python scripts/made_start.py RUNS    # RUNS: runs/made_start, or the committed start.tar.xz

start.json and start.md in results/papers/maf_table2_mnist receive the mean log-likelihood of the test points
in nats, of the sweep's runs and of the table's own; start.tar.xz receives the records of the sweep's runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.comparison.archive import pack_runs
from zoo.comparison.collect import Run, collect
from zoo.record import RECORD, write_atomic

FOLDER = Path("results/papers/maf_table2_mnist")
UPDATES = 500  # of an epoch


def settings(run: Run) -> dict[str, Any]:
    """Return the settings of a run that the sweep varies: degrees, start, outputs and Adam's constant."""
    config = run.record.provenance.config
    model = config["model"]
    return {
        "degrees": model["degrees"],
        "start": model["start"],
        "scale": model["scale"],
        "eps": config["training"].get("eps") or 1e-8,  # torch's own
    }


def likelihoods(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a row for each run: settings, seed, log-likelihood, and the epoch of the best validation."""
    rows = []
    for run in runs:
        nll = run.record.metrics["nll"]
        rows.append(
            {
                **settings(run),
                "seed": run.record.seed,
                "log_likelihood": -nll.value,
                "standard_error": nll.standard_error,
                "epochs": run.record.provenance.checkpoint_updates // UPDATES,
            }
        )
    return sorted(rows, key=lambda row: (-row["log_likelihood"], row["seed"]))


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown, the text of start.md."""
    lines = [
        "MADE on MNIST: mean log-likelihood of the test points in nats, with its standard error, and the",
        "epoch of the best validation (`scripts/made_start.py`). The runs differ in the degrees of hidden",
        "units, the start of the weights, what the network computes beside means (scale), and the constant",
        "that Adam adds to the root of the second moment (eps). The table's own run has cyclic degrees, a",
        "normal start, log-precisions and the constant 0.0001.",
        "",
        "| degrees | start | scale | eps | seed | log-likelihood | epoch |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        value = f"{row['log_likelihood']:.1f} ± {row['standard_error']:.1f}"
        cells = [
            row["degrees"],
            row["start"],
            row["scale"],
            f"{row['eps']:g}",
            row["seed"],
            value,
            row["epochs"],
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def compared(varied: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the rows of the sweep's runs and of the table's own, see :func:`likelihoods`."""
    table = collect([FOLDER / "records.tar.xz"])[0]
    ours = [run for run in table if run.record.provenance.config["choices"]["model"] == "made"]
    ours = [run for run in ours if not run.record.provenance.config["model"]["conditional"]]
    return likelihoods([*ours, *varied])


def main() -> None:
    """Collect the runs and write the files."""
    varied = collect([Path(sys.argv[1])])[0]
    rows = compared(varied)
    pack_runs(varied, FOLDER / "start.tar.xz", [RECORD])
    write_atomic(FOLDER / "start.json", json.dumps(rows, indent=1) + "\n")
    write_atomic(FOLDER / "start.md", markdown(rows))
    print(FOLDER / "start.md")


if __name__ == "__main__":
    main()
