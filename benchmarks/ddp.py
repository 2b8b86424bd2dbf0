"""Gradients averaged by two processes in buckets, against one bucket and against no averaging.

zoo trains by several processes with Lightning's DDP: the gradients are averaged a bucket at a time, and a
bucket's averaging begins as soon as the backward pass has its gradients. Here two processes of one thread
each train a MAF whose gradients fill several buckets of the size that DDP gives by itself. ``one`` has all
gradients in one bucket, whose averaging can only begin when the backward pass ends; ``none`` averages
nothing. The share of the averaging that the backward pass hides is what buckets save of what averaging costs:
(one - zoo) / (one - none). The gradients of the first update are compared with the plain mean of those of
both processes.

The two processes and the exchange between them need two idle cores.

    python benchmarks/ddp.py            # writes results/benchmarks/ddp.json
    python benchmarks/ddp.py --tiny     # a small model once, only to see that it works; nothing is written
"""

from __future__ import annotations

import datetime
import gc
import logging
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import lightning.pytorch as pl
import torch
from common import write
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from zoo import factory
from zoo.config import compose_run, to_dict
from zoo.running.data import prepare_data
from zoo.running.fit import Fit
from zoo.running.spec import RunSpec
from zoo.training.distributed import Averaging, same_weights

MIB = 2**20
WORLD, WARM, LIMIT = 2, 3, 1e-5
MINUTES = 5.0  # that a process waits for the other


class Scale(NamedTuple):
    """How large the model, its batches and the measurement are."""

    hidden: int = 2048
    batches: tuple[int, ...] = (128, 1024)  # of both processes together
    updates: int = 12
    rounds: int = 7
    megabytes: float | None = None  # of a bucket; None: what DDP gives by itself


TINY = Scale(hidden=32, batches=(32,), updates=WARM + 2, rounds=1, megabytes=0.01)


class OneBucket(Averaging):
    """zoo's strategy with all gradients in one bucket."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"bucket_cap_mb": 10**6})


class NoAverage(Averaging):
    """zoo's strategy without averaging: every process follows the gradients of its own examples."""

    def configure_ddp(self) -> None:
        assert self.model is not None
        same_weights(self.model)


class Watched(Averaging):
    """zoo's strategy, which notes the size of every bucket and when its averaging begins."""

    begun: list[tuple[float, float]]  # time and MiB

    def configure_ddp(self) -> None:
        super().configure_ddp()
        self.begun = []
        assert isinstance(self.model, nn.parallel.DistributedDataParallel)

        def note(state, bucket):  # type: ignore[no-untyped-def]  # torch refuses annotations as strings
            self.begun.append((time.perf_counter(), bucket.buffer().nbytes / MIB))
            return allreduce_hook(None, bucket)

        self.model.register_comm_hook(None, note)


STRATEGIES: dict[str, type[Averaging]] = {"zoo": Averaging, "one": OneBucket, "none": NoAverage}


class Watch(pl.Callback):
    """Take the time of every update and of every backward pass, and the gradients of the first update."""

    def __init__(self) -> None:
        self.updates: list[float] = []
        self.backward: list[tuple[float, float]] = []
        self.gradients: Tensor | None = None

    def on_train_batch_start(self, *_: object) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        self.updates.append(time.perf_counter() - self.started)

    def on_before_backward(self, *_: object) -> None:
        self.pass_started = time.perf_counter()

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.backward.append((self.pass_started, time.perf_counter()))
        if self.gradients is None:
            self.gradients = torch.cat(
                [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
            )


def trained(scale: Scale, batch: int, strategy: type[Averaging]) -> tuple[Watch, Any]:
    """Train for a few updates by a strategy; return the times of the updates, and the strategy."""
    config = compose_run([
        *("data=digits", "model=maf", f"model.hidden=[{scale.hidden},{scale.hidden}]"),
        *("model.batch_norm=false", f"training.batch_size={batch}", f"training.updates={scale.updates}"),
        *("training.validations=1", "training.warmup=0", "training.clip=null", "logger=none"),
        *("trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={WORLD}"),
    ])  # fmt: skip
    more = {} if scale.megabytes is None else {"bucket_cap_mb": scale.megabytes}
    data, spec, watch = prepare_data(to_dict(config.data)), RunSpec.of(config), Watch()
    pl.seed_everything(spec.identity.seed, verbose=False)
    model = factory.instantiate(spec.model, data.spec)

    class Sized(strategy):  # type: ignore[misc,valid-type]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**more | settings)

    gc.collect()  # trainer and model refer to each other: Python frees the last ones only by a collection
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("zoo.training.distributed.Averaging", Sized),
    ):
        fit = Fit(spec, model, data, directory=Path(folder), show=None)
        fit.trainer.callbacks.append(watch)
        fit.run([])
        distributed.barrier()  # no process removes the folder that another still writes to
    return watch, fit.trainer.strategy


