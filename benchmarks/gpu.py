"""Benchmarks on a GPU: memory against depth, torch.compile and bf16, and sampling of masked layers.

Memory is the most that CUDA's allocator held above what was there before a training pass of Glow's steps,
kept or recomputed by inversion (memory.py counts the same in bytes of graphs). A compiled pass has the whole
transform, from dequantised data to latents, as one graph of inductor's (``fullgraph``), against the same pass
of plain code: density and gradients in float32 (TF32 off) and under bf16 autocast. Sampling is that of
maf_sampling.py. Each writes a file of its own; ``python benchmarks/gpu.py memory`` makes one. Without CUDA
nothing is measured and nothing written.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from common import medians, wait, write
from maf_sampling import compare, pairs
from memory import gradient, relative, steps
from torch import Tensor

import zoo
from zoo.models.bijections.base import Chain
from zoo.models.bijections.reversible import Reversible
from zoo.models.families.flow import Flow

MIB = 2**20
DEPTHS, SHAPE, BATCH = (2, 4, 8, 16, 32, 64), (12, 32, 32), 64
IMAGES, TABLE = zoo.DataSpec((1, 28, 28), levels=256), zoo.DataSpec((43,))
COMPILED: dict[str, tuple[zoo.DataSpec, dict[str, Any]]] = {
    "nsf_coupling": (TABLE, {}),  # longest compilation first
    "nsf_autoregressive": (TABLE, {}),
    "realnvp": (IMAGES, {"scales": 1}),
    "glow": (IMAGES, {"levels": 1, "steps": 2}),
    "tarflow": (IMAGES, {"blocks": 2}),
    "maf": (TABLE, {}),
}


def peak_mib(chain: Chain, x: Tensor) -> float:
    """Return the peak of allocated MiB above the state before, in which gradients are allocated already."""
    gradient(chain, x)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    gradient(chain, x)
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def memory() -> Iterator[dict[str, Any]]:
    x = torch.randn(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0)).cuda()
    for depth in DEPTHS:
        layers = steps(depth).cuda()
        plain, lean = Chain(layers).eval(), Reversible(layers).eval()
        seconds = medians(
            {"plain": lambda c=plain: gradient(c, x), "lean": lambda c=lean: gradient(c, x)}, 5, 3.0
        )
        row: dict[str, Any] = {"depth": depth}
        row |= {
            "plain_mib": round(peak_mib(plain, x), 2),
            "memory_efficient_mib": round(peak_mib(lean, x), 2),
            "time_ratio": round(seconds["lean"] / seconds["plain"], 2),
            "gradient_error_float32": relative(gradient(lean, x), gradient(plain, x)),
        }
        plain.double(), lean.double()
        small = x[:8].double()
        yield row | {"gradient_error_float64": relative(gradient(lean, small), gradient(plain, small))}


def built(name: str) -> tuple[Flow, Tensor]:
    """Return a flow in training mode whose layers are not identities, and a batch for its transform."""
    spec, settings = COMPILED[name]
    torch.manual_seed(1)
    model = zoo.build(name, spec, **settings)
    assert isinstance(model, Flow)
    if spec.levels:
        x = spec.levels * torch.rand(BATCH, *spec.shape)
    else:
        x = torch.randn(512, *spec.shape)
    with torch.no_grad():
        model.train().transform(x[:64])  # the first batch initialises actnorm
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model.cuda(), x.cuda()


def compiled() -> Iterator[dict[str, Any]]:
    for name in COMPILED:
        torch._dynamo.reset()
        model, x = built(name)
        fast = torch.compile(model.transform, fullgraph=True, dynamic=False)
        row: dict[str, Any] = {"model": name}
        single, _ = densities(model, model.transform, x, False)
        for dtype in ("float32", "bfloat16"):
            half = dtype == "bfloat16"
            started = time.perf_counter()
            values, gradients = densities(model, fast, x, half)
            wait()
            row[f"compile_seconds_{dtype}"] = round(time.perf_counter() - started, 1)
            right, expected = densities(model, model.transform, x, half)
            row |= {
                f"log_det_dtype_{dtype}": str(values.dtype).removeprefix("torch."),
                f"density_error_nats_{dtype}": float(f"{(values - right).abs().max().item():.1e}"),
                f"compiled_gradient_error_{dtype}": relative(gradients, expected),
                f"plain_density_against_float32_nats_{dtype}": round((right - single).abs().mean().item(), 4),
            }
            seconds = medians(
                {
                    "plain": lambda m=model, x=x, half=half: densities(m, m.transform, x, half),
                    "fast": lambda m=model, f=fast, x=x, half=half: densities(m, f, x, half),
                },
                15,
                3.0,
            )
            row[f"speedup_{dtype}"] = round(seconds["plain"] / seconds["fast"], 2)
        yield row


def densities(model: Flow, transform: Callable[..., Any], x: Tensor, half: bool) -> tuple[Tensor, Tensor]:
    """Return log-densities, and the gradient of their mean with respect to all parameters."""
    model.zero_grad()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
        z, log_det = transform(x)
    values = model.base.log_prob(z.float()) + log_det
    (-values.mean()).backward()
    return values.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@torch.no_grad()
def sampling() -> Iterator[dict[str, Any]]:
    for dim, width in {43: 512, 784: 1024}.items():
        made = pairs(dim, width, "cuda")
        for batch in (1, 256):
            times = compare(made, torch.randn(batch, dim, device="cuda"), calls=1)
            yield {
                "dim": dim,
                "hidden": [width, width],
                "batch": batch,
                "seconds": {name: round(value, 6) for name, value in times.items()},
                "ratios": {name: round(times[name] / times[f"zoo as {name}"], 1) for name in made},
            }


PARTS: dict[str, tuple[str, Callable[[], Iterator[dict[str, Any]]]]] = {
    "memory": ("most memory of training Glow's steps, kept or recomputed by inversion", memory),
    "compile": ("density and gradients of plain and of compiled transforms", compiled),
    "sampling": ("sampling one masked affine autoregressive layer, same weights", sampling),
}


def main() -> None:
    if not torch.cuda.is_available():
        print("There is no CUDA device here, so nothing is measured.")
        return
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    for name in sys.argv[1:] or PARTS:
        about, part = PARTS[name]
        rows = []
        for row in part():
            rows.append(row)
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            write(f"gpu_{name}", rows, command=f"python benchmarks/gpu.py {name}", about=about)


if __name__ == "__main__":
    main()
