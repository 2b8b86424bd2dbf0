"""Coupling flows against peers with networks of the same size: density, training step, sampling.

Real NVP (nflows, zuko), RQ-NSF (C) (nflows) and a Glow step (normflows). Ratios are ours by theirs, below 1
is faster; medians of interleaved runs on one thread.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from common import medians, write
from torch import Tensor, nn

from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.coupling import AffineCoupling, bounded, make_partition
from zoo.models.bijections.invertible_conv import InvertibleConv1x1
from zoo.models.bijections.spline_coupling import SplineCoupling
from zoo.models.networks.glow_net import GlowNet
from zoo.models.networks.mlp import MLP
from zoo.models.networks.residual_net import ResidualMLP

DIM, LAYERS, HIDDEN, BATCH, BINS = 43, 5, 128, 512, 8
CHANNELS, SIDE, IMAGES = 12, 16, 16
Job = Callable[[], object]


def jobs(name: str, forward: Callable, inverse: Callable, module: nn.Module, x: Tensor) -> dict[str, Job]:
    """Return the jobs density, training step and sampling of a map that returns value and log-determinant."""

    def density() -> None:
        with torch.no_grad():
            forward(x)

    def step() -> None:
        module.zero_grad()
        z, log_det = forward(x)
        (0.5 * z.flatten(1).square().sum(1) - log_det).mean().backward()

    def sample() -> None:
        with torch.no_grad():
            inverse(x)

    return {f"density/{name}": density, f"train/{name}": step, f"sample/{name}": sample}


def ours(chain: Bijection, x: Tensor) -> dict[str, Job]:
    return jobs("zoo", chain.forward, chain.inverse, chain, x)


def affine(x: Tensor) -> dict[str, Job]:
    from nflows.transforms import CompositeTransform
    from nflows.transforms.coupling import AffineCouplingTransform
    from zuko.flows import RealNVP

    class Net(nn.Module):
        def __init__(self, given: int, out: int) -> None:
            super().__init__()
            self.net = MLP(given, out, [HIDDEN, HIDDEN], nn.ReLU)

        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return self.net(x)

    layers, theirs = [], []
    for index in range(LAYERS):
        partition = make_partition("half", (DIM,), flip=index % 2 == 1)
        net = MLP(partition.given, 2 * partition.changed, [HIDDEN, HIDDEN], nn.ReLU)
        layers.append(AffineCoupling(partition, net))
        theirs.append(AffineCouplingTransform((torch.arange(DIM) + index) % 2, Net))
    nflows = CompositeTransform(theirs)
    zuko = RealNVP(DIM, transforms=LAYERS, hidden_features=(HIDDEN, HIDDEN))
    return (
        ours(Chain(layers), x)
        | jobs("nflows", nflows.forward, nflows.inverse, nflows, x)
        | jobs(
            "zuko",
            lambda x: zuko().transform.call_and_ladj(x),
            lambda z: zuko().transform.inv.call_and_ladj(z),
            zuko,
            x,
        )
    )


def spline(x: Tensor) -> dict[str, Job]:
    from nflows.transforms import CompositeTransform
    from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform

    class Net(nn.Module):
        def __init__(self, given: int, out: int) -> None:
            super().__init__()
            self.net = ResidualMLP(given, out, HIDDEN, 1)
            self.hidden_features = HIDDEN

        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return self.net(x) * 1  # nflows divides the output in place

    layers, theirs = [], []
    for index in range(LAYERS):
        partition = make_partition("half", (DIM,), flip=index % 2 == 1)
        net = ResidualMLP(partition.given, partition.changed * (3 * BINS - 1), HIDDEN, 1)
        layers.append(SplineCoupling(partition, net, BINS, 3.0))
        mask = (torch.arange(DIM) + index) % 2
        theirs.append(
            PiecewiseRationalQuadraticCouplingTransform(mask, Net, BINS, tails="linear", tail_bound=3.0)
        )
    nflows = CompositeTransform(theirs)
    return ours(Chain(layers), x) | jobs("nflows", nflows.forward, nflows.inverse, nflows, x)


def glow(x: Tensor) -> dict[str, Job]:
    from normflows.flows import GlowBlock

    partition = make_partition("channel", (CHANNELS, SIDE, SIDE))
    net = GlowNet(partition.given, 2 * partition.changed, HIDDEN)
    coupling = AffineCoupling(partition, net, bounded("sigmoid"), shift_first=True)
    step = Chain([ActNorm(CHANNELS), InvertibleConv1x1(CHANNELS), coupling])
    block = GlowBlock(CHANNELS, HIDDEN)
    block.inverse(x)  # the first batch initialises the normalisation
    step(x)
    return ours(step, x) | jobs("normflows", block.inverse, block.forward, block, x)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vectors, images = torch.randn(BATCH, DIM), torch.randn(IMAGES, CHANNELS, SIDE, SIDE)
    rows = []
    for kind, make, x in (
        ("affine", affine, vectors),
        ("spline", spline, vectors),
        ("glow step", glow, images),
    ):
        seconds = medians(make(x), 15, 25.0)
        for task in ("density", "train", "sample"):
            mine = seconds[f"{task}/zoo"]
            for key, theirs in seconds.items():
                peer = key.partition("/")[2]
                if key.startswith(f"{task}/") and peer != "zoo":
                    row = {
                        "flow": kind,
                        "task": task,
                        "peer": peer,
                        "zoo_ms": round(1e3 * mine, 3),
                        "peer_ms": round(1e3 * theirs, 3),
                        "ratio": round(mine / theirs, 2),
                    }
                    rows.append(row)
                    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    settings = {"dim": DIM, "layers": LAYERS, "hidden": HIDDEN, "batch": BATCH, "bins": BINS}
    print(write("coupling", rows, about="milliseconds, and ours by theirs", **settings))


if __name__ == "__main__":
    main()
