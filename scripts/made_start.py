"""Whether the degrees of hidden units or the start of the weights explain MADE's rows in MAF's table 2.

    PYTHONPATH=scripts zoo sweep papers/made_start data.root=DIR --jobs 2
    python scripts/made_start.py RUNS    # RUNS: the sweep's directory

The sweep trains the recipe of row MADE on MNIST, unconditional, with evenly spread degrees, and with degrees,
weights, outputs and Adam's constant as in the authors' program. start.json and start.md in
results/papers/maf_table2_mnist receive the mean log-likelihood of the test points in nats, of the sweep's
runs and of the table's own.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo.comparison.collect import Run, collect
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.made import GaussianMADE
from zoo.models.networks.masked import Degrees, MaskedLinear
from zoo.record import write_atomic

FOLDER = Path("results/papers/maf_table2_mnist")
UPDATES = 500  # of an epoch


class LogPrecision(MaskedAffineAutoregressive):
    """A layer whose network computes the logarithm of the precision, -2 s, in place of s.

    An update of Adam moves each output by about as much, so s moves by half as much.
    """

    def apply_to(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return super().apply_to(x, self._halved(parameters))

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return super().undo_on(z, self._halved(parameters))

    def array_step(self, z: Any) -> None:
        return None

    def _halved(self, parameters: Tensor) -> Tensor:
        return parameters * parameters.new_tensor([1.0, -0.5])


class AuthorsMADE(GaussianMADE):
    """A MADE with the weights and outputs of gpapamak/maf, ml/models/mades.py.

    Weights start as N(0, 1 / (inputs + 1)), those of the output layer too, with all inputs counted, masked or
    not; biases start at zero. The second output of a dimension is the logarithm of its precision.
    """

    def __init__(self, spec: DataSpec, *, hidden: Sequence[int], degrees: Degrees, **settings: Any) -> None:
        super().__init__(spec, hidden=hidden, degrees=degrees, **settings)
        layer = LogPrecision(spec.dim, hidden, degrees=degrees, log_scale_bound=None)
        for part in layer.modules():
            if isinstance(part, MaskedLinear):
                nn.init.normal_(part.weight, std=1 / math.sqrt(part.in_features + 1))
                nn.init.zeros_(part.bias)
        self.transform.layers[-1] = layer


def variant(run: Run) -> str:
    """Return the degrees and the start of a run."""
    model = run.record.provenance.config["model"]
    start = "zoo's" if model["_target_"] == "zoo.models.made.GaussianMADE" else "the authors'"
    return f"{model['degrees']} degrees, {start} start"


def likelihoods(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a row for each run: variant, seed, likelihood of the test points, epochs up to the best."""
    rows = []
    for run in runs:
        nll = run.record.metrics["nll"]
        rows.append(
            {
                "variant": variant(run),
                "seed": run.record.seed,
                "log_likelihood": -nll.value,
                "standard_error": nll.standard_error,
                "epochs": run.record.provenance.checkpoint_updates // UPDATES,
            }
        )
    return sorted(rows, key=lambda row: (row["variant"], row["seed"]))


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the file's text."""
    lines = [
        "Mean log-likelihood of the test points of MNIST in nats, with its standard error, and the epoch of",
        "the best validation, by degrees of the hidden units and start of the weights",
        "(`scripts/made_start.py`). Cyclic degrees are the authors' and the table's; with the authors' start",
        "go their outputs, which are means and logarithms of precisions, and their constant of Adam.",
        "",
        "| degrees and start | seed | log-likelihood | epoch |",
        "|---|---:|---:|---:|",
    ]
    for row in rows:
        value = f"{row['log_likelihood']:.1f} ± {row['standard_error']:.1f}"
        lines.append(f"| {row['variant']} | {row['seed']} | {value} | {row['epochs']} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Collect the sweep's runs and the table's, and write both files."""
    table = collect([FOLDER / "records.tar.xz"])[0]
    ours = [run for run in table if run.record.provenance.config["choices"]["model"] == "made"]
    ours = [run for run in ours if not run.record.provenance.config["model"]["conditional"]]
    rows = likelihoods([*ours, *collect([Path(sys.argv[1])])[0]])
    write_atomic(FOLDER / "start.json", json.dumps(rows, indent=1) + "\n")
    write_atomic(FOLDER / "start.md", markdown(rows))
    print(FOLDER / "start.md")


if __name__ == "__main__":
    main()
