"""Invented runs: records, curves and samples of nine models on digits.

``python tests/comparison/fake_records.py DIR`` writes them, with seeds, failures and points of the plane.
"""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from zoo.comparison import compare
from zoo.record import Cost, Kind, Metric, Provenance, Record, Sampling, SamplingOrder, Status

UNIFORM = {"dequantisation": "uniform"}
# model: family, kind, bits/dim, Fréchet distance, latency in seconds, sequential evaluations, details
NINE: dict[str, tuple[str, Kind, float | None, float, float, int, dict[str, Any]]] = {
    "realnvp": ("flow", "exact", 2.00, 6.3, 0.0013, 8, UNIFORM),
    "glow": ("flow", "exact", 2.07, 7.3, 0.0021, 9, UNIFORM),
    "maf": ("flow", "exact", 2.25, 8.9, 0.014, 320, UNIFORM),
    "iresnet": ("flow", "estimate", 2.37, 16.6, 0.0058, 84, UNIFORM | {"trace": "Hutchinson, 10 terms"}),
    "ffjord": ("continuous flow", "estimate", 2.24, 13.6, 0.053, 116, UNIFORM | {"tolerance": 1e-5}),
    "vae": ("vae", "lower bound", 1.94, 7.7, 0.0003, 1, {"bound": "IWAE", "k": 64}),
    "gan": ("gan", "none", None, 4.2, 0.0003, 1, {}),
    "pixelcnn": ("autoregressive", "exact", 1.95, 12.0, 0.013, 64, {}),
    "flow_matching": ("continuous flow", "estimate", 1.95, 4.1, 0.044, 68, UNIFORM | {"tolerance": 1e-5}),
}
GAN_REASON = "A gan defines no likelihood; judge GAN by its samples."


def write(
    root: Path,
    model: str,
    family: str,
    kind: Kind = "exact",
    value: float | None = 1.5,
    seed: int = 0,
    status: Status = "finished",
    fd: float = 3.0,
    details: dict[str, Any] | None = None,
    key: str = "",
    latency: float = 0.004,
    evaluations: int = 8,
    data: str = "digits",
    order: SamplingOrder = "parallel",
) -> Record:
    """Write one run below ``root``, and return its record. ``key`` names the configuration."""
    images = data == "digits"
    record = Record(
        run_id="".join(c for c in f"{model}-{data}-s{seed}{key}" if c.isalnum() or c in "-_"),
        model=model,
        family=family,
        data=data,
        seed=seed,
        status=status,
        reason=None if status == "finished" else "Training diverged at update 3:\ntrain/loss is nan.",
        cost=Cost(parameters=125088, updates=1000, images_seen=128000, train_seconds=20.0),
        provenance=Provenance(
            command=f"zoo train model={model}",
            config={"seed": seed},
            config_hash=f"{seed}{model}{key}",
            config_hash_without_seed=f"{model}{key}",
            protocol_hash=f"p-{data}",
            versions={"zoo": "0.1.0"},
        ),
    )
    if status == "finished":
        reason = GAN_REASON if value is None else None
        name, unit = ("bits_per_dim", "bits/dim") if images else ("nll", "nats")
        distance = "fd/digits-cnn" if images else "energy_distance"
        error = None if value is None else 0.012
        record.metrics = {
            name: Metric(
                value, unit, kind, standard_error=error, n=360, details=details or {}, reason=reason
            ),
            distance: Metric(
                fd, "1", n=1000, details={"floor": 0.5, "floor_deviation": 0.05, "extractor": distance}
            ),
        }
        record.sampling = Sampling(
            order=order,
            latency_seconds=latency,
            throughput=8 / latency,
            sequential_evaluations=evaluations,
            device="cpu",
        )
    directory = save(root, record)
    _write_curves(directory, value or 1.5, images and value is not None)
    rng = np.random.default_rng(seed)
    if images:
        samples, real = rng.integers(0, 17, (2, 20, 1, 8, 8), dtype=np.uint8)
    else:
        samples, real = rng.normal(size=(2, 500, 2)).astype(np.float32)
    np.savez(directory / "samples.npz", samples=samples, real=real, levels=17 if images else 0)
    return record


def _write_curves(directory: Path, value: float, likelihood: bool) -> None:
    lines = ["updates,images_seen,wall_seconds,device_seconds,train/loss,val/loss,val/bits_per_dim"]
    for updates in range(50, 1001, 50):
        loss = value + 2 * math.exp(-updates / 150)
        lines.append(f"{updates},{updates * 128},1,1,{loss},{loss},{loss if likelihood else ''}")
    (directory / "curves.csv").write_text("\n".join(lines) + "\n")


def save(root: Path, record: Record) -> Path:
    """Write a record again after a test has changed it; return the run's directory."""
    return record.write(root / record.run_id).parent


def nine(root: Path, seed: int = 0, data: str = "digits") -> Path:
    """Write one run of each of the nine models."""
    rng = np.random.default_rng(seed)
    for model, (family, kind, value, fd, latency, evaluations, details) in NINE.items():
        shift = 0.02 * float(rng.normal()) if seed else 0.0
        bits = None if value is None else value + shift
        write(
            root, model, family, kind, bits, seed, fd=fd + 10 * shift, details=details, latency=latency,
            evaluations=evaluations, data=data,
        )  # fmt: skip
    return root


def write_toy(
    root: Path, model: str, divergence: float, data: str = "rings", direction: str = "lower", **settings: Any
) -> Record:
    """Write one run on a data set of known density, with its divergence and a density on a grid."""
    record = write(root, model, settings.pop("family", "flow"), data=data, **settings)
    record.metrics["kl"] = Metric(divergence, "nats", "exact", direction=direction, n=100)  # type: ignore[arg-type]
    grid = np.random.default_rng(0).random((8, 8)).astype(np.float16)
    np.savez(save(root, record) / "density.npz", density=grid, data=grid, extent=np.zeros(4, np.float32))
    return record


def show(paths: Sequence[Path], out: Path | None = None, **settings: Any) -> str:
    """Compare runs, and return what the terminal shows."""
    text = io.StringIO()
    compare(paths, out, console=Console(file=text, width=220), **settings)
    return text.getvalue()


def line(text: str, model: str) -> str:
    """Return the first line of a table that names a model."""
    return next(row for row in text.splitlines() if re.search(rf"\b{model}\b", row))


def cells(text: str, model: str) -> dict[str, str]:
    """Return a model's row of the first Markdown table, by heading without the kind of ±."""
    headings = next(row for row in text.splitlines() if row.startswith("| model"))
    headings = re.sub(r" ± (sd|se|sd/se)(?= )", "", headings)
    split = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in (headings, line(text, model))]
    return dict(zip(*split, strict=True))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for number in range(3):
        nine(target, number)
    write(target, "maf", "flow", status="diverged", seed=3)
    write(target, "maf", "flow", status="failed", key="-wide")
    nine(target, data="two-moons")
