"""Memory of training a residual flow against depth: activations kept, or recomputed by inversion.

Bytes that graphs hold at most (see memory.py), the time of forward and backward, and the relative difference
of the gradients in float32 and float64, for residual flows of 2 to 32 blocks on images. Blocks are trained as
Chen et al. 2019 train them, by a roulette's series with Neumann gradients, under the same random numbers.
"""

from __future__ import annotations

import torch
from common import medians, write
from memory import gradient, peak_mib, relative
from torch import Tensor, nn

import zoo
from zoo.models.core import rng

DEPTHS = (2, 4, 8, 16, 32)
SHAPE, WIDTH, BATCH = (3, 16, 16), 32, 8
DTYPES = torch.float32, torch.float64


class Body(nn.Module):
    """The blocks of a residual flow in training mode, with the same noise in every pass."""

    def __init__(self, depth: int, memory_efficient: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        model = zoo.build(
            "residual_flow", zoo.DataSpec(SHAPE, levels=256),
            blocks=depth, scales=1, width=WIDTH, memory_efficient=memory_efficient,
        )  # fmt: skip
        self.layers = model.transform.get_submodule("layers.1")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with rng.keyed(rng.keys(1, count=len(x))):
            return self.layers(x)


def main() -> None:
    torch.set_num_threads(1)
    x = torch.randn(BATCH, *SHAPE)
    rows = []
    for depth in DEPTHS:
        plain, lean = Body(depth, False), Body(depth, True)
        with torch.no_grad():
            for body in (plain, lean):
                body.train()(x)  # the first batch initialises actnorm
        lean.load_state_dict(plain.state_dict())
        seconds = medians(
            {"plain": lambda m=plain: gradient(m, x), "lean": lambda m=lean: gradient(m, x)}, 3, 3.0
        )
        memory = {name: round(peak_mib(m, x), 3) for name, m in (("plain", plain), ("lean", lean))}
        lean.load_state_dict(plain.state_dict())
        plain.train(), lean.train()  # both repeat the power iterations from the same vectors
        errors = [
            relative(*(gradient(body.to(dtype), x.to(dtype)) for body in (lean, plain))) for dtype in DTYPES
        ]
        row = {
            "depth": depth,
            "plain_mib": memory["plain"],
            "memory_efficient_mib": memory["lean"],
            "time_ratio": round(seconds["lean"] / seconds["plain"], 2),
            "gradient_error_float32": errors[0],
            "gradient_error_float64": errors[1],
        }
        rows.append(row)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    about = "peak of saved tensors over forward and backward; time and gradient error against the plain chain"
    print(write("residual_memory", rows, about=about, shape=SHAPE, width=WIDTH, batch=BATCH))


if __name__ == "__main__":
    main()
