"""Write results/studies/diffusion_weighting.md: what the training steps of a diffusion are worth.

python scripts/diffusion_weighting.py [digits | mnist DIR] ...

Each model has the same small U-Net and the same updates, batches, learning rate (cosine to zero after 50
updates of warm-up, clip 1) and averaging (0.999), at 256 levels. ``digits`` are scikit-learn's 8x8 digits
with uniform noise within their 17 levels, cut into 256; ``mnist`` lies in DIR. The bound, or flow matching's
estimate by its ODE, is of the first test examples; the Fréchet distance is of 1,000 samples (diffusion: 50
steps) in the features of zoo's classifier of the data set. The rows of the data sets on the command line are
made again, the others kept.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zoo
from zoo.data import Digits
from zoo.data.spec import DataSpec
from zoo.data.torchvision_sets import MNIST
from zoo.evaluation import features, frechet
from zoo.models.core import rng
from zoo.models.diffusion import Diffusion
from zoo.training.averaging import averaged_copy
from zoo.training.schedule import Schedule

PLACE = Path(__file__).resolve().parents[1] / "results" / "studies"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "diffusion, uniform steps (`weighting=simple`)": ("diffusion", {"weighting": "simple"}),
    "diffusion, steps by the bound (`weighting=likelihood`)": ("diffusion", {"weighting": "likelihood"}),
    "flow matching": ("flow_matching", {}),
}
SAMPLES = 1000
STEPS = 50  # of a diffusion's chain


@dataclass(frozen=True)
class Case:
    """A data set of 256 levels and a budget.

    Attributes:
        updates, batch, lr: the budget.
        seeds: number of training seeds.
        scored: number of test examples for diffusion's bound.
        by_ode: number of test examples for flow matching's density.
        extractor: name of the features, and their levels.
    """

    updates: int
    batch: int
    lr: float
    seeds: int
    scored: int
    by_ode: int
    extractor: tuple[str, int]


CASES = {
    "digits": Case(300, 64, 2e-3, 1, 360, 64, ("digits-cnn", 17)),
    "mnist": Case(400, 64, 2e-3, 1, 128, 32, ("mnist-cnn", 256)),
}


def splits(name: str, root: str | None) -> tuple[DataSpec, Tensor, Tensor]:
    """Return the data and its training and test examples, as integers of 256 levels."""
    data = Digits() if name == "digits" else MNIST("mnist", root)
    data.setup()
    train, test = data.splits["train"], data.splits["test"]
    if name == "digits":
        generator = torch.Generator().manual_seed(0)
        train, test = (
            ((x + torch.rand(x.shape, generator=generator)) * (256 / 17)).floor() for x in (train, test)
        )
    return DataSpec(data.spec.shape, 256, 10), train, test


def train(case: Case, name: str, settings: dict[str, Any], spec: DataSpec, x: Tensor, seed: int) -> nn.Module:
    """Return the averaged model after its budget, in evaluation mode."""
    torch.manual_seed(seed)
    model = zoo.build(name, spec, **settings).train()
    average = averaged_copy(model, 0.999)
    optimizer = torch.optim.Adam(model.parameters(), lr=case.lr)
    schedule = Schedule("cosine", case.updates, 50)
    batches = torch.Generator().manual_seed(seed)
    for update in range(case.updates):
        for group in optimizer.param_groups:
            group["lr"] = case.lr * schedule.factor(update)
        rows = torch.randint(len(x), (case.batch,), generator=batches)
        with rng.keyed(rng.keys(seed, update, count=case.batch)):
            loss = model.matching_loss(x[rows].float()).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
    return average.module.eval()


@torch.no_grad()
def judge(case: Case, model: Any, x: Tensor, seed: int) -> dict[str, float]:
    """Return bits/dim with its standard error, and the Fréchet distance with its bootstrap error."""
    scored = case.scored if model.likelihood == "lower bound" else case.by_ode
    nats = torch.cat([-model.log_prob(part.float()).double() for part in x[:scored].split(64)])
    bits = nats / (x[0].numel() * math.log(2))
    if isinstance(model, Diffusion):
        model.sample_steps = STEPS
    samples = torch.cat([model.sample(100, seed=1000 * seed + part) for part in range(SAMPLES // 100)])
    name, levels = case.extractor
    extractor, _ = features.named(name)
    drawn, real = (extractor((part.float() * (levels / 256)).floor()) for part in (samples, x))
    return {
        "bits_per_dim": float(bits.mean()),
        "bits_error": float(bits.std()) / math.sqrt(len(bits)),
        "frechet_distance": frechet.between(drawn, real),
        "frechet_error": frechet.bootstrap_error(drawn, real, seed=0),
    }


def runs(data: str, root: str | None) -> list[dict[str, Any]]:
    """Return the runs of a data set: each model with each seed."""
    case, rows = CASES[data], []
    spec, x, test = splits(data, root)
    for seed in range(case.seeds):
        for title, (name, settings) in MODELS.items():
            model = train(case, name, settings, spec, x, seed)
            rows.append({"data": data, "model": title, "seed": seed} | judge(case, model, test, seed))
            print(rows[-1], flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table: a line for each data set and model, means over the seeds.

    The errors are those of one run: over examples, and by the bootstrap over samples.
    """
    lines = [
        "| data, updates | model | bits/dim | Fréchet distance | seeds |",
        "|---|---|---:|---:|---:|",
    ]
    for data, case in CASES.items():
        for title, (name, _) in MODELS.items():
            mine = [row for row in rows if (row["data"], row["model"]) == (data, title)]
            if not mine:
                continue
            sign = "≤ " if name == "diffusion" else "≈ "
            cells = [data + f", {case.updates}", title]
            for key, error, prefix in (
                ("bits_per_dim", "bits_error", sign),
                ("frechet_distance", "frechet_error", ""),
            ):
                mean, spread = (sum(row[name] for row in mine) / len(mine) for name in (key, error))
                cells.append(f"{prefix}{mean:.3f} ± {spread:.3f}")
            lines.append("| " + " | ".join([*cells, str(len(mine))]) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Run the data sets that are named, and write both files."""
    torch.set_num_threads(1)
    file = PLACE / "diffusion_weighting.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    chosen: dict[str, str | None] = {}
    while arguments:
        name = arguments.pop(0)
        chosen[name] = arguments.pop(0) if name == "mnist" else None
    for data, root in chosen.items():
        rows = [row for row in rows if row["data"] != data] + runs(data, root)
        PLACE.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
        (PLACE / "diffusion_weighting.md").write_text(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:] or ["digits"])
