"""What other estimates of the log-likelihoods of S-VAE's table 1 give.

    python scripts/svae_suspects.py RUNS DATA_ROOT    # RUNS: directory of zoo reproduce svae_table1

The trained models lie in RUNS. For each row there, suspects.json and suspects.md in
results/papers/svae_table1 receive the mean log-likelihood of the test images by 1, 10, 50 and 100 importance
samples, as mean and deviation over the seeds, beside the records' own by 500. One sample gives the evidence
lower bound.

They also receive the estimate of the authors' TensorFlow program (nicola-decao/s-vae-tf, examples/mnist.py,
log_likelihood, alike in all its versions), by 10, 100 and 500 samples. It draws z_1 .. z_n for the weights
p(z_i) / q(z_i | x), but takes the reconstruction log p(x | z) of one other sample z for all of them:

    log p(x | z) + log 1/n sum_i p(z_i) / q(z_i | x),    z, z_1, .., z_n ~ q(z | x).

What the files hold of other rows stays. It takes half a minute a run on one core, with a von Mises-Fisher
posterior twice that.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from svae_stopping import FOLDER, by_row

import zoo
from zoo.comparison.collect import Run, collect
from zoo.data.binarised_mnist import DynamicBinarisedMNIST
from zoo.record import write_atomic
from zoo.reproduction import load

SAMPLES = (1, 10, 50, 100)
THEIR_SAMPLES = (10, 100, 500)
BATCH = 100


def by_samples(run: Run, images: torch.Tensor) -> dict[str, float]:
    """Return the mean log-likelihood of images, in nats, by numbers of importance samples."""
    model: Any = zoo.load(run.directory)
    found = {}
    for samples in SAMPLES:
        model.importance_samples = samples
        with torch.no_grad():
            parts = [model.log_prob(batch).double().sum() for batch in images.split(BATCH)]
        found[str(samples)] = float(sum(parts)) / len(images)
    found[str(run.record.provenance.config["model"]["importance_samples"])] = -run.record.metrics["nll"].value
    return found


def by_one_reconstruction(run: Run, images: torch.Tensor) -> dict[str, float]:
    """Return the authors' estimate of the mean log-likelihood of images, in nats, by numbers of samples."""
    model: Any = zoo.load(run.directory)
    reconstruction, _ = model.bound_parts(images)
    torch.manual_seed(0)
    with torch.no_grad():
        encoding = model.encode(images.to(model.dtype))
        log_ratios = torch.stack(
            [model.sample_posterior(encoding).log_ratio for _ in range(max(THEIR_SAMPLES))]
        )
    return {str(n): float(reconstruction.mean() + mean_weight(log_ratios[:n]).mean()) for n in THEIR_SAMPLES}


def mean_weight(log_ratios: torch.Tensor) -> torch.Tensor:
    """Return the log of the mean weight over the first axis."""
    return log_ratios.logsumexp(0) - math.log(len(log_ratios))


def over_seeds(found: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the mean and the deviation over seeds for each number of samples."""
    by_number = {number: [values[number] for values in found] for number in found[0]}
    return {number: {"mean": mean(of), "deviation": stdev(of)} for number, of in by_number.items()}


def markdown(content: dict[str, Any]) -> str:
    """Return the file's text."""
    parts = {"by_samples": "", "by_one_reconstruction": "*"}
    first = next(iter(content.values()))
    heads = [number + mark for part, mark in parts.items() for number in first[part]]
    lines = [
        "Mean log-likelihood of the test images in nats by the number of samples: mean ± deviation over",
        "the seeds (`python scripts/svae_suspects.py RUNS DATA_ROOT`). Without a star they are importance",
        "samples. With a star it is the estimate of the authors' TensorFlow program, which takes the",
        "reconstruction of one sample for the weights of all.",
        "",
        "| row | seeds | " + " | ".join(heads) + " |",
        "|---|---:|" + "---:|" * len(heads),
    ]
    for row, found in content.items():
        cells = [cell for part in parts for cell in found[part].values()]
        values = [f"{cell['mean']:.2f} ± {cell['deviation']:.2f}" for cell in cells]
        lines.append(f"| {row} | {found['seeds']} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every model of a directory and write both files."""
    runs, root = collect([Path(sys.argv[1])])[0], Path(sys.argv[2])
    torch.set_num_threads(1)
    file = FOLDER / "suspects.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    data = DynamicBinarisedMNIST(root=root)
    data.setup()
    images = data.splits["test"]
    for row, of_row in by_row(runs).items():
        content[row] = {
            "seeds": len(of_row),
            "by_samples": over_seeds([by_samples(run, images) for run in of_row]),
            "by_one_reconstruction": over_seeds([by_one_reconstruction(run, images) for run in of_row]),
        }
    rows = dict.fromkeys(cell.row for cell in load("svae_table1").cells)
    content = {row: content[row] for row in rows if row in content}
    write_atomic(file, json.dumps(content, indent=1) + "\n")
    write_atomic(FOLDER / "suspects.md", markdown(content))
    print(FOLDER / "suspects.md")


if __name__ == "__main__":
    main()
