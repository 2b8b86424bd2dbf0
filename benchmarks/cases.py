"""The cases of ``python -m benchmarks``: zoo's models, peers of the same size, and their bare arithmetic.

Peers have networks of the same widths and activations as zoo, as few additions as they allow (no
normalisation and no learned mixing where zoo has none). The flows are here, the other models in
``other_cases.py``. A peer that is not installed, or fails, is reported with its reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import floors
import torch
from jobs import (
    Flow,
    Jobs,
    Make,
    WithContext,
    compiled,
    dense,
    normal,
    of_freia,
    of_nflows,
    of_normflows,
    of_zuko,
    ours,
)
from measured import COMPILED
from other_cases import convnet, diffusion, matching, vae
from suite import FLOOR, ZOO, Comparison, seconds_of
from torch import Tensor, nn

import zoo


def realnvp(batch: int, dim: int = 43, layers: int = 10, width: int = 100) -> dict[str, Make]:
    """Real NVP: affine couplings with dense networks of two hidden layers, no normalisation."""
    x, hidden, half = torch.randn(batch, dim), (width, width), dim // 2

    def nflows() -> Jobs:
        from nflows.transforms.coupling import AffineCouplingTransform

        def net(given: int, out: int) -> nn.Module:
            return WithContext(dense(given, hidden, out))

        masks = [(torch.arange(dim) + i) % 2 for i in range(layers)]
        return of_nflows([AffineCouplingTransform(mask, net) for mask in masks], (dim,)).jobs(x)

    def normflows() -> Jobs:
        from normflows.flows import AffineCouplingBlock, Permute

        flows: list[Any] = []
        for _ in range(layers):
            net = dense(dim - half, hidden, 2 * half)
            flows += [AffineCouplingBlock(net, scale_map="exp"), Permute(dim, mode="swap")]
        return of_normflows(flows, dim).jobs(x)

    def zuko() -> Jobs:
        from zuko.flows import RealNVP

        flow = RealNVP(dim, transforms=layers, hidden_features=hidden, activation=nn.SiLU)
        return of_zuko(flow).jobs(x)

    def freia() -> Jobs:
        from FrEIA.framework import SequenceINN
        from FrEIA.modules import GLOWCouplingBlock

        network = SequenceINN(dim)
        for _ in range(layers // 2):  # a block is two couplings
            network.append(GLOWCouplingBlock, subnet_constructor=lambda a, b: dense(a, hidden, b), clamp=2.0)
        return of_freia(network, dim).jobs(x)

    def floor() -> Jobs:
        shapes = [floors.mlp(dim - half, hidden, 2 * half), floors.mlp(half, hidden, 2 * (dim - half))]
        return floors.products([shape for i in range(layers) for shape in shapes[i % 2]], batch)

    spec = zoo.DataSpec((dim,))
    model = zoo.build("realnvp", spec, layers=layers, hidden=hidden, normalisation="none")
    return {
        ZOO: lambda: ours(model).jobs(x),
        COMPILED: lambda: compiled(model).jobs(x),
        "nflows": nflows,
        "normflows": normflows,
        "zuko": zuko,
        "FrEIA": freia,
        FLOOR: floor,
    }


def spline(batch: int, dim: int = 43, layers: int = 4, width: int = 64, bins: int = 8) -> dict[str, Make]:
    """RQ-NSF (C): spline couplings, residual networks of two blocks and LU layers."""
    x = torch.randn(batch, dim)

    def nflows() -> Jobs:
        from nflows.nn.nets import ResidualNet
        from nflows.transforms import CompositeTransform, LULinear, RandomPermutation
        from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform

        def net(given: int, out: int) -> nn.Module:
            return ResidualNet(given, out, width, num_blocks=2)

        settings = {
            "num_bins": bins,
            "tails": "linear",
            "tail_bound": 3.0,
            "apply_unconditional_transform": True,
        }
        parts: list[Any] = []
        for i in range(layers):
            mask = (torch.arange(dim) + i) % 2
            linear = CompositeTransform([RandomPermutation(dim), LULinear(dim, identity_init=True)])
            parts += [linear, PiecewiseRationalQuadraticCouplingTransform(mask, net, **settings)]
        return of_nflows(parts, (dim,)).jobs(x)

    def normflows() -> Jobs:
        from normflows.flows import CoupledRationalQuadraticSpline, LULinearPermute

        flows: list[Any] = []
        for i in range(layers):
            block = CoupledRationalQuadraticSpline(dim, 2, width, num_bins=bins, reverse_mask=i % 2 == 1)
            flows += [block, LULinearPermute(dim)]
        return of_normflows(flows, dim).jobs(x)

    def floor() -> Jobs:
        shapes: list[floors.Shape] = []
        for i in range(layers):
            given = (dim + 1) // 2 if i % 2 == 0 else dim // 2
            out = (dim - given) * (3 * bins - 1)
            shapes += [(dim, dim), *floors.mlp(given, [width] * 5, out)]
        return floors.products([*shapes, (dim, dim)], batch)

    model = zoo.build("nsf_coupling", zoo.DataSpec((dim,)), steps=layers, hidden=width, bins=bins)
    return {
        ZOO: lambda: ours(model).jobs(x),
        COMPILED: lambda: compiled(model).jobs(x),
        "nflows": nflows,
        "normflows": normflows,
        FLOOR: floor,
    }


def maf(batch: int, dim: int = 43, layers: int = 5, width: int = 100) -> dict[str, Make]:
    """MAF: masked affine layers of two hidden layers, no batch normalisation.

    normflows' layer is an IAF; it takes densities in its fast direction, and samples in the slow one. Its
    network lacks the activation after the first layer, which is added, and its order of the dimensions is
    permuted from layer to layer as in the others.
    """
    x, hidden = torch.randn(batch, dim), (width, width)

    def nflows() -> Jobs:
        from nflows.transforms import MaskedAffineAutoregressiveTransform, ReversePermutation

        parts: list[Any] = []
        for _ in range(layers):
            layer = MaskedAffineAutoregressiveTransform(dim, width, num_blocks=1, use_residual_blocks=False)
            parts += [layer, ReversePermutation(dim)]
        return of_nflows(parts, (dim,)).jobs(x)

    def normflows() -> Jobs:
        from normflows.flows import MaskedAffineAutoregressive, Permute

        parts: list[Any] = []
        for _ in range(layers):
            layer = MaskedAffineAutoregressive(dim, width, num_blocks=1, use_residual_blocks=False)
            net = layer.autoregressive_net
            net.initial_layer = nn.Sequential(net.initial_layer, nn.ReLU(inplace=True))
            parts += [layer, Permute(dim)]
        return of_normflows(parts[:-1], dim, forward=True).jobs(x)

    def zuko() -> Jobs:
        from zuko.flows import MAF

        return of_zuko(MAF(dim, transforms=layers, hidden_features=hidden)).jobs(x)

    settings = {"layers": layers, "hidden": hidden, "batch_norm": False, "input_bound": None}
    model = zoo.build("maf", zoo.DataSpec((dim,)), **settings)
    return {
        ZOO: lambda: ours(model).jobs(x),
        COMPILED: lambda: compiled(model).jobs(x),
        "nflows": nflows,
        "normflows": normflows,
        "zuko": zuko,
        FLOOR: lambda: floors.products(floors.mlp(dim, hidden, 2 * dim) * layers, batch),
    }


def maf_wide(batch: int) -> dict[str, Make]:
    """MAF of the widths of its paper's tables."""
    return maf(batch, 63, 10, 512)


