"""Whether another start of the weights or a longer look-ahead explains the differences in S-VAE's table 1.

    PYTHONPATH=scripts zoo sweep papers/svae_start data.root=DIR --jobs 2
    python scripts/svae_start.py RUNS    # RUNS: the sweep's directory

The sweep trains rows N-VAE with the start of Glorot and Bengio, which TensorFlow's dense layers have, and a
look-ahead of 100 epochs. For each row there, start.json and start.md in results/papers/svae_table1 receive
the evidence lower bound of the validation images at the epoch that a look-ahead chooses, in nats, as mean and
deviation over the seeds: of the table's own runs by its look-ahead of 50, of the sweep's by 50 and by 100.
start.tar.xz receives the sweep's records and curves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from svae_stopping import FOLDER, WARMUP, bounds_of, by_row, chosen
from torch import nn

from zoo.comparison.archive import pack_runs
from zoo.comparison.collect import Run, collect
from zoo.models.vae_dense import DenseVAE
from zoo.record import CURVES, RECORD, write_atomic

LOOK_AHEADS = (50, 100)


class GlorotVAE(DenseVAE):
    """A dense VAE whose weights start as in Glorot and Bengio 2010, and whose biases start at zero.

    Weights are uniform within sqrt(6 / (fan-in + fan-out)).
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)


def summary(values: list[float]) -> dict[str, float]:
    """Return mean and standard deviation."""
    return {"mean": mean(values), "deviation": stdev(values)}


def bounds(curves: list[list[float]], look_ahead: int) -> dict[str, float]:
    """Return the bound at the chosen epoch over the runs; see :func:`svae_stopping.chosen`."""
    return summary([chosen(curve, look_ahead, WARMUP)[1] for curve in curves])


def markdown(content: dict[str, Any]) -> str:
    """Return the file's text."""
    first, second = LOOK_AHEADS
    lines = [
        "Evidence lower bound of the validation images in nats at the epoch that a look-ahead of so many",
        "epochs chooses: mean ± deviation over the seeds (`scripts/svae_start.py`). Torch's start is that of",
        "the table's runs.",
        "",
        f"| row | torch's start, {first} | seeds | Glorot's, {first} | Glorot's, {second} | seeds |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row, found in content.items():
        torchs, *glorots = (
            f"{cell['mean']:.2f} ± {cell['deviation']:.2f}"
            for cell in (found["torch"], *(found["glorot"][str(epochs)] for epochs in LOOK_AHEADS))
        )
        cells = [row, torchs, found["torch_seeds"], *glorots, found["glorot_seeds"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def compared(varied: Sequence[Run]) -> dict[str, Any]:
    """Return the bounds of the sweep's runs and of the table's, by row."""
    table = by_row(collect([FOLDER / "records.tar.xz"])[0])
    content = {}
    for row, runs in by_row(varied).items():
        ours, others = ([bounds_of(run) for run in of] for of in (table[row], runs))
        content[row] = {
            "torch_seeds": len(ours),
            "torch": bounds(ours, LOOK_AHEADS[0]),
            "glorot_seeds": len(others),
            "glorot": {str(epochs): bounds(others, epochs) for epochs in LOOK_AHEADS},
        }
    return content


def main() -> None:
    """Compare the sweep's curves with the table's, pack its runs and write both files."""
    varied = collect([Path(sys.argv[1])])[0]
    content = compared(varied)
    pack_runs(varied, FOLDER / "start.tar.xz", [RECORD, CURVES])
    write_atomic(FOLDER / "start.json", json.dumps(content, indent=1) + "\n")
    write_atomic(FOLDER / "start.md", markdown(content))
    print(FOLDER / "start.md")


if __name__ == "__main__":
    main()
