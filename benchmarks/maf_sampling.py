"""Sampling one masked affine autoregressive layer, against nflows, zuko and normflows with the same weights.

Two hidden layers of the widths of MAF's tables. The peers get the masks too (their own lose dependencies
where a layer is narrow), and zoo's layer the peer's form of the scale, so that all samples are equal,
which is checked. A ratio is a peer's time to zoo's for the same samples; the least of the three is printed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from common import medians, wait, write
from nflows.transforms import MaskedAffineAutoregressiveTransform
from normflows.flows import MaskedAffineAutoregressive
from torch import Tensor, nn
from torch.nn import functional as F
from zuko.flows.autoregressive import MaskedAutoregressiveTransform

from zoo.models.bijections.autoregressive import MaskedAutoregressive
from zoo.models.networks.made import MADE

WIDTHS = {8: 100, 21: 512, 43: 512, 63: 512, 784: 1024}
TWO, FLOOR, LIMIT = map(torch.tensor, (2.0, 1e-3, math.log(1e-3)))  # as zoo has its own bound


class AsNflows(MaskedAutoregressive):
    """x = (z - shift) / scale with scale = softplus(u) + 1e-3."""

    def scale(self, u: Tensor) -> Tensor:
        return F.softplus(u) + FLOOR

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        u, shift = parameters.unbind(-1)
        scale = self.scale(u)
        return (z - shift) / scale, -scale.log()

    def solve(self, z: Tensor, parameters: Tensor) -> Tensor:
        u, shift = parameters.unbind(-1)
        return (z - shift) / self.scale(u)


class AsNormflows(AsNflows):
    """x = (z - shift) / scale with scale = sigmoid(u + 2) + 1e-3."""

    def scale(self, u: Tensor) -> Tensor:
        return torch.sigmoid(u + TWO) + FLOOR


class AsZuko(MaskedAutoregressive):
    """x = (z - shift) exp(-s), s = u / (1 + |u / ln 1e-3|)."""

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, u = parameters.unbind(-1)
        s = u / (1 + (u / LIMIT).abs())
        return (z - shift) * torch.exp(-s), -s


@torch.no_grad()
def same_weights(made: MADE, layers: list[nn.Module]) -> None:
    """Copy weights and masks of ``made`` into a peer's masked linear layers."""
    for ours, theirs in zip([*made.layers, made.output], layers, strict=True):
        theirs.weight.copy_(ours.weight)
        theirs.bias.copy_(ours.bias)
        theirs.mask.copy_(ours.mask)


def pairs(
    dim: int, width: int, device: str = "cpu"
) -> dict[str, tuple[MaskedAutoregressive, Callable[[Tensor], Tensor]]]:
    """Return zoo's layer and the peer's sampler, by peer."""
    torch.manual_seed(0)
    made = MADE(dim, 2, (width, width)).eval().to(device)
    with torch.no_grad():
        made.output.weight.normal_().mul_(0.3 / math.sqrt(width))
        made.output.bias.normal_(0, 0.1)

    def of_blocks(net: Any) -> list[nn.Module]:
        return [net.initial_layer, net.blocks[0].linear, net.final_layer]

    settings = {"num_blocks": 1, "use_residual_blocks": False}
    nflows = MaskedAffineAutoregressiveTransform(dim, width, **settings).eval().to(device)
    normflows = MaskedAffineAutoregressive(dim, width, **settings).eval().to(device)
    zuko = MaskedAutoregressiveTransform(dim, hidden_features=(width, width)).eval().to(device)
    same_weights(made, of_blocks(nflows.autoregressive_net))
    same_weights(made, of_blocks(normflows.autoregressive_net))
    net = normflows.autoregressive_net  # nflows has no activation between its first layer and a plain block
    net.initial_layer = nn.Sequential(net.initial_layer, nn.ReLU())
    same_weights(made, [layer for layer in zuko.hyper if hasattr(layer, "mask")])
    return {
        "nflows": (AsNflows(made), lambda z: nflows.inverse(z)[0]),
        "normflows": (AsNormflows(made), lambda z: normflows.inverse(z)[0]),
        "zuko": (AsZuko(made), lambda z: zuko().inv(z)),
    }


def repeated(sample: Callable[[Tensor], object], z: Tensor, calls: int) -> Callable[[], None]:
    """Return a job that samples ``calls`` times, so that a cache emptied by another job hardly matters."""

    def job() -> None:
        for _ in range(calls):
            sample(z)

    return job


def compare(made: dict[str, Any], z: Tensor, calls: int) -> dict[str, float]:
    """Return median seconds by sampler; all samples are equal. A peer that takes a second runs once."""
    jobs, slow = {}, {}
    for name, (layer, peer) in made.items():
        wait()
        started = time.perf_counter()
        samples = peer(z)
        wait()
        passed = time.perf_counter() - started
        torch.testing.assert_close(layer.inverse(z)[0], samples, rtol=1e-3, atol=1e-3, msg=name)
        if passed >= 1:
            slow[name] = passed
        else:
            jobs[name] = repeated(peer, z, calls)
        jobs[f"zoo as {name}"] = repeated(layer.invert, z, calls)
    return slow | {name: value / calls for name, value in medians(jobs, seconds=5).items()}


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for dim, width in WIDTHS.items():
        made = pairs(dim, width)
        for batch in (1, 256 if dim < 100 else 16):
            times = compare(made, torch.randn(batch, dim), calls=20 if batch == 1 else 1)
            ratios = {name: round(times[name] / times[f"zoo as {name}"], 1) for name in made}
            rows.append(
                {
                    "dim": dim,
                    "hidden": [width, width],
                    "batch": batch,
                    "seconds": {name: round(value, 6) for name, value in times.items()},
                    "ratios": ratios,
                }
            )
            worst = min(ratios, key=lambda name: ratios[name])
            print(
                f"D={dim:4d} H={width:5d} batch={batch:4d}  zoo {times[f'zoo as {worst}'] * 1e3:9.2f} ms  "
                f"{worst:9} {times[worst] * 1e3:10.2f} ms  at least {ratios[worst]:6.1f} times faster",
                flush=True,
            )
    print(write("maf_sampling", rows, about=__doc__.split("\n")[0]))


if __name__ == "__main__":
    main()
