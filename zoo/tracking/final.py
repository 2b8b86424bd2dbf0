"""Log the end of a run to Weights & Biases: the last row, the summary and the artifacts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from zoo.record import (
    AXES,
    CURVES,
    DENSITY,
    LIKELIHOOD,
    PICTURE,
    RECORD,
    SAMPLES,
    Record,
    best_validation,
    read_rows,
)
from zoo.tracking.gallery import SLIDE, gallery_media, slide_row
from zoo.tracking.names import BEST_LOSS, LONGEST_NAME, job_id

BINS = 64  # of a histogram


def log_result(run: Any, record: Record, directory: Path) -> None:
    """Log the last row, with pictures and histograms, and the summary."""
    import wandb

    last: dict[str, Any] = {axis: getattr(record.cost, axis) or 0 for axis in AXES}
    if record.status == "finished":
        last |= _pictures_and_histograms(directory)
        data = record.provenance.data
        last |= gallery_media(directory, (data.levels if data is not None else None) or 256)
    last["slide"] = wandb.Table(columns=list(SLIDE), data=[slide_row(record)])
    norms = [row["train/gradient_norm"] for row in read_rows(directory) if "train/gradient_norm" in row]
    if norms:
        last["histogram/gradient_norm"] = wandb.Histogram(norms)
    run.log(last, step=int(last["updates"]))
    run.summary.update({"status": record.status, "reason": record.reason})
    for name, metric in record.metrics.items():
        run.summary.update({name: metric.value, f"{name}/kind": metric.kind})
    for section in ("cost", "sampling", "stability"):
        values = dataclasses.asdict(getattr(record, section))
        run.summary.update({f"{section}/{key}": v for key, v in values.items() if v is not None})


def _pictures_and_histograms(directory: Path) -> dict[str, Any]:
    """Return the values that only a finished run has."""
    import wandb

    values: dict[str, Any] = {}
    best = best_validation(directory)
    if best is not None:
        values[BEST_LOSS] = best
    if (directory / PICTURE).exists():
        values["samples"] = wandb.Image(str(directory / PICTURE))
    if (directory / DENSITY).exists():
        picture = density_picture(directory / DENSITY)
        values["density"] = wandb.Image(picture, caption="data | model", file_type="png")
    if (directory / SAMPLES).exists():
        for name, histogram in histograms(directory / SAMPLES).items():
            values[f"histogram/{name}"] = wandb.Histogram(np_histogram=histogram)
    if (directory / LIKELIHOOD).exists():
        with np.load(directory / LIKELIHOOD) as arrays:
            nll = -arrays["values"].astype(np.float64)
        histogram = np.histogram(nll[np.isfinite(nll)], BINS)
        values["histogram/nll"] = wandb.Histogram(np_histogram=histogram)
    return values


def histograms(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return counts and bin edges of all values of ``samples`` and of ``real`` examples, in the same bins.

    Args:
        file: a run's ``samples.npz``.
    """
    with np.load(file) as arrays:
        values = {name: arrays[name].astype(np.float64) for name in ("samples", "real")}
        levels = int(arrays["levels"])
    values = {name: array[np.isfinite(array)] for name, array in values.items()}
    both = np.concatenate(list(values.values()))
    low, high = (-0.5, levels - 0.5) if levels else (both.min(), both.max()) if len(both) else (0.0, 1.0)
    edges = np.linspace(low, high, min(levels or BINS, BINS) + 1)
    return {name: np.histogram(array, edges) for name, array in values.items()}


def density_picture(file: Path) -> np.ndarray:
    """Return the densities of data and model side by side on one scale, as ``(H, W, 3)`` bytes.

    Args:
        file: a run's ``density.npz``, whose rows go from the lowest y upwards.
    """
    from matplotlib import colormaps

    with np.load(file) as arrays:
        data, density = (np.flipud(arrays[name].astype(np.float64)) for name in ("data", "density"))
    # The scale is the data's: a narrow peak of the model may be infinite in float16.
    top = float(np.quantile(data[data > 0], 0.95)) if (data > 0).any() else 1.0
    panels = [colormaps["viridis"](np.clip(np.nan_to_num(d) / top, 0, 1))[..., :3] for d in (data, density)]
    gap = np.ones((len(data), 2, 3))
    wide = np.concatenate([panels[0], gap, panels[1]], axis=1)
    return (wide * 255 + 0.5).astype(np.uint8).repeat(3, axis=0).repeat(3, axis=1)


def log_artifacts(run: Any, record: Record, directory: Path, upload_checkpoint: bool) -> None:
    """Log the record with its curves, and the evaluated checkpoint (a reference to it, unless uploaded)."""
    import wandb

    name = job_id(record.run_id)[-(LONGEST_NAME - len("-checkpoint")) :]
    metadata = {"model": record.model, "family": record.family, "data": record.data, "status": record.status}
    artifact = wandb.Artifact(f"{name}-record", type="record", metadata=metadata)
    for file in (RECORD, CURVES):
        if (directory / file).exists():
            artifact.add_file(str(directory / file))
    run.log_artifact(artifact)
    checkpoint = record.provenance.checkpoint
    if not checkpoint or not (directory / checkpoint).exists():
        return
    artifact = wandb.Artifact(f"{name}-checkpoint", type="model", metadata=metadata)
    if upload_checkpoint:
        artifact.add_file(str(directory / checkpoint), policy="immutable")  # no copy is made
    else:
        artifact.add_reference((directory / checkpoint).resolve().as_uri())
    run.log_artifact(artifact)
