"""Memory of training against depth: activations kept, or recomputed by inversion.

The most that the graphs of one training pass hold (saved tensors, each storage once, parameters left out) in
MiB, the time of forward and backward, and the relative difference of the gradients in float32 and float64,
for chains of 2 to 64 steps of Glow. Bytes are counted and not measured, so they are the same on any machine.
Gradients are compared on five batches: in float32 a ReLU near zero falls on one side or the other by rounding
alone, and each one that does moves the gradient by a few parts in 100,000, the plain chain's as well (its
float32 is compared with float64).
"""

from __future__ import annotations

import statistics

import torch
from common import medians, write
from torch import Tensor, nn

from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Chain
from zoo.models.bijections.coupling import AffineCoupling, make_partition
from zoo.models.bijections.invertible_conv import InvertibleConv1x1
from zoo.models.bijections.reversible import Reversible
from zoo.models.networks.glow_net import GlowNet

DEPTHS = (2, 4, 8, 16, 32, 64)
SHAPE, WIDTH, BATCH = (12, 8, 8), 64, 16
DRAWS = 5  # batches on which gradients are compared


def steps(depth: int) -> nn.ModuleList:
    """Return steps of Glow that are not the identity."""
    torch.manual_seed(0)
    made = nn.ModuleList()
    for index in range(depth):
        partition = make_partition("channel", SHAPE, flip=index % 2 == 1)
        net = GlowNet(partition.given, 2 * partition.changed, WIDTH)
        made.append(Chain([ActNorm(SHAPE[0]), InvertibleConv1x1(SHAPE[0]), AffineCoupling(partition, net)]))
    for parameter in made.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    return made.eval()


def loss(chain: Chain, x: Tensor) -> Tensor:
    z, log_det = chain(x)
    return (0.5 * z.flatten(1).square().sum(1) - log_det).mean()


def gradient(chain: Chain, x: Tensor) -> Tensor:
    chain.zero_grad()
    loss(chain, x).backward()
    return torch.cat([p.grad.flatten() for p in chain.parameters() if p.grad is not None])


def relative(actual: Tensor, expected: Tensor) -> float:
    """Return the relative difference of two gradients, with two digits."""
    return float(f"{((actual - expected).norm() / expected.norm()).item():.1e}")


class Held:
    """Bytes of saved tensors in graphs, now and at most; every storage counts once while it is in use."""

    def __init__(self, chain: nn.Module) -> None:
        self.own = {p.untyped_storage().data_ptr() for p in chain.parameters()}
        self.count: dict[int, int] = {}
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> Held.Handle:
        return Held.Handle(self, tensor)

    class Handle:
        def __init__(self, held: Held, tensor: Tensor) -> None:
            # detached: an output with its graph would keep that alive by a reference cycle
            self.held, self.tensor = held, tensor.detach()
            storage = tensor.untyped_storage()
            self.key, self.size = storage.data_ptr(), storage.nbytes()
            if self.key not in held.own:
                held.count[self.key] = held.count.get(self.key, 0) + 1
                if held.count[self.key] == 1:
                    held.now += self.size
                    held.most = max(held.most, held.now)

        def __del__(self) -> None:
            if self.key not in self.held.own:
                self.held.count[self.key] -= 1
                if self.held.count[self.key] == 0:
                    self.held.now -= self.size


def peak_mib(chain: Chain, x: Tensor) -> float:
    """Return the peak of the MiB that graphs hold in forward and backward, recomputed graphs included."""
    held = Held(chain)
    with torch.autograd.graph.saved_tensors_hooks(held.pack, lambda handle: handle.tensor):
        value = loss(chain, x)
        value.backward()
    return held.most / 2**20


def main() -> None:
    torch.set_num_threads(1)
    batches = list(torch.randn(DRAWS, BATCH, *SHAPE, generator=torch.Generator().manual_seed(0)))
    x = batches[0]
    rows = []
    for depth in DEPTHS:
        layers = steps(depth)
        plain, lean = Chain(layers).eval(), Reversible(layers).eval()
        seconds = medians(
            {"plain": lambda c=plain: gradient(c, x), "lean": lambda c=lean: gradient(c, x)}, 3, 4.0
        )
        memory = {name: round(peak_mib(c, x), 3) for name, c in (("plain", plain), ("lean", lean))}
        single = [(gradient(plain, b), gradient(lean, b)) for b in batches]
        plain.double(), lean.double()
        double = [(gradient(plain, b.double()), gradient(lean, b.double())) for b in batches]
        errors = [[relative(lean, plain) for plain, lean in pairs] for pairs in (single, double)]
        row = {
            "depth": depth,
            "plain_mib": memory["plain"],
            "memory_efficient_mib": memory["lean"],
            "time_ratio": round(seconds["lean"] / seconds["plain"], 2),
            "gradient_error_float32": statistics.median(errors[0]),
            "gradient_error_float32_worst": max(errors[0]),
            "gradient_error_float64_worst": max(errors[1]),
            "plain_float32_against_float64_worst": max(
                relative(a[0], b[0]) for a, b in zip(single, double, strict=True)
            ),
        }
        rows.append(row)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    about = "peak of saved tensors over forward and backward; time and gradient error against the plain chain"
    print(write("memory", rows, about=about, shape=SHAPE, width=WIDTH, batch=BATCH))


if __name__ == "__main__":
    main()
