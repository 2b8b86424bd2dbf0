"""Runs that were never run, whose records have known effects put in, for tests of claims."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.comparison.claims.decision import Decision, decide
from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.collect import Run
from zoo.record import (
    Cost,
    DataDescription,
    Kind,
    Metric,
    Provenance,
    Record,
    Sampling,
    SamplingOrder,
    Stability,
    Status,
)

Number = float | Callable[[int], float]  # of every seed, or of the seed given
Settings = Mapping[str, Any]  # {"training.lr": 0.001, ...}
DISTANCE = "fd/digits-cnn"
GAN: Settings = {
    "training.lr": 0.001,
    "training.betas": [0.0, 0.99],
    "training.ema": 0.99,
    "training.r1": 1.0,
    "training.augment": [],
    "model.critic_norm": "none",
    "model.truncation": 1.0,
}
WGAN: Settings = {"training.loss": "wasserstein", "training.weight_clip": 0.01}
WGAN_GP: Settings = {"training.loss": "wasserstein", "training.gradient_penalty": 10.0}
BARE: Settings = {"training.betas": [0.5, 0.99], "training.ema": 0.0, "training.r1": 0.0}
ORDERS: Mapping[str, SamplingOrder] = {
    "autoregressive": "sequential",
    "continuous flow": "solver",
    "diffusion": "solver",
}


def around(mean: float, spread: float = 0.05, salt: int = 0) -> Callable[[int], float]:
    """Return a seed's draw from a log-normal about ``mean``, the same in every test run."""
    return lambda seed: mean * math.exp(random.Random(f"{salt}, {seed}").gauss(0, spread))


def simulate(
    model: str,
    family: str,
    *,
    seeds: int = 3,
    settings: Settings | None = None,
    data: str = "digits",
    side: int = 8,
    flat: bool = False,
    protocol: str = "p",
    status: Status = "finished",
    order: SamplingOrder | None = None,
    distance: Number | None = None,
    floor: float | None = None,
    bits: Number | None = None,
    kind: Kind = "exact",
    sharpness: Number | None = None,
    spectrum: Number | None = None,
    precision: Number | None = None,
    recall: Number | None = None,
    latency: Number | None = None,
    depth: float | None = None,
    parameters: int | None = None,
    updates: int | None = None,
    oscillation: Number | None = None,
) -> list[Run]:
    """Return the runs of one configuration, one for each seed; a number that is None was not measured."""
    numbers = {
        DISTANCE: distance,
        "bits_per_dim": bits,
        "sharpness": sharpness,
        "sharpness/spectrum": spectrum,
        "precision/x": precision,
        "recall/x": recall,
    }
    settings = settings or {}
    runs = []
    for seed in range(seeds):
        metrics = {
            name: Metric(value, "1", kind if name == "bits_per_dim" else "estimate", n=100)
            for name, number in numbers.items()
            if (value := _of_seed(number, seed)) is not None and status == "finished"
        }
        if DISTANCE in metrics and floor is not None:
            metrics[DISTANCE].details["floor"] = floor
        swing = _of_seed(oscillation, seed)
        record = Record(
            run_id=f"{model}-{data}{side}-s{seed}-{abs(hash(repr(settings))) % 10**8}{protocol}",
            model=model,
            family=family,
            data=data,
            seed=seed,
            status=status,
            metrics=metrics,
            sampling=Sampling(
                order=order or ORDERS.get(family, "parallel"),
                latency_seconds=_of_seed(latency, seed),
                sequential_evaluations=None if depth is None else round(depth),
            ),
            stability=Stability(oscillations={} if swing is None else {"val/energy_distance": swing}),
            cost=Cost(parameters=parameters, updates=updates),
            provenance=Provenance(
                config={"seed": seed, "data": {"side": side}, **_tree(settings)},
                config_hash_without_seed=repr((model, settings, side)),
                protocol_hash=protocol,
                data=DataDescription(shape=[side * side] if flat else [1, side, side]),
            ),
        )
        runs.append(Run(record, Path("nowhere")))
    return runs


def gan(changes: Settings | None = None, **numbers: Any) -> list[Run]:
    """Return runs of the GAN with all its tricks, some settings changed; see :func:`simulate`."""
    return simulate("gan", "gan", settings={**GAN, **(changes or {})}, **numbers)


def wgan(**numbers: Any) -> list[Run]:
    """Return runs of a WGAN with clipped weights; see :func:`simulate`."""
    return simulate("wgan", "gan", settings=WGAN, **numbers)


def maf(**numbers: Any) -> list[Run]:
    """Return runs of an autoregressive flow; see :func:`simulate`."""
    return simulate("maf", "flow", order="sequential", **numbers)


def judged(key: str, runs: list[Run]) -> Decision:
    """Return the only decision about a claim."""
    (claim,) = [claim for claim in all_claims() if claim.key == key]
    (decision,) = decide(runs, [claim])
    return decision


def verdict(key: str, runs: list[Run]) -> str:
    """Return the verdict about a claim."""
    return judged(key, runs).verdict


def _of_seed(number: Number | None, seed: int) -> float | None:
    return number(seed) if callable(number) else number


def _tree(settings: Settings) -> dict[str, Any]:
    """Return settings with dotted names as nested dictionaries."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        group, _, name = key.partition(".")
        tree.setdefault(group, {})[name] = value
    return tree