def measured(scale: Scale, batch: int) -> dict[str, Any]:
    """Return the row of a batch size."""
    watch, strategy = trained(scale, batch, Watched)
    started, ended = watch.backward[-1]
    last = [(begun, size) for begun, size in strategy.begun if begun >= started]
    size = sum(p.numel() for p in strategy.lightning_module.parameters() if p.requires_grad)
    seconds: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    gradients: dict[str, Tensor] = {}
    for _ in range(scale.rounds):
        for name, kind in STRATEGIES.items():
            watch, _ = trained(scale, batch, kind)
            seconds[name].append(statistics.median(watch.updates[WARM:]))
            assert watch.gradients is not None
            gradients[name] = watch.gradients
    mean = gradients["none"].clone()
    distributed.all_reduce(mean)
    mean /= WORLD
    saved = [
        (one - zoo) / (one - none)
        for zoo, one, none in zip(*(seconds[name] for name in ("zoo", "one", "none")), strict=True)
    ]
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "model": f"MAF, 5 layers of 2 x {scale.hidden}, {size / 1e6:.3g} million weights",
        "batch": batch,
        "buckets": len(last),
        "bucket_mib": [round(size, 2) for _, size in last],
        "share_of_backward_passed_when_averaging_begins": [
            round((begun - started) / (ended - started), 3) for begun, _ in last
        ],
        **{f"{name}_ms": round(1e3 * value, 2) for name, value in middle.items()},
        "one_over_zoo": round(middle["one"] / middle["zoo"], 3),
        "hidden_share": round(
            (middle["one"] - middle["zoo"]) / (middle["one"] - middle["none"]), 3
        ),
        "hidden_share_of_rounds": [round(value, 3) for value in sorted(saved)],
        "gradient_error": max(
            float((gradients[name] - mean).abs().max() / mean.abs().max()) for name in ("zoo", "one")
        ),
    }  # fmt: skip


def member(rank: int, port: int, scale: Scale, rows: Any) -> None:
    """Be one of the processes; the first one hands the rows over."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD), LOCAL_WORLD_SIZE=str(WORLD),
        GROUP_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="ddp",
    )  # fmt: skip
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    limit = datetime.timedelta(minutes=MINUTES)
    distributed.init_process_group("gloo", rank=rank, world_size=WORLD, timeout=limit)
    for batch in scale.batches:
        row = measured(scale, batch)
        if rank == 0:
            rows.put(row)
    distributed.barrier()
    distributed.destroy_process_group()


def measure(scale: Scale, start: str = "spawn") -> list[dict[str, Any]]:
    """Return a row for each batch size, measured by two processes.

    Args:
        scale: sizes of the model, the batches and the measurement.
        start: how the processes begin: ``spawn``, or ``fork`` where torch has computed nothing in parallel.

    Raises:
        SystemExit: a process failed, or averaged gradients are not the mean of those of both processes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context(start)
    made = context.SimpleQueue()
    processes = [context.Process(target=member, args=(rank, port, scale, made)) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("A process of the benchmark failed; its error is above.")
    rows = [made.get() for _ in scale.batches]
    for row in rows:
        if row["gradient_error"] > LIMIT:
            raise SystemExit(f"Averaged gradients are wrong by {row['gradient_error']:.1e}, beyond {LIMIT}.")
    return rows


def main() -> None:
    tiny = "--tiny" in sys.argv
    rows = measure(TINY if tiny else Scale())
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if not tiny:
        about = "milliseconds of an update of two processes, one thread each, which exchange by gloo"
        print(write("ddp", rows, about=about, threads_of_each_process=1))


if __name__ == "__main__":
    main()