def glow(batch: int, levels: int = 3, steps: int = 8, width: int = 128) -> dict[str, Make]:
    """Glow with the paper's three convolutions, on continuous images, so that nothing is dequantised."""
    x = torch.randn(batch, 3, 32, 32)

    def conv(given: int, out: int) -> nn.Sequential:
        last = nn.Conv2d(width, out, 3, padding=1)
        nn.init.zeros_(last.weight)
        first, middle = nn.Conv2d(given, width, 3, padding=1), nn.Conv2d(width, width, 1)
        return nn.Sequential(first, nn.ReLU(inplace=True), middle, nn.ReLU(inplace=True), last)

    def sizes() -> Iterator[tuple[int, int]]:
        for level in range(levels):
            yield 12 * 2**level, 16 // 2**level

    def nflows() -> Jobs:
        from nflows.distributions import StandardNormal
        from nflows.flows.base import Flow as Whole
        from nflows.transforms import (
            ActNorm,
            AffineCouplingTransform,
            CompositeTransform,
            MultiscaleCompositeTransform,
            OneByOneConvolution,
            SqueezeTransform,
        )

        whole = MultiscaleCompositeTransform(levels)
        for channels, side in sizes():
            mask = (torch.arange(channels) >= channels // 2).int()
            parts: list[Any] = [SqueezeTransform()]
            for _ in range(steps):
                coupling = AffineCouplingTransform(mask, lambda a, b: WithContext(conv(a, b)))
                parts += [ActNorm(channels), OneByOneConvolution(channels), coupling]
            whole.add_transform(CompositeTransform(parts), (channels, side, side))
        flow = Whole(whole, StandardNormal((x[0].numel(),)))
        return Flow(flow, flow.log_prob, flow.sample).jobs(x)

    def normflows() -> Jobs:
        import normflows as nf

        bases, merges, flows = [], [], []
        for level, (channels, side) in enumerate(reversed(list(sizes()))):
            flows.append([nf.flows.GlowBlock(channels, width) for _ in range(steps)] + [nf.flows.Squeeze()])
            if level > 0:
                merges.append(nf.flows.Merge())
            shape = (channels if level == 0 else channels // 2, side, side)
            bases.append(nf.distributions.DiagGaussian(shape, trainable=False))
        flow = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
        return Flow(flow, lambda x: flow.log_prob(x, None), lambda n: flow.sample(n)).jobs(x)

    def floor() -> Jobs:
        layers: list[floors.Convolution] = []
        for channels, side in sizes():
            half = channels // 2
            step = [(channels, channels, 1, side), (width, half, 3, side), (width, width, 1, side)]
            layers += [*step, (channels, width, 3, side)] * steps
        return floors.convolutions(layers, batch)

    model = zoo.build("glow", zoo.DataSpec((3, 32, 32)), levels=levels, steps=steps, width=width, blocks=0)
    return {
        ZOO: lambda: ours(model).jobs(x),
        COMPILED: lambda: compiled(model).jobs(x),
        "nflows": nflows,
        "normflows": normflows,
        FLOOR: floor,
    }


def residual(batch: int, dim: int = 43, blocks: int = 4, width: int = 128) -> dict[str, Make]:
    """Residual flow: zoo's density is exact, normflows' an estimate; inverses by fixed points."""
    x, hidden = torch.randn(batch, dim), (width,) * 3

    def normflows() -> Jobs:
        from normflows.flows import Residual
        from normflows.nets import LipschitzMLP

        flows = []
        for _ in range(blocks):
            net = LipschitzMLP([dim, *hidden, dim], lipschitz_const=0.98, init_zeros=False)
            flows.append(Residual(net))
            block = flows[-1].iresblock
            solve = block._inverse_fixed_point
            # it stops at |change|^2 < atol + rtol |y|
            block._inverse_fixed_point = lambda y, solve=solve: solve(y, atol=1e-12, rtol=0.0)
        flow = of_normflows(flows, dim)
        flow.draw = lambda n: flow.module.forward(torch.randn(n, dim))
        return flow.jobs(x)

    model = zoo.build("residual_flow", zoo.DataSpec((dim,)), blocks=blocks, scales=1, hidden=hidden)
    return {ZOO: lambda: ours(model).jobs(x), "normflows": normflows}


def ffjord(batch: int, dim: int = 43, width: int = 64) -> dict[str, Make]:
    """FFJORD with exact traces and one tolerance, 1e-5; torchdiffeq with D vector-Jacobian products."""
    from zoo.models.bijections.continuous import Solver

    x = torch.randn(batch, dim)

    def zuko() -> Jobs:
        from zuko.flows import CNF

        return of_zuko(CNF(dim, hidden_features=(width, width), atol=1e-5, rtol=1e-5, exact=True)).jobs(x)

    def torchdiffeq() -> Jobs:
        from continuous import torchdiffeq_brute_force

        from zoo.models.networks.vector_field import DenseField

        field = DenseField(dim, (width, width))
        run = torchdiffeq_brute_force(field)

        def log_prob(x: Tensor) -> Tensor:
            z, log_det = run(x)
            return normal(z) + log_det

        return Flow(field, log_prob, None).jobs(x)

    solver = Solver(atol=1e-5, rtol=1e-5, train_tolerance=1e-5)
    model = zoo.build("ffjord", zoo.DataSpec((dim,)), hidden=(width, width), solver=solver)
    return {ZOO: lambda: ours(model).jobs(x), "zuko": zuko, "torchdiffeq": torchdiffeq}


# A case and its batch sizes. At 1024 a peer's training step of FFJORD takes about ten seconds, and a step of
# Glow or of a U-Net on a whole core takes some too.
CASES: dict[str, tuple[Callable[[int], dict[str, Make]], tuple[int, ...]]] = {
    "realnvp": (realnvp, (1, 64, 1024)),
    "nsf": (spline, (1, 64, 1024)),
    "maf": (maf, (1, 64, 1024)),
    "maf_wide": (maf_wide, (1, 64, 1024)),
    "glow": (glow, (1, 32)),
    "residual": (residual, (1, 64, 1024)),
    "ffjord": (ffjord, (1, 64, 256)),
    "matching": (matching, (1, 64, 1024)),
    "vae": (vae, (1, 64, 1024)),
    "diffusion": (diffusion, (1, 16)),
    "convnet": (convnet, (1, 128)),
}
PACKAGES = {
    "nflows": "nflows",
    "normflows": "normflows",
    "zuko": "zuko",
    "FrEIA": "FrEIA",
    "torchdiffeq": "torchdiffeq",
    "torchcfm": "torchcfm",
    "pythae": "pythae",
    "lucidrains": "denoising_diffusion_pytorch",
}
COMPILED_FROM = 2  # the least batch of which zoo's compiled steps are measured


def comparisons(
    name: str, batch: int, peers: list[str] | None = None, compiling: bool = False
) -> list[Comparison]:
    """Return the comparisons of a case for one batch size, by task.

    Args:
        name: a key of :data:`CASES`.
        batch: batch size.
        peers: peers to measure; None for all.
        compiling: also measure zoo's density and training step as ``training.compile=true`` compiles them, of
            batches of :data:`COMPILED_FROM` or more.
    """
    torch.manual_seed(0)
    found: dict[str, Jobs] = {}
    missing: dict[str, str] = {}
    for who, make in CASES[name][0](batch).items():
        if who in (ZOO, FLOOR):
            found[who] = make()
        elif (compiling and batch >= COMPILED_FROM) if who == COMPILED else (peers is None or who in peers):
            try:
                if who != COMPILED:
                    importlib.import_module(PACKAGES[who])
                made = make()
                found[who] = {task: job._replace(first=seconds_of(job.run)) for task, job in made.items()}
            except Exception as error:  # whatever a peer raises, the others are measured
                missing[who] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return [
        Comparison(
            name, task, batch, {who: jobs[task] for who, jobs in found.items() if task in jobs}, missing
        )
        for task in found[ZOO]
    ]
