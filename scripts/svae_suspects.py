"""What the number of importance samples does to the log-likelihoods of S-VAE's table 1.

    python scripts/svae_suspects.py RUNS DATA_ROOT    # RUNS: directory of zoo reproduce svae_table1

The trained models lie in RUNS. For each row N-VAE there, by its latent dimensions, suspects.json and
suspects.md in results/papers/svae_table1 receive the mean log-likelihood of the test images by 1, 10, 50 and
100 samples, as mean and deviation over the seeds, beside the records' own by 500. One sample gives the
evidence lower bound. What the files hold of other dimensions stays. It takes half a minute a run on one core.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

import zoo
from zoo.comparison.collect import Run, collect
from zoo.data.binarised_mnist import DynamicBinarisedMNIST
from zoo.record import write_atomic

FOLDER = Path("results/papers/svae_table1")
SAMPLES = (1, 10, 50, 100)
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


def markdown(content: dict[str, Any]) -> str:
    """Return the file's text: a row a number of latent dimensions."""
    heads = [*next(iter(content.values()))["by_samples"]]
    lines = [
        "Mean log-likelihood of the test images in nats by the number of importance samples: mean ±",
        "deviation over the seeds (`python scripts/svae_suspects.py RUNS DATA_ROOT`).",
        "",
        "| latent dimensions | seeds | " + " | ".join(heads) + " |",
        "|---:|---:|" + "---:|" * len(heads),
    ]
    for dim, part in content.items():
        values = [f"{cell['mean']:.2f} ± {cell['deviation']:.2f}" for cell in part["by_samples"].values()]
        lines.append(f"| {dim} | {part['seeds']} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every model of a directory and write both files."""
    runs, root = collect([Path(sys.argv[1])])[0], Path(sys.argv[2])
    torch.set_num_threads(1)
    by_dim: dict[int, list[Run]] = {}
    for run in runs:
        model = run.record.provenance.config["model"]
        if model["posterior"] == "gaussian":  # the rows N-VAE
            by_dim.setdefault(model["latent_dim"], []).append(run)
    file = FOLDER / "suspects.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for dim, of_dim in by_dim.items():
        data = DynamicBinarisedMNIST(root=root)
        data.setup()
        found = [by_samples(run, data.splits["test"]) for run in of_dim]
        content[str(dim)] = {
            "seeds": len(found),
            "by_samples": {
                samples: {
                    "mean": mean(values[samples] for values in found),
                    "deviation": stdev(values[samples] for values in found),
                }
                for samples in found[0]
            },
        }
    content = dict(sorted(content.items(), key=lambda item: int(item[0])))
    write_atomic(file, json.dumps(content, indent=1) + "\n")
    write_atomic(FOLDER / "suspects.md", markdown(content))
    print(FOLDER / "suspects.md")


if __name__ == "__main__":
    main()
