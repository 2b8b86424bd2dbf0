"""The aims of the comparison with peers, as data: what zoo's speed is to reach, and in which unit."""

from __future__ import annotations

from typing import Literal, NamedTuple

PEER: Literal["peer"] = "peer"  # time of the fastest peer, divided by zoo's
SHARE: Literal["share"] = "share"  # zoo's share of the bare arithmetic's speed
COMPILED: Literal["compiled"] = "compiled"  # time of zoo without torch.compile, divided by its time with it
UNITS = {
    PEER: "time of the fastest peer by zoo's",
    SHARE: "share of the bare arithmetic's speed",
    COMPILED: "eager time by compiled",
}


class Aim(NamedTuple):
    """An aim of a case's task: the least value; ``batches`` None stands for every batch measured."""

    case: str
    task: str
    batches: tuple[int, ...] | None
    unit: Literal["peer", "share", "compiled"]
    least: float


def _of(
    case: str, batches: tuple[int, ...] | None, unit: Literal["peer", "share", "compiled"], **tasks: float
) -> list[Aim]:
    return [Aim(case, task, batches, unit, least) for task, least in tasks.items()]


AIMS: list[Aim] = [
    *_of("realnvp", (1024,), PEER, density=1.3, train=1.5, sample=1.3),
    *_of("realnvp", (1024,), SHARE, density=0.4, train=0.4, sample=0.4),
    *_of("realnvp", (64,), PEER, density=1.3, train=1.3, sample=1.3),
    *_of("realnvp", (64,), SHARE, density=0.2, train=0.2, sample=0.2),
    *_of("realnvp", (64, 1024), COMPILED, train=1.4),
    *_of("maf", (1024,), PEER, density=1.1, train=1.1),
    *_of("maf", None, PEER, sample=12.0),
    *_of("maf", None, SHARE, sample=0.15),
    *_of("maf_wide", (1024,), PEER, density=1.1, train=1.1),
    *_of("maf_wide", (1024,), SHARE, density=0.6, train=0.6),
    *_of("maf_wide", None, PEER, sample=15.0),
    *_of("maf_wide", None, SHARE, sample=0.15),
    *_of("glow", (32,), PEER, density=1.25, train=1.2, sample=1.25),
    *_of("glow", (32,), SHARE, density=0.6, train=0.6, sample=0.6),
    *_of("glow", (32,), COMPILED, train=1.4),
    *_of("residual", None, PEER, density=4.0, train=1.3, sample=1.2),
    *_of("convnet", (128,), SHARE, density=0.3, train=0.3),
]
