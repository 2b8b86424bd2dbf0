"""Sampling a trained MAF by Jacobi iteration, all dimensions at once, beside its sequential sampler.

Autoregressive sampling takes a step for each dimension by construction. The same sample is the fixed point
of a map that changes all dimensions at once (Song et al. 2021, arXiv:2002.03629): exact after as many passes
as there are dimensions, close before. The passes depend on what was learned, so the models are trained, on
digits of three sizes. Rows have the passes of all layers, the largest difference between both samples in grey
levels of 17, and sequential seconds by those of Jacobi iteration.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import medians, write
from torch import Tensor

from zoo.config import compose_run
from zoo.factory import load
from zoo.models.bijections.autoregressive import MaskedAutoregressive
from zoo.models.bijections.base import Chain
from zoo.models.families.flow import Flow
from zoo.running.run import run

SIDES, SEEDS, TOLERANCES, BATCHES = (8, 16, 32), (0, 1, 2), (1e-2, 1e-4), (1, 64)
TRAINING = """
    model=maf data=digits logger=none trainer=cpu training.updates=800 training.lr=0.003
    training.batch_size=128 evaluation.samples=64 evaluation.likelihood_examples=64
    evaluation.pairwise_examples=64 evaluation.training_examples=64 evaluation.latency_repeats=1
    evaluation.throughput_batches=[4] evaluation.throughput_repeats=1
"""


def jacobi(chain: Chain, z: Tensor, tolerance: float) -> tuple[Tensor, int]:
    """Return the data of latents, and the passes of networks that had to wait for one another."""
    total = 0
    for layer in reversed(chain.layers):
        if isinstance(layer, MaskedAutoregressive):
            z, passes = layer.fixed_point(z, tolerance=tolerance)
            total += passes
        else:
            z = layer.invert(z)
    return z, total


def rows_of(side: int, seed: int, updates: int) -> list[dict[str, Any]]:
    """Train a model and return a row for each batch and tolerance."""
    overrides = [*TRAINING.split(), f"data.side={side}", f"seed={seed}", f"training.updates={updates}"]
    with tempfile.TemporaryDirectory() as folder:
        record = run(compose_run(overrides), Path(folder))
        flow = load(folder)
    about = {"dim": side * side, "seed": seed, "bits_per_dim": record.metrics["bits_per_dim"].value}
    return [about | row for row in measured(flow)]


@torch.no_grad()
def measured(flow: Any) -> list[dict[str, Any]]:
    """Return a row for each batch and tolerance."""
    assert isinstance(flow, Flow)
    chain = flow.transform
    assert isinstance(chain, Chain)
    rows = []
    for batch in BATCHES:
        z = flow.base.sample(batch)
        exact = chain.invert(z)
        for tolerance in TOLERANCES:
            x, passes = jacobi(chain, z, tolerance)
            jobs = {
                "sequential": partial(chain.invert, z),
                "jacobi": partial(jacobi, chain, z, tolerance),
            }
            seconds = medians(jobs, repeats=15)
            rows.append(
                {
                    "batch": batch,
                    "tolerance": tolerance,
                    "sequential_steps": sum(
                        z.shape[1] for layer in chain.layers if isinstance(layer, MaskedAutoregressive)
                    ),
                    "jacobi_passes": passes,
                    "largest_difference": float((x - exact).abs().max()),
                    "sequential_by_jacobi": seconds["sequential"] / seconds["jacobi"],
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    torch.manual_seed(0)
    if "--dry-run" in sys.argv:
        rows_of(8, 0, updates=5)
        return
    write(
        "jacobi_sampling",
        [row for side in SIDES for seed in SEEDS for row in rows_of(side, seed, updates=800)],
        training=" ".join(TRAINING.split()),
    )


if __name__ == "__main__":
    main()
