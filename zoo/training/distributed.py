"""Several processes train one model as a single process would.

Lightning's DDPStrategy averages the gradients while the backward pass still runs, a bucket of parameters at a
time. It wraps the training module, which may compute its losses by any method of the model and go backward
any number of times an update: each :meth:`~zoo.training.module.TrainingModule.manual_backward` ends
with gradients that are means over all processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy, Strategy
from torch import Tensor, distributed, nn

from zoo.errors import CUT_OFF, ZooError
from zoo.processes import this_command, usable_cores
from zoo.ranks import world_size

FIND_UNUSED = "ddp_find_unused_parameters_true"  # Lightning's name of a strategy
GRACE = 15.0  # seconds for a job that lost a rank to end by itself


class Averaging(DDPStrategy):
    """Lightning's strategy, with zoo's settings.

    Args:
        find_unused: whether a backward pass may leave weights without a gradient, as with several players;
            each pass then looks for them.
        more: arguments of Lightning's strategy.
    """

    def __init__(self, find_unused: bool = False, **more: Any) -> None:
        self.find_unused = find_unused
        super().__init__(
            **more,
            find_unused_parameters=find_unused,
            broadcast_buffers=False,  # statistics of batches are computed over all processes
            gradient_as_bucket_view=True,
        )

    def configure_ddp(self) -> None:
        assert self.model is not None
        if any(p.requires_grad for p in self.model.parameters()):
            super().configure_ddp()
        else:  # there is nothing to average
            same_weights(self.model)


def without_averaging(module: pl.LightningModule) -> AbstractContextManager[None]:
    """Return a context in which backward passes of the training module add up gradients and average none."""
    if world_size() == 1:
        return nullcontext()
    strategy = module.trainer.strategy
    return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()


def check_gradients(module: pl.LightningModule) -> None:
    """Check that the last backward pass has reached all weights, and so has averaged all gradients.

    Args:
        module: the training module, with its model and all else that the strategy has wrapped.

    Raises:
        ZooError: it has not, and the strategy does not look for such weights.
    """
    if world_size() == 1:
        return
    strategy = module.trainer.strategy
    if not isinstance(strategy, Averaging) or strategy.find_unused:
        return
    left = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    if left:
        raise ZooError(
            f"Several processes need a gradient of every weight, and {left[0]} has none; freeze it "
            f"(requires_grad_(False)), or set trainer.strategy={FIND_UNUSED}."
        )


def start_ranks(strategy: Strategy) -> None:
    """Start the other processes of this machine with this one's command, unless a launcher has started all.

    Lightning then takes this process for one of them, by ``LOCAL_RANK``. Its own launcher would kill a job
    that has lost a process before it can say why it ends.
    """
    if not isinstance(strategy, Averaging) or strategy.cluster_environment is None:
        return
    place = strategy.cluster_environment
    if place.creates_processes_externally:
        return
    os.environ |= {
        "MASTER_ADDR": place.main_address,
        "MASTER_PORT": str(place.main_port),
        "NODE_RANK": str(place.node_rank()),
        "LOCAL_RANK": "0",
        "WORLD_SIZE": str(strategy.num_processes * strategy.num_nodes),
    }
    command = this_command()
    others = [
        subprocess.Popen(command, env=os.environ | {"LOCAL_RANK": str(rank)})
        for rank in range(1, strategy.num_processes)
    ]
    threading.Thread(target=_watch, args=(others,), daemon=True, name="watch-ranks").start()


def _watch(others: Sequence[subprocess.Popen[bytes]]) -> None:
    """End the job when a rank has failed and rank 0 does not notice it, since it waits for that rank."""
    while all(process.poll() in (None, 0) for process in others):
        time.sleep(0.5)
    time.sleep(GRACE)
    for process in others:
        process.kill()
    print("zoo: Another process of this run was lost.", file=sys.stderr, flush=True)
    os._exit(CUT_OFF)


class Agreement(pl.Callback):
    """Checks before training that all processes have the same configuration and that their number is right.

    Args:
        config_hash: hash of this process's configuration.
        expected: number of processes in the configuration; None if it leaves that open.
    """

    def __init__(self, config_hash: str, expected: int | None) -> None:
        self.config_hash, self.expected = config_hash, expected

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        count = world_size()
        if self.expected is not None and count != self.expected:
            raise ZooError(
                f"The configuration has {self.expected} processes (trainer.devices times "
                f"trainer.num_nodes), but {count} are running; start as many as configured."
            )
        batch_size, pieces = pl_module.settings.batch_size, pl_module.settings.accumulate
        if batch_size % (count * pieces):
            raise ZooError(
                f"The global batch of {batch_size} cannot be shared by {count} processes in {pieces} pieces; "
                "set training.batch_size to a multiple."
            )
        if count == 1:
            return
        mine = torch.tensor(
            [int(self.config_hash[i : i + 15], 16) for i in (0, 15, 30, 45)],
            device=trainer.strategy.root_device,
        )
        every = [torch.empty_like(mine) for _ in range(count)]
        distributed.all_gather(every, mine)
        odd = [rank for rank, hash_ in enumerate(every) if not torch.equal(hash_, every[0])]
        if odd:
            raise ZooError(
                "The processes of this run were given different configurations (rank "
                f"{odd[0]} differs from rank 0); start all of them with the same command."
            )


def share_cores(processes: int) -> None:
    """Give this process its part of the cores that the job may use, unless ``OMP_NUM_THREADS`` is set.

    Args:
        processes: number of processes on this machine, which inherit the variable if there are several.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    threads = max(1, min(torch.get_num_threads(), usable_cores() // processes))
    if threads < torch.get_num_threads():
        torch.set_num_threads(threads)
    if processes > 1:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def wait() -> None:
    """Wait until every process has made this call."""
    if world_size() > 1:
        distributed.barrier()


def same_weights(module: nn.Module) -> None:
    """Copy the weights and buffers of the first process to all others."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, 0)


def mean_of_parts(parts: Sequence[Tensor], device: torch.device) -> float | None:
    """Return the mean of the values ``(N,)`` in the parts of all processes; None if there are no values.

    Every value counts the same, however the processes share them; a process may have none.
    """
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for values in parts:
        total += torch.stack([values.sum(), torch.tensor(float(len(values)), device=values.device)])
    if world_size() > 1:
        distributed.all_reduce(total)
    return float(total[0] / total[1]) if total[1] else None


def largest(value: float, device: torch.device) -> float:
    """Return the largest value of any process."""
    if world_size() == 1:
        return value
    maximum = torch.tensor(value, device=device)
    distributed.all_reduce(maximum, distributed.ReduceOp.MAX)
    return float(maximum)


def any_of(flag: bool, device: torch.device) -> bool:
    """Return whether the flag is true in any process; all of them must make this call."""
    return largest(float(flag), device) > 0
