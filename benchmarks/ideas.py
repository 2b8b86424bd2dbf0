"""What each idea for speed gave: the same work without and with it, in turns.

An idea that has a switch, or one function that can be replaced, is measured here: the time without it by the
time with it, the median over rounds with the order statistics that enclose it with 95 %. An idea that went
into the code at many places cannot be switched off any more; its commit tells what was seen then, in the
words of its message. What became of the leads that prototypes had given is in leads.py.

    python benchmarks/ideas.py              # writes results/benchmarks/ideas.json, ten minutes at one thread
    python benchmarks/ideas.py --tiny       # every comparison once, nothing written
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import cases
import torch
from common import write
from suite import interval
from torch import Tensor

from zoo.models.core.memo import Memo
from zoo.training.optimizers import Optimizer

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 8.0  # of a comparison
TURN = 0.02  # seconds of a turn at least
LEAST, MOST = 7, 200  # pairs of turns of a comparison
Work = Callable[[], object]
Off = Callable[[], contextlib.AbstractContextManager[object]]


def replaced(*places: str, by: object) -> Off:
    """Return a context in which every one of these names has another value."""

    @contextlib.contextmanager
    def off() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for place in places:
                stack.enter_context(mock.patch(place, by))
            yield

    return off


def without_memory() -> contextlib.AbstractContextManager[object]:
    """Return a context in which nothing derived from weights is kept between calls."""
    return mock.patch.object(Memo, "of", lambda self, module, sources, compute: compute())


CONVOLUTIONS = [f"zoo.models.networks.{name}.for_convolutions" for name in ("convnet", "glow_net")]
PRODUCTS = [
    f"zoo.models.{name}.multiplies_features_first"
    for name in ("core.functional", "networks.made", "networks.mlp")
]


class Idea(NamedTuple):
    """An idea with a switch: what is on, how it is switched off, and the cases that it is measured in.

    ``off`` None stands for the fused optimiser, which is chosen when an optimiser is made.
    """

    words: str
    off: Off | None
    cases: tuple[tuple[str, int], ...]
    tasks: tuple[str, ...]
    fate: str = "kept"


IDEAS = [
    Idea(
        "Adam updates all weights in one operation (fused), on a CPU too",
        None,
        (("realnvp", 64), ("maf", 64), ("glow", 32)),
        ("train",),
    ),
    Idea(
        "convolutions have the channels last on a CPU",
        replaced(*CONVOLUTIONS, by=lambda x: x),
        (("glow", 32),),
        ("density", "train", "sample"),
    ),
    Idea(
        "vectors have the features first where a CPU multiplies them",
        replaced(*PRODUCTS, by=lambda x: False),
        (("realnvp", 64), ("realnvp", 1024), ("maf", 64), ("maf", 1024)),
        ("density", "train"),
    ),
    Idea(
        "a run of dense couplings is one operation on a CPU, with gradients by hand",
        replaced("zoo.models.bijections.dense_couplings.as_layers", by=lambda *_: None),
        (("realnvp", 64), ("realnvp", 1024)),
        ("density", "train", "sample"),
    ),
    Idea(
        "a masked affine layer is one operation on a CPU, with gradients by hand",
        replaced("zoo.models.bijections.autoregressive.formulas_of", by=lambda *_: None),
        (("maf", 1), ("maf", 64), ("maf", 1024)),
        ("train",),
    ),
    Idea(
        "keyed noise is mixed by NumPy on a CPU",
        replaced("zoo.models.core.rng.may_use_numpy", by=lambda _: False),
        (("realnvp", 1), ("realnvp", 64), ("realnvp", 1024)),
        ("sample",),
    ),
    Idea(
        "a MAF samples small batches by NumPy, on the memory of torch's tensors",
        replaced("zoo.models.networks.made.may_use_numpy", by=lambda _: False),
        (("maf", 1), ("maf", 64), ("maf", 1024)),
        ("sample",),
    ),
    Idea(
        "evaluation computes masked, mixed and normalised weights once",
        without_memory,
        (("maf", 1), ("maf", 1024), ("glow", 1), ("glow", 32), ("residual", 64)),
        ("density",),
    ),
    Idea(
        "a large masked product and its gradients are computed in four pieces, without most of the zeros",
        replaced("zoo.models.networks.masked.LARGE", by=2**62),
        (("maf_wide", 64), ("maf_wide", 1024)),
        ("density", "train"),
    ),
]
# Commits of ideas that went into the code at many places. Their messages are read when the file is written.
COMMITS = [
    *("b73afc67", "9f6c85ab", "e4ece0dd", "6daf9889", "ad3e8df1", "ee86de9a", "cd82bc40", "0446b062"),
    *("5d92eccf", "cf4094b7", "7b8e3b13", "1b0f6b1b", "b262915c", "8e47f469"),
]


def flow(name: str, batch: int) -> tuple[Any, Tensor]:
    """Return zoo's flow of a case of ``python -m benchmarks``, and a batch."""
    torch.manual_seed(0)
    batches: list[Tensor] = []

    def itself(flow: Any, x: Tensor) -> Any:
        batches.append(x)
        return flow

    with mock.patch.object(cases.Flow, "jobs", itself):
        made = cases.CASES[name][0](batch)["zoo"]()
    made.module.train()
    with torch.no_grad():
        made.log_prob(batches[0])  # the first batch initialises layers
    return made, batches[0]


