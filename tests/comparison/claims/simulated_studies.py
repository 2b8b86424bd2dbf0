"""Studies whose truth is known: the runs that claims are about, with effects of a given size."""

from __future__ import annotations

import math
from collections.abc import Callable

from simulated_runs import BARE, WGAN_GP, around, gan, maf, simulate, wgan

from zoo.comparison.collect import Run
from zoo.record import Kind

RATES = (0.0005, 0.002, 0.008)
SIDES = (4, 8, 16, 32)


def blur(vae: float, others: float = 1.0, spread: float = 0.05) -> list[Run]:
    """Return a VAE of one sharpness and a GAN and two flows of another."""
    runs = simulate("vae", "vae", sharpness=around(vae))
    for salt, (model, family) in enumerate((("gan", "gan"), ("realnvp", "flow"), ("glow", "flow"))):
        runs += simulate(model, family, sharpness=around(others, spread, salt + 1))
    return runs


def rates(
    spread_gan: float,
    spread_flow: float,
    *,
    seeds: int = 3,
    lost: tuple[int, ...] = (),
    lost_flow: tuple[int, ...] = (),
    level: float = 5,
    oscillation: tuple[float, float] | None = None,
) -> list[Run]:
    """Return a bare GAN, the GAN and two flows at three learning rates.

    Args:
        spread_gan, spread_flow: how much log distance depends on the rate.
        seeds: of each configuration.
        lost, lost_flow: the rates, by their place, at which the bare GAN and the flows diverge.
        level: the distance of the bare GAN at the middle rate; the flows have 5.
        oscillation: of the bare GAN and of the others in training.
    """
    swings = [around(mean) for mean in oscillation] if oscillation else [None, None]
    runs = []
    for index, lr in enumerate(RATES):
        far = math.exp(index - 1)
        runs += gan(
            {**BARE, "training.lr": lr},
            seeds=seeds,
            distance=around(level * far**spread_gan, salt=index),
            status="diverged" if index in lost else "finished",
            oscillation=swings[0],
        )
        runs += gan(
            {"training.lr": lr}, seeds=seeds, distance=around(5, salt=index + 3), oscillation=swings[1]
        )
        flow = {
            "seeds": seeds,
            "settings": {"training.lr": lr},
            "distance": around(5 * far**spread_flow, salt=index + 6),
            "status": "diverged" if index in lost_flow else "finished",
            "oscillation": swings[1],
        }
        runs += [*simulate("realnvp", "flow", **flow), *maf(**flow)]
    return runs


def critics(clipped: float, penalty: float, spectral: float = 2.0) -> list[Run]:
    """Return a GAN at distance 3, one with a spectral critic, a WGAN, and one with a gradient penalty."""
    return [
        *gan(distance=around(3)),
        *gan({"model.critic_norm": "spectral"}, distance=around(spectral, salt=3)),
        *wgan(distance=around(clipped, salt=1)),
        *simulate("wgan_gp", "gan", settings=WGAN_GP, distance=around(penalty, salt=2)),
    ]


def spectral(plain: float, normalised: float, floor: float | None = 1.0) -> list[Run]:
    return [
        *gan(distance=around(plain), floor=floor),
        *gan({"model.critic_norm": "spectral"}, distance=around(normalised, salt=3), floor=floor),
    ]


def coupling(
    sharpness: float = 1.0,
    *,
    spread: float = 0.02,
    spectrum: float = 1.0,
    distance: float | None = 10.0,
    depth: int = 8,
) -> list[Run]:
    """Return two coupling flows; real examples have the distance 1 and 64 dimensions."""
    return [
        run
        for salt, model in enumerate(("realnvp", "glow"))
        for run in simulate(
            model,
            "flow",
            sharpness=around(sharpness, spread, salt),
            spectrum=around(spectrum, spread, salt + 5),
            distance=None if distance is None else around(distance, salt=salt),
            floor=1.0,
            depth=depth,
        )
    ]


def density_and_speed(bits: float, latency: float, seeds: int = 3, kind: Kind = "exact") -> list[Run]:
    """Return MAF, and Real NVP with 2 bits/dim and a latency of 2 ms."""
    return [
        *maf(bits=around(bits, 0.01), latency=around(latency), kind=kind, seeds=seeds),
        *simulate("realnvp", "flow", bits=around(2, 0.01, 1), latency=around(0.002, salt=2), seeds=seeds),
    ]


