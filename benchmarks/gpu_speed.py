"""Flows on a GPU: eager, compiled and with CUDA graphs, in float32, TF32 and bfloat16, beside their peers.

Tabular flows and Glow are those of ``python -m benchmarks``, with its peers, moved to the device. Density,
training step (forward, backward, Adam) and sampling of all contestants take turns. A ratio is a peer's time
by zoo's: above 1 zoo is faster. ``compiled`` is what ``training.compile=true`` does; ``graphs`` is the same
code with torch's mode ``reduce-overhead``, which records CUDA graphs (zoo has no setting for it).

A big product of matrices and a big copy measure the machine's limits in the same run. The share of the first
counts the operations of zoo's matrix products and convolutions, that of the second the bytes that eager
operations read and write, whether or not a compiler saves some.

Two commands are enough, each for a machine that is lent for ten minutes:

    python benchmarks/gpu_speed.py eager --out "$OUT"
    python benchmarks/gpu_speed.py compiled --out "$OUT"

They write results/benchmarks/gpu_speed_eager.json and gpu_speed_compiled.json, with ``--out`` to that folder
too, after each row, so that a command that is cut off keeps what it has; after ``--minutes`` nothing new
begins. ``--device cpu --quick`` goes the
same way here with small sizes and writes nothing; what a CPU lacks is skipped with its reason.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import itertools
import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import cases
import speed_tables
import torch
from common import medians, processor, wait, write
from speed_tables import GPU_AIMS, IMAGES, TABULAR
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from zoo.training.compile import CompiledLoss

Work = Callable[[], object]


class Scale(NamedTuple):
    """How large the work is, and how long it is measured."""

    batches: dict[str, dict[str, tuple[int, ...]]]  # by part and case
    product: int  # side of the matrices
    copied: int  # numbers of 4 bytes
    seconds: float
    repeats: int


EAGER, COMPILED = "eager", "compiled"
FULL = Scale(
    {
        EAGER: dict.fromkeys(TABULAR, (64, 1024)) | dict.fromkeys(IMAGES, (32, 256)),
        # a compilation takes up to a minute
        COMPILED: dict.fromkeys(TABULAR, (64,)) | dict.fromkeys(IMAGES, (32,)),
    },
    8192, 2**28, 1.5, 15,
)  # fmt: skip
QUICK = Scale({EAGER: {"realnvp": (4,), "glow": (2,)}, COMPILED: {"realnvp": (4,)}}, 128, 2**16, 0.1, 2)


class Precision(NamedTuple):
    """A way to round: of products of float32, and whether operations run under autocast."""

    products: str  # torch's word
    half: bool
    gpu_only: str = ""  # why a CPU has none


PRECISIONS = {
    "float32": Precision("highest", False),
    "tf32": Precision("high", False, "TF32 is a format of NVIDIA's GPUs."),
    "bf16": Precision("highest", True),
}
MODES = {EAGER: ("eager",), COMPILED: ("compiled", "graphs")}
ROUNDED = {EAGER: ("float32", "tf32", "bf16"), COMPILED: ("float32", "bf16")}
NO_GRAPHS, TOO_LATE = "CUDA graphs need a GPU.", "The time was up."
# Samplers of peers whose noise the cases draw on the CPU.
DRAWS: dict[tuple[str, str], Callable[[nn.Module, Tensor], object]] = {
    ("realnvp", "FrEIA"): lambda network, z: network(z, rev=True),
    ("maf", "normflows"): lambda flow, z: flow.inverse(z),
}


@contextlib.contextmanager
def rounding(precision: Precision, device: str) -> Iterator[None]:
    """Compute in a precision within the block."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(precision.products)
    torch.backends.cudnn.allow_tf32 = precision.products == "high"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=precision.half):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def limits(scale: Scale, device: str) -> dict[str, float]:
    """Return the machine's operations a second by precision, and the bytes a second that it copies."""
    a, b = (torch.randn(scale.product, scale.product, device=device) for _ in range(2))
    found = {}
    for name, precision in PRECISIONS.items():
        if precision.gpu_only and device == "cpu":
            continue
        with rounding(precision, device), torch.no_grad():
            x, y = (a.bfloat16(), b.bfloat16()) if precision.half else (a, b)
            seconds = medians({"product": lambda x=x, y=y: x @ y}, scale.repeats, scale.seconds)["product"]
        found[name] = 2 * scale.product**3 / seconds
    source = torch.empty(scale.copied, device=device)
    target = torch.empty_like(source)
    seconds = medians({"copy": lambda: target.copy_(source)}, scale.repeats, scale.seconds)["copy"]
    return found | {"bytes": 2 * source.nbytes / seconds}


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write, each as if it were alone; views count nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, result)) if torch.is_tensor(x)]
            self.bytes += sum(x.numel() * x.itemsize for x in tensors)
        return result


