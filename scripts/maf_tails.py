"""Write results/studies/maf_tails.md: how far the density of a MAF falls at its worst point.

python scripts/maf_tails.py [CASE ...]

A ReLU conditioner goes on linearly where it has seen no data: one layer throws a point out, the next one
extrapolates from there, and after a few layers every one stretches it by its largest factor. Each form below
is trained by the recipe of ``training=maximum_likelihood`` (Adam 1e-3 or as the case says, 50 updates of
warm-up, cosine to zero, clip 1), on the same batches, and judged on fresh data: the mean NLL, less the
entropy where it is known, and the least log p. ``maf_tails.json`` holds every run: those that it lacks are
made, of the cases on the command line or of all; delete it to make them again.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import zoo
from zoo.data import Digits
from zoo.data.spec import DataSpec
from zoo.data.toys import TOYS
from zoo.training.schedule import Schedule

PLACE = Path(__file__).resolve().parents[1] / "results" / "studies"
RELU: dict[str, Any] = {"activation": "relu", "batch_norm": False, "input_bound": None}
FORMS: dict[str, dict[str, Any]] = {
    "ReLU": RELU,
    "ReLU, log-scales in (-2, 2)": RELU | {"log_scale_bound": 2.0},
    "tanh": RELU | {"activation": "tanh"},
    "ReLU, batch norm": RELU | {"batch_norm": True},
    "tanh, batch norm": RELU | {"activation": "tanh", "batch_norm": True},
    "ReLU, batch norm, inputs in (-5, 5): the default": {},
}
CHUNK = 5000  # examples that are scored at once


@dataclass(frozen=True)
class Case:
    """Data, a model and a budget.

    Attributes:
        about: title of the case.
        data: function from a seed and a number to examples.
        spec: the data.
        model: name of the model.
        settings: its settings besides the form.
        updates, batch, lr: the budget.
        entropy: subtracted from the NLL, in nats.
        unit: nats of one unit of the table.
        fresh: number of fresh examples.
        seeds: number of training seeds.
        forms: names of the forms that are tried.
    """

    about: str
    data: Callable[[int, int], Tensor]
    spec: DataSpec
    model: str = "maf"
    settings: tuple[tuple[str, Any], ...] = ()
    updates: int = 1000
    batch: int = 128
    lr: float = 1e-3
    entropy: float = 0.0
    unit: float = 1.0
    fresh: int = 100_000
    seeds: int = 2
    forms: tuple[str, ...] = tuple(name for name in FORMS if name != "ReLU, log-scales in (-2, 2)")


def toy(name: str) -> Callable[[int, int], Tensor]:
    """Return a function that draws points of a toy."""

    def draw(seed: int, n: int) -> Tensor:
        return torch.from_numpy(TOYS[name][0](n, np.random.default_rng([1, seed])).astype(np.float32))

    return draw


def mixture(seed: int, n: int) -> Tensor:
    """Draw from ten Gaussians of deviation 0.3 in eight dimensions, with centres from N(0, 4 I)."""
    centres = np.random.default_rng(0).normal(0, 2, (10, 8))
    rng = np.random.default_rng([2, seed])
    points = centres[rng.integers(0, 10, n)] + 0.3 * rng.normal(size=(n, 8))
    return torch.from_numpy(points.astype(np.float32))


def digits(seed: int, n: int) -> Tensor:
    """Return the training digits for seed 0 and the test digits for others, the first ``n``."""
    data = Digits()
    data.setup()
    return data.splits["train" if seed == 0 else "test"][:n]


# ten Gaussians whose overlap is negligible
MIXTURE = math.log(10) + 4 * (math.log(2 * math.pi * math.e) + 2 * math.log(0.3))
GAUSSIANS: dict[str, Any] = {
    "data": toy("8gaussians"),
    "spec": DataSpec((2,)),
    "entropy": TOYS["8gaussians"][1],
}
NARROW = (("layers", 8), ("hidden", (22, 22)))
DIGITS: dict[str, Any] = {
    "data": digits, "spec": DataSpec((1, 8, 8), 17, 10), "updates": 400, "unit": 64 * math.log(2),
    "fresh": 360,
}  # fmt: skip
CASES = {
    "8gaussians": Case("8gaussians, maf", seeds=5, forms=tuple(FORMS), **GAUSSIANS),
    "8gaussians_narrow": Case("8gaussians, maf, 8 layers of [22, 22]", lr=2e-3, settings=NARROW, **GAUSSIANS),
    "8gaussians_mog": Case("8gaussians, maf_mog", model="maf_mog", **GAUSSIANS),
    "mixture": Case(
        "ten Gaussians in 8-D, maf", mixture, DataSpec((8,)), updates=500, batch=256, entropy=MIXTURE
    ),
    "digits": Case("digits, maf, bits/dim", **DIGITS),
    "digits_mog": Case("digits, maf_mog, bits/dim", model="maf_mog", **DIGITS),
}  # fmt: skip


def train(case: Case, form: dict[str, Any], seed: int) -> nn.Module:
    """Return a model after its budget, in evaluation mode, with the statistics of the training set."""
    torch.manual_seed(seed)
    model = zoo.build(case.model, case.spec, **dict(case.settings), **form).train()
    x = case.data(0, 10_000)
    optimizer = torch.optim.Adam(model.parameters(), lr=case.lr)
    schedule = Schedule("cosine", case.updates, 50)
    batches = torch.Generator().manual_seed(seed)
    for update in range(case.updates):
        for group in optimizer.param_groups:
            group["lr"] = case.lr * schedule.factor(update)
        rows = torch.randint(len(x), (case.batch,), generator=batches)
        loss = -model.log_prob(x[rows]).mean() / case.spec.dim
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.on_training_statistics([(x, None)])
    return model.eval()


@torch.no_grad()
def judge(case: Case, model: nn.Module) -> dict[str, float]:
    """Return the mean NLL of fresh data, less the entropy, and the least log p in nats."""
    values = torch.cat([model.log_prob(part).double() for part in case.data(1, case.fresh).split(CHUNK)])
    return {
        "nll": float(-values.mean() - case.entropy) / case.unit,
        "worst": float(values.min()),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table: a line for each case and form."""
    lines = [
        "| data and model | conditioner | NLL − entropy: mean (least to most) | worst log p, nats |",
        "|---|---|---:|---:|",
    ]
    for name, case in CASES.items():
        for form in FORMS:
            mine = [row for row in rows if (row["case"], row["form"]) == (name, form)]
            if not mine:
                continue
            nll, worst = [row["nll"] for row in mine], min(row["worst"] for row in mine)
            spread = f"{min(nll):.4g} to {max(nll):.4g}, {len(nll)} seeds"
            lines.append(f"| {case.about} | {form} | {sum(nll) / len(nll):.4g} ({spread}) | {worst:.3g} |")
    return "\n".join(lines) + "\n"


def main(chosen: list[str]) -> None:
    """Make the runs that are missing, of the chosen cases or of all, and write both files after each."""
    torch.set_num_threads(1)
    file = PLACE / "maf_tails.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    made = {(row["case"], row["form"], row["seed"]) for row in rows}
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in chosen or CASES:
        case = CASES[name]
        for seed, form in itertools.product(range(case.seeds), case.forms):
            if (name, form, seed) in made:
                continue
            row = {"case": name, "form": form, "seed": seed}
            rows.append(row | judge(case, train(case, FORMS[form], seed)))
            print(rows[-1], flush=True)
            file.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
    (PLACE / "maf_tails.md").write_text(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