def masks(
    bits: float,
    latency: float,
    seeds: int = 3,
    kind: Kind = "exact",
    parameters: tuple[int, int] = (900, 1000),
) -> list[Run]:
    """Return two flows that differ in masking alone; the coupling one has 2 bits/dim, 2 ms a sample."""
    common = {"seeds": seeds, "flat": True}
    numbers = {"bits": around(bits, 0.01), "latency": around(latency), "kind": kind, **common}
    others = {"bits": around(2, 0.01, 1), "latency": around(0.002, salt=2), **common}
    spline = {"model.bins": 8, "model.bound": 3.0, "model.blocks": 2}
    return [
        *simulate(
            "nsf_autoregressive", "flow", order="sequential", settings=spline,
            parameters=parameters[0], **numbers,
        ),
        *simulate("nsf_coupling", "flow", settings=spline, parameters=parameters[1], **others),
    ]  # fmt: skip


def restricted(
    parameters: int = 5000, updates: int = 1000, far: float = 2.0, near: float = 1.0, without: str = ""
) -> list[Run]:
    """Return a continuous flow with 4,800 parameters and 1,000 updates, and a discrete flow of each kind."""
    runs = simulate("ffjord", "continuous flow", distance=around(near), parameters=4800, updates=1000)
    numbers = {"parameters": parameters, "updates": updates}
    runs += simulate("realnvp", "flow", distance=around(far, salt=1), **numbers)
    runs += maf(distance=around(far, salt=2), **numbers)
    runs += simulate("residual_flow", "flow", order="solver", distance=around(far, salt=3), **numbers)
    return [run for run in runs if run.record.model != without]


def widths(small_bits: float, large_seconds: float) -> list[Run]:
    """Return a continuous flow with a narrow field and one with a wide field of 2 bits/dim."""
    narrow = {"bits": around(small_bits, 0.01), "latency": around(0.01), "parameters": 100}
    wide = {"bits": around(2, 0.01, 1), "latency": around(large_seconds, salt=2), "parameters": 900}
    return [
        *simulate("ffjord", "continuous flow", settings={"model.channels": [8, 8]}, **narrow),
        *simulate("ffjord", "continuous flow", settings={"model.channels": [64, 64]}, **wide),
    ]


def matched(bits: float, seconds: float = 40, parameters: int = 1000) -> list[Run]:
    """Return a continuous flow trained by its likelihood for 40 s, 2.5 bits/dim, and one by matching."""
    by_likelihood = {"training._target_": "zoo.training.likelihood.MaximumLikelihood"}
    by_matching = {"training._target_": "zoo.training.matching.Matching"}
    return [
        *simulate(
            "ffjord", "continuous flow", settings={**by_likelihood, "training.max_seconds": 40},
            kind="estimate", bits=around(2.5, 0.01), parameters=1000, updates=300,
        ),
        *simulate(
            "flow_matching", "continuous flow", settings={**by_matching, "training.max_seconds": seconds},
            kind="estimate", bits=around(bits, 0.01, 1), parameters=parameters, updates=9000,
        ),
    ]  # fmt: skip


def ranked(distances: list[float]) -> list[Run]:
    """Return models with rising bits/dim and these distances."""
    runs = []
    for index, distance in enumerate(distances):
        bits = around(2 + index / 4, 0.002, index)
        runs += simulate(f"m{index}", "flow", bits=bits, distance=around(distance, salt=index))
    return runs


def scaling(
    depth: Callable[[int], float],
    others: Callable[[int], float] = lambda d: 8,
    sides: tuple[int, ...] = SIDES,
    updates: int | None = None,
) -> list[Run]:
    """Return runs at several sizes; ``depth`` and ``others``: sequential evaluations by dimensions."""
    runs = []
    for side in sides:
        d = side * side
        one = {"seeds": 1, "side": side, "updates": updates}
        runs += simulate("pixelcnn", "autoregressive", depth=depth(d), latency=1e-4 * d**1.1, **one)
        runs += maf(depth=5 * depth(d), latency=1e-5 * d**1.3, **one)
        wobble = 1 + side % 3 / 50
        runs += simulate("realnvp", "flow", depth=others(d), latency=1e-3 * d**0.31 * wobble, **one)
        runs += simulate("gan", "gan", depth=1, latency=1e-3 * d**0.2, **one)
        runs += simulate("ffjord", "continuous flow", depth=50 + side % 7, latency=0.1 * d**0.3, **one)
    return runs