def flows(name: str, batch: int, device: str) -> tuple[dict[str, Any], dict[str, str], Tensor]:
    """Return the flows of a case on the device by contestant, why others are missing, and a batch.

    zoo's flow is the first. The cases give jobs of a batch; here they give the flows that they would make
    them of.
    """
    torch.manual_seed(0)
    batches: list[Tensor] = []

    def itself(flow: Any, x: Tensor) -> Any:
        batches.append(x)
        return flow

    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    with mock.patch.object(cases.Flow, "jobs", itself):
        made = cases.CASES[name][0](batch)
        for who in ("zoo", *cases.PACKAGES):
            if who not in made:
                continue
            try:
                if who != "zoo":
                    importlib.import_module(cases.PACKAGES[who])
                found[who] = made[who]()
                module = found[who].module.to(device).train()
                if (draw := DRAWS.get((name, who))) is not None:
                    shape = batches[0].shape[1:]
                    found[who].draw = lambda n, f=module, draw=draw, shape=shape: draw(
                        f, torch.randn(n, *shape, device=device)
                    )
                with torch.no_grad():
                    found[who].log_prob(batches[0].to(device))  # the first batch may initialise layers
            except Exception as error:  # whatever a peer raises, the others are measured
                if who == "zoo":
                    raise
                found.pop(who, None)
                missing[who] = reason(error)
    return found, missing, batches[0].to(device)


def reason(error: Exception) -> str:
    """Return an error in a line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def jobs(flow: Any, x: Tensor, device: str, precision: Precision, mode: str) -> dict[str, Work]:
    """Return the work of a flow by task, in a precision and a mode.

    Raises:
        ZooError: torch cannot compile the loss, or gets its gradients wrong.
    """
    module: nn.Module = flow.module
    optimizer = torch.optim.Adam(
        [p for p in module.parameters() if p.requires_grad], lr=1e-5, fused=True, capturable=device != "cpu"
    )

    def plain(x: Tensor, _: Tensor | None) -> Tensor:
        return -flow.log_prob(x).mean()

    loss, density = plain, flow.log_prob
    if mode != "eager":
        torch._dynamo.reset()
        compiling = torch.compile
        more = {"mode": "reduce-overhead"} if mode == "graphs" else {}
        with mock.patch("torch.compile", lambda function: compiling(function, **more)):
            loss = CompiledLoss(plain, module)
            density = CompiledLoss(lambda x, _: flow.log_prob(x), module)
        module.train()
        with torch.autocast(device, torch.bfloat16, enabled=precision.half):
            loss.check(x, None)

    def train() -> None:
        module.train()
        optimizer.zero_grad()
        with rounding(precision, device):
            value = loss(x, None)
        value.backward()
        optimizer.step()

    @torch.no_grad()
    def evaluate() -> None:
        module.eval()
        with rounding(precision, device):
            density(x) if mode == "eager" else density(x, None)

    @torch.no_grad()
    def sample() -> None:
        module.eval()
        with rounding(precision, device):
            flow.draw(len(x))

    work: dict[str, Work] = {"density": evaluate, "train": train}
    return work | ({"sample": sample} if mode == "eager" and flow.draw is not None else {})


def work_of(run: Work) -> tuple[int, int]:
    """Return the operations of a work's products and convolutions, and the bytes of its eager operations."""
    with FlopCounterMode(display=False) as counter:
        run()
    with Traffic() as traffic:
        run()
    return counter.get_total_flops(), traffic.bytes


