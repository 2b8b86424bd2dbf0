"""Exact log-determinants of residual blocks: the Jacobian carried along, or D products differentiated.

The same block of 3 layers of width 64, LipSwish before each; ``differentiated`` hides that its network gives
the Jacobian with its output. Density (evaluation mode, no gradients) and a training step (forward and
backward), one thread; ratios are differentiated by carried.
"""

from __future__ import annotations

import torch
from common import medians, write
from torch import Tensor, nn

from zoo.models.bijections.residual import InvertibleResidual, Series
from zoo.models.networks.lipschitz import LipschitzNetwork
from zoo.models.networks.spectral_norm import Spectral

DIMS, HIDDEN, BATCH = (2, 8, 43), (64, 64), 256


class Opaque(nn.Module):
    """A network without a Jacobian in closed form."""

    def __init__(self, g: LipschitzNetwork) -> None:
        super().__init__()
        self.g, self.lipschitz = g, g.lipschitz

    def forward(self, x: Tensor) -> Tensor:
        return self.g(x)


def network(dim: int) -> LipschitzNetwork:
    return LipschitzNetwork(
        (dim,), HIDDEN, Spectral(coefficient=0.98), activation="lipswish", activate_input=True
    )


def step(block: InvertibleResidual, x: Tensor) -> None:
    block.zero_grad()
    z, log_det = block(x)
    (0.5 * z.square().sum(1) - log_det).mean().backward()


@torch.no_grad()
def density(block: InvertibleResidual, x: Tensor) -> Tensor:
    return block(x)[1]


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for dim in DIMS:
        torch.manual_seed(0)
        g, x = network(dim), torch.randn(BATCH, dim)
        blocks = {
            name: InvertibleResidual(branch, Series(exact_dim=dim, eval_exact_dim=dim))
            for name, branch in (("carried", g), ("differentiated", Opaque(g)))
        }
        for job, run in (("density", density), ("train", step)):
            for block in blocks.values():
                block.train(job == "train")
            seconds = medians(
                {name: lambda b=block, f=run, x=x: f(b, x) for name, block in blocks.items()}, 101
            )
            row = {"dim": dim, "job": job, "seconds": {name: round(s, 6) for name, s in seconds.items()}}
            row["ratio"] = round(seconds["differentiated"] / seconds["carried"], 2)
            rows.append(row | {"error_nats": error(blocks, x)})
            print(rows[-1])
    about = "exact log-determinant of a residual block, differentiated by carried along"
    print(write("residual_exact", rows, about=about))


def error(blocks: dict[str, InvertibleResidual], x: Tensor) -> float:
    """Return the largest difference of the two log-determinants, in nats."""
    one, other = (density(block, x) for block in blocks.values())
    return float(f"{(one - other).abs().max().item():.1e}")


if __name__ == "__main__":
    main()
