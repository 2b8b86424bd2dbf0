"""Sampling of PixelCNN and PixelCNN++ with cached activations, against a whole pass for each pixel.

All whole passes cost the same, so one is timed and multiplied by their number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from common import medians, write

import zoo
from zoo.models.pixelcnn import PixelCNN
from zoo.models.pixelcnn_pp import PixelCNNPP

SIZES, BATCHES = (8, 16, 28), (1, 64)


def whole_pass(model: PixelCNN | PixelCNNPP, x: torch.Tensor) -> Callable[[], object]:
    network = model.network if isinstance(model, PixelCNNPP) else model.pixels
    assert callable(network)
    return lambda: network(x)


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for name in ("pixelcnn", "pixelcnn_pp"):
        for size in SIZES:
            model = zoo.build(name, zoo.DataSpec((1, size, size), 17)).eval()
            for batch in BATCHES:
                x = torch.zeros(batch, 1, size, size)
                seconds = medians(
                    {
                        "recalled": lambda model=model, batch=batch: model.sample(batch, seed=0),
                        "pass": whole_pass(model, x),
                    },
                    repeats=5,
                    seconds=4,
                )
                naive = seconds["pass"] * size**2
                row = {
                    "model": name,
                    "size": size,
                    "batch": batch,
                    "recalled_seconds": seconds["recalled"],
                    "whole_passes_seconds": naive,
                    "factor": naive / seconds["recalled"],
                }
                rows.append(row)
                print(
                    f"{name:12} {size:3}x{size:<3} batch {batch:3}: {seconds['recalled']:8.3f} s"
                    f" against {naive:8.3f} s, {row['factor']:6.1f} times faster",
                    flush=True,
                )
    print(f"written to {write('pixelcnn_sampling', rows, levels=17)}")


if __name__ == "__main__":
    main()
