"""Write results/studies/quickstart_rates.md: the rates, batches and budgets tried for `make quickstart`.

python scripts/quickstart_rates.py [MODEL] ...

The settings of sweeps/quickstart.yaml are chosen by this table. Each row trains one model on digits and reads
the curve of the validation split: nothing is judged, and the test split is not used. Seconds are those of the
processor, of training and validation. Rows that the file beside the table holds are kept; name models to try
theirs again.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from zoo import factory
from zoo.config import compose_run
from zoo.record import read_rows
from zoo.running.data import prepare_data
from zoo.running.fit import Fit
from zoo.running.spec import RunSpec

PLACE = Path(__file__).resolve().parents[1] / "results" / "studies"
COMMON = "data=digits seed=0 logger=none trainer=cpu training.warmup=20 training.validations=3"
CRITERIA = {"val/bits_per_dim": "bits/dim", "val/energy_distance": "energy distance", "val/loss": "loss"}
FREE = "model.spectral.train_tolerance=null"
TRIED: dict[str, list[str]] = {  # batch, updates, learning rate, and what else differs from the defaults
    "pixelcnn": ["64 250 0.01", "64 250 0.02"],
    "realnvp": ["64 350 0.012", "64 350 0.02"],
    "glow": ["64 350 0.01", "64 350 0.02"],
    "vae": ["128 500 0.003", "128 500 0.006"],
    "maf": ["128 700 0.003", "128 700 0.008"],
    "gan": [
        *("64 600 0.002", "64 600 0.004", "64 800 0.0015"),
        "64 800 0.003 training.schedule=cosine",
    ],
    "iresnet": [
        *(f"64 120 0.005 {FREE}", f"64 120 0.015 {FREE}", f"128 150 0.03 {FREE}"),
        f"128 150 0.02 {FREE} model.series.gradient=neumann",
    ],
    "ffjord": [
        *("64 120 0.01", "64 120 0.02"),
        "128 150 0.02 model.solver.train_tolerance=0.01",
        "128 150 0.04 model.solver.train_tolerance=0.01",
    ],
    "diffusion": ["64 500 0.01 training.ema=0.99", "64 500 0.005 training.ema=0.99"],
    "flow_matching": ["64 700 0.01 training.ema=0.99"],
}


def attempt(model: str, tried: str) -> dict[str, Any]:
    """Train a model once; return its criterion on the validation split and the seconds of the processor."""
    batch, updates, lr, *more = tried.split()
    budget = [f"training.batch_size={batch}", f"training.updates={updates}", f"training.lr={lr}"]
    spec = RunSpec.of(compose_run([f"model={model}", *COMMON.split(), *budget, *more]))
    data = prepare_data(spec.data)
    pl.seed_everything(spec.identity.seed, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        fit = Fit(spec, factory.instantiate(spec.model, data.spec), data, directory=Path(folder), show=None)
        started = time.process_time()
        fit.run([])
        seconds = time.process_time() - started
        rows = read_rows(Path(folder))
    name = next(name for name in CRITERIA if any(row.get(name) is not None for row in rows))
    values = [row[name] for row in rows if row.get(name) is not None]
    return {
        "model": model,
        "tried": tried,
        "seconds": round(seconds, 1),
        "criterion": CRITERIA[name],
        "curve": values,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table of all rows, the models in the order in which they are tried."""
    lines = [
        "| model | batch | updates | rate | also | validation, at the end | seconds |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: (list(TRIED).index(row["model"]), row["tried"])):
        batch, updates, lr, *more = row["tried"].split()
        value = f"{row['curve'][-1]:.4f} {row['criterion']}"
        also = ", ".join(f"`{setting}`" for setting in more)
        lines.append(
            f"| {row['model']} | {batch} | {updates} | {lr} | {also} | {value} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(models: list[str]) -> None:
    """Try what is not in the file, and again what belongs to these models."""
    torch.set_num_threads(1)
    file = PLACE / "quickstart_rates.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    rows = [row for row in rows if row["model"] not in models]
    for model, attempts in TRIED.items():
        known = {row["tried"] for row in rows if row["model"] == model}
        for tried in attempts:
            if tried in known:
                continue
            rows.append(attempt(model, tried))
            print(rows[-1], flush=True)
            file.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
            (PLACE / "quickstart_rates.md").write_text(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