def row(
    about: dict[str, Any], times: dict[str, float], work: tuple[int, int], best: dict[str, float]
) -> dict[str, Any]:
    """Return the row of a comparison from the seconds of its contestants."""
    ours, key = times["zoo"], (about["case"], about["task"])
    peers = {who: seconds / ours for who, seconds in times.items() if who != "zoo"}
    fastest = min(peers, key=lambda who: peers[who], default=None)
    aim = GPU_AIMS.get(key)
    return {
        **about,
        "milliseconds": {who: float(f"{1e3 * value:.4g}") for who, value in times.items()},
        "ratios": {who: float(f"{value:.3g}") for who, value in peers.items()},
        "fastest_peer": fastest,
        "aim": aim,
        "reached": None if fastest is None or aim is None else peers[fastest] >= aim,
        "share_of_operations": float(f"{work[0] / ours / best[about['precision']]:.3g}"),
        "share_of_bandwidth": float(f"{work[1] / ours / best['bytes']:.3g}"),
    }


def measure(part: str, device: str, scale: Scale, minutes: float = math.inf) -> Iterator[dict[str, Any]]:
    """Yield the row of each comparison of a part; what cannot be measured is a row with its reason."""
    end = time.monotonic() + 60 * minutes
    best, where = limits(scale, device), machine(device)
    yield {"case": "limits", **{name: float(f"{value:.4g}") for name, value in best.items()}, **where}
    for name, batches in scale.batches[part].items():
        for batch in batches:
            contestants, missing, x = flows(name, batch, device)
            for who, why in missing.items():
                yield {"case": name, "batch": batch, "peer": who, "skipped": why}
            for kind, mode in itertools.product(ROUNDED[part], MODES[part]):
                about = {"case": name, "batch": batch, "precision": kind, "mode": mode}
                why = PRECISIONS[kind].gpu_only or (NO_GRAPHS if mode == "graphs" else "")
                if time.monotonic() > end or (why and device == "cpu"):
                    yield about | {"skipped": TOO_LATE if time.monotonic() > end else why}
                    continue
                for found in compared(about, contestants, x, device, scale, best):
                    yield found | where


def machine(device: str) -> dict[str, str]:
    """Return the device, torch's version and the date, which every row has: rows may be of several runs."""
    return {
        "device": processor() if device == "cpu" else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def compared(
    about: dict[str, Any],
    contestants: dict[str, Any],
    x: Tensor,
    device: str,
    scale: Scale,
    best: dict[str, float],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one case, batch, precision and mode of zoo's; peers are eager in every mode."""
    precision = PRECISIONS[about["precision"]]
    of_all: dict[str, dict[str, Work]] = {}
    work: dict[str, tuple[int, int]] = {}
    for who, flow in contestants.items():
        try:
            if who == "zoo":
                work = {task: work_of(run) for task, run in jobs(flow, x, device, precision, "eager").items()}
            of_all[who] = jobs(flow, x, device, precision, about["mode"] if who == "zoo" else "eager")
            for run in of_all[who].values():
                run()
                wait()
        except Exception as error:  # a precision or a compiler that fails ends no other comparison
            of_all.pop(who, None)
            yield about | ({} if who == "zoo" else {"peer": who}) | {"skipped": reason(error)}
            if who == "zoo":
                return
    for task in of_all["zoo"]:
        runs = {who: found[task] for who, found in of_all.items() if task in found}
        times = medians(runs, scale.repeats, scale.seconds)
        yield row(about | {"task": task}, times, work[task], best)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=MODES, nargs="?", default=EAGER)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, and nothing is written")
    parser.add_argument("--minutes", type=float, default=6.0, help="after which nothing new begins")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for a copy of the result")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here, so nothing is measured; --device cpu --quick tries the script.")
        return
    if chosen.device == "cpu" and not chosen.quick:
        parser.error("a CPU only tries the script: add --quick, or measure by python -m benchmarks")
    warnings.simplefilter("ignore")
    if chosen.quick:
        torch.set_num_threads(1)
    name, rows = f"gpu_speed_{chosen.part}", []
    for found in measure(chosen.part, chosen.device, QUICK if chosen.quick else FULL, chosen.minutes):
        rows.append(found)
        print("  ".join(f"{key} {value}" for key, value in found.items()), flush=True)
        if not chosen.quick and "ratios" in found:
            about = "zoo's flows on a GPU: peers' times by zoo's, and shares of the machine's limits"
            path = write(name, rows, command=f"python benchmarks/gpu_speed.py {chosen.part}", about=about)
            if chosen.out:
                chosen.out.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, chosen.out)
    print(speed_tables.gpu_aims(rows), end="")


if __name__ == "__main__":
    main()