def work(made: Any, x: Tensor, task: str, fused: bool) -> Work:
    """Return a task of a flow; ``fused`` chooses the optimiser of a training step."""
    if task == "train":
        optimizer = Optimizer("adam", 1e-5, (0.9, 0.999), 0.0).build(made.module.parameters(), fused=fused)

        def step() -> None:
            made.module.train()
            optimizer.zero_grad()
            (-made.log_prob(x).mean()).backward()
            optimizer.step()

        return step

    @torch.no_grad()
    def evaluate() -> None:
        if made.module.training:
            made.module.eval()
        made.log_prob(x) if task == "density" else made.draw(len(x))

    return evaluate


def pairs(on: Work, plain: Work, off: Off, seconds: float) -> list[float]:
    """Return the time without an idea by the time with it, of pairs of turns; their order alternates."""

    def turn(run: Work, calls: int) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - started) / calls

    with off():
        plain()
    on()
    calls = math.ceil(TURN / turn(on, 1))
    ratios: list[float] = []
    begun = time.perf_counter()
    while len(ratios) < LEAST or (time.perf_counter() - begun < seconds and len(ratios) < MOST):
        first = turn(on, calls) if len(ratios) % 2 else None
        with off():
            without = turn(plain, calls)
        ratios.append(without / (first or turn(on, calls)))
    return ratios


def measured(idea: Idea, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each case and task of an idea."""
    for name, batch in idea.cases:
        made, x = flow(name, batch)
        for task in idea.tasks:
            on = work(made, x, task, fused=True)
            plain = work(made, x, task, fused=idea.off is not None)
            ratios = pairs(on, plain, idea.off or contextlib.nullcontext, seconds)
            value, low, high = (float(f"{number:.3g}") for number in interval(ratios))
            yield {
                "idea": idea.words,
                "case": name,
                "task": task,
                "batch": batch,
                "off_over_on": value,
                "interval": [low, high],
                "rounds": len(ratios),
                "says": "less time" if low > 1 else "more time" if high < 1 else "no difference seen",
                "fate": idea.fate,
            }


def commits() -> list[dict[str, str]]:
    """Return the first line of the message of each commit, with its hash."""
    form = ["git", "log", "-1", "--format=%s"]
    return [
        {"commit": name, "message": subprocess.check_output([*form, name], cwd=ROOT, text=True).strip()}
        for name in COMMITS
    ]


def main() -> None:
    tiny = "--tiny" in sys.argv
    torch.set_num_threads(1)
    rows = []
    for idea in IDEAS:
        for row in measured(idea, 0.0 if tiny else SECONDS):
            rows.append(row)
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if not tiny:
        about = "time of the same work without an idea by the time with it"
        print(write("ideas", rows, about=about, commits=commits()))


if __name__ == "__main__":
    main()
