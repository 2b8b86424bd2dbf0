"""Training by several processes, whose updates are those that one process would make.

Lightning's DDPStrategy averages the gradients while the backward pass still runs, a bucket of parameters at a
time. It wraps the whole training module. So a loss may call any method of the model, and an update may make
several backward passes: after each :meth:`~zoo.training.module.TrainingModule.manual_backward`, the gradients
are means over all processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy, Strategy
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from zoo.errors import CUT_OFF, LOST, ZooError, tell
from zoo.models.core.distributed import meet, wait_at_most
from zoo.models.networks import batch_norm
from zoo.processes import this_command, usable_cores
from zoo.ranks import world_size

FIND_UNUSED = "ddp_find_unused_parameters_true"  # Lightning's name of a strategy
Compression = Literal["none", "fp16", "bf16"]
HOOKS = {  # torch's, by the format in which processes exchange gradients
    "fp16": default_hooks.fp16_compress_hook,
    "bf16": default_hooks.bf16_compress_hook,
}
# Layers of batch normalisation with statistics over all processes, and for each layer of torch without them
# the one to use instead.
SHARED = (batch_norm.BatchNorm1d, batch_norm.BatchNorm2d, nn.SyncBatchNorm)
INSTEAD: dict[type[nn.Module], str] = {
    nn.BatchNorm1d: f"{batch_norm.__name__}.BatchNorm1d",
    nn.BatchNorm2d: f"{batch_norm.__name__}.BatchNorm2d",
}
GRACE = 15.0  # seconds that rank 0 has to end by itself after another rank has failed
# torch's flight recorder of collective operations: variables by their present and former name, and the values
# that they get. The last one is the beginning of a file's name, which ends with the rank.
RECORDER = (
    (("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE"), "2000"),
    (("TORCH_FR_DUMP_ON_TIMEOUT", "TORCH_NCCL_DUMP_ON_TIMEOUT"), "1"),
    (("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE"), "collectives.rank"),
)
WRITING = threading.Lock()  # held from the request to write a checkpoint until it is written
LONGEST_WRITE = 600.0  # seconds that rank 0 has to finish a checkpoint before GRACE begins


class Averaging(DDPStrategy):
    """Lightning's strategy for several processes (DDP), with the settings that zoo's training needs.

    Args:
        find_unused: whether a backward pass may leave weights without a gradient, as in adversarial training.
            DDP then searches for such weights in each pass, which takes time.
        compression: number format in which the processes exchange gradients; ``none``: that of the gradients.
        more: arguments of Lightning's strategy.
    """

    def __init__(self, find_unused: bool = False, compression: Compression = "none", **more: Any) -> None:
        self.find_unused, self.compression = find_unused, compression
        if more.get("timeout") is not None:
            wait_at_most(more["timeout"])
        super().__init__(
            **more,
            find_unused_parameters=find_unused,
            broadcast_buffers=False,  # statistics of batches are computed over all processes
            gradient_as_bucket_view=True,
        )

    def configure_ddp(self) -> None:
        assert self.model is not None
        if world_size() > 1:
            check_normalisation(self.model)
        if any(p.requires_grad for p in self.model.parameters()):
            super().configure_ddp()
            self.compress_gradients()
        else:  # DDP refuses a model without weights to train
            same_weights(self.model)

    def compress_gradients(self) -> None:
        """Let DDP exchange gradients in the format of ``compression``.

        Lightning passes such hooks on for GPUs alone.

        Raises:
            ZooError: there is one process, or torch cannot exchange this format here.
        """
        if self.compression == "none":
            return
        if world_size() == 1:
            raise nothing_to_compress(self.compression)
        assert isinstance(self.model, nn.parallel.DistributedDataParallel)
        try:
            self.model.register_comm_hook(None, HOOKS[self.compression])
        except (TypeError, ValueError, RuntimeError) as error:
            raise ZooError(
                f"trainer.gradient_compression={self.compression} does not work here "
                f"({' '.join(str(error).split()).rstrip('.')}); set it to none."
            ) from error


def check_normalisation(model: nn.Module) -> None:
    """Check that no layer of normalisation computes statistics of this process's examples alone.

    Torch's layers of batch normalisation do, those of instance normalisation with running statistics, and
    layers derived from them. In evaluation mode, as in a frozen network, such a layer uses its running
    statistics and passes the check.

    Args:
        model: the model, or the training module around it, as it is before the first update.

    Raises:
        ZooError: a layer does.
    """
    for name, layer in model.named_modules():
        if (instead := instead_of(layer)) is not None:
            raise ZooError(
                f"The layer {name} ({type(layer).__name__}) computes statistics of each process's examples "
                f"alone; use {instead}, or train by one process (trainer.devices=1)."
            )


def instead_of(layer: nn.Module) -> str | None:
    """Return what to use instead of a layer that has statistics of one process; None for other layers."""
    if isinstance(layer, _InstanceNorm):  # it normalises each example alone, but may keep running averages
        return "track_running_stats=False" if layer.training and layer.track_running_stats else None
    if not isinstance(layer, _BatchNorm) or isinstance(layer, SHARED):
        return None
    if layer.track_running_stats and not layer.training:
        return None
    of_torch = (use for kind, use in INSTEAD.items() if isinstance(layer, kind))
    return next(of_torch, "torch.nn.SyncBatchNorm on GPUs")


def nothing_to_compress(compression: str) -> ZooError:
    """Return the error for compressed gradients in a run of one process."""
    return ZooError(
        f"trainer.gradient_compression={compression} has no effect in one process, which exchanges no "
        "gradients; set it to none, or give trainer=ddp trainer.devices=2 or more."
    )


def without_averaging(module: pl.LightningModule) -> AbstractContextManager[None]:
    """Return a context in which backward passes only add up this process's gradients, without averaging."""
    if world_size() == 1:
        return nullcontext()
    strategy = module.trainer.strategy
    return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()


def needs_lightning(module: pl.LightningModule) -> bool:
    """Return whether a backward pass and an optimiser's step must go through Lightning.

    They must where several processes average gradients, where half precision scales the loss, and where a
    callback or the module itself has something to do before or after them.
    """
    trainer: Any = module.trainer
    hooks = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")
    heard = [
        *((callback, pl.Callback, hook) for callback in trainer.callbacks for hook in hooks),
        *((module, pl.LightningModule, hook) for hook in (*hooks, "backward")),
    ]
    return (
        isinstance(trainer.strategy, ParallelStrategy)
        or getattr(trainer.precision_plugin, "scaler", None) is not None
        or any(getattr(type(one), hook) is not getattr(base, hook) for one, base, hook in heard)
    )


def check_gradients(module: pl.LightningModule) -> None:
    """Check that the last backward pass has given every weight a gradient.

    DDP averages the gradients only when it has those of all weights, unless its strategy searches for weights
    without one.

    Args:
        module: the training module that DDP has wrapped.

    Raises:
        ZooError: a weight has no gradient, and the strategy does not search for such weights.
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


# Ends a run whose first rank waits for one that has failed: takes the exit codes of the ended ranks,
# returns that of the run, or None if the first rank is ending by itself.
Lost = Callable[[Sequence[int]], int | None]


def tell_of_a_lost_rank(codes: Sequence[int]) -> int:
    """Print that another rank was lost, and return the exit code of a run that was cut off."""
    tell(f"{lost_by(codes)}.")
    return CUT_OFF


def lost_by(codes: Sequence[int]) -> str:
    """Return that another rank was lost, and by which exit code or signal (``-N``).

    >>> lost_by([-9]), lost_by([1, -6])
    ('Another process of this run was lost (SIGKILL)', 'Another process of this run was lost (exit code 1)')
    """
    how = [signal.Signals(-code).name if code < 0 else f"exit code {code}" for code in codes if code]
    return f"{LOST} ({how[0]})" if how else LOST


def start_ranks(strategy: Strategy, lost: Lost = tell_of_a_lost_rank) -> None:
    """Start the other ranks of this machine; this process becomes its rank 0.

    Each rank is a process with the same command as this one. Nothing is started for a run of one process, or
    where torchrun, Slurm or the like has started all ranks.

    Lightning's own launcher is not used: when a rank fails, it kills the job before rank 0 can write the
    reason. It starts no ranks once ``LOCAL_RANK`` is set.

    Args:
        strategy: the trainer's.
        lost: what ends the run if this process waits for a rank that has failed.
    """
    if not isinstance(strategy, Averaging) or strategy.cluster_environment is None:
        return
    place = strategy.cluster_environment
    if place.creates_processes_externally:
        if isinstance(place, SLURMEnvironment):
            check_started_by_srun(strategy.num_processes * strategy.num_nodes)
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
    threading.Thread(target=watch, args=(others, lost), daemon=True, name="watch-ranks").start()


def check_started_by_srun(processes: int) -> None:
    """Check that srun has started this process of a job of Slurm, if the run has several.

    In a plain script of sbatch there is one process, which would wait for the others in vain.

    Args:
        processes: number of processes in the configuration.

    Raises:
        ZooError: it has not.
    """
    if processes > 1 and "SLURM_STEP_ID" not in os.environ:
        raise ZooError(
            f"The configuration has {processes} processes (trainer.devices times trainer.num_nodes), but "
            "this job of Slurm runs one; start it with srun, one task for each process."
        )


def watch(others: Sequence[subprocess.Popen[bytes]], lost: Lost) -> None:
    """End this process some seconds after one of the other ranks has failed.

    Rank 0 may be waiting for that rank in a collective operation, and would wait until its time limit. A
    checkpoint that it writes meanwhile is finished first.

    Args:
        others: the other ranks.
        lost: what ends the run from this thread.
    """
    while all(process.poll() in (None, 0) for process in others):
        time.sleep(0.5)
    if WRITING.acquire(timeout=LONGEST_WRITE):
        WRITING.release()
    time.sleep(GRACE)
    codes = [process.returncode for process in others if process.poll() is not None]
    for process in others:
        process.kill()
    code: int | None = CUT_OFF
    try:
        code = lost(codes)
        if code is None:
            time.sleep(LONGEST_WRITE)  # this thread ends with the process
    finally:
        os._exit(CUT_OFF if code is None else code)


class Agreement(pl.Callback):
    """Checks before training that the number of processes is right and that they have one configuration.

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
        check_shares(batch_size, count, pieces)
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
        meet()


def check_shares(batch_size: int, processes: int, pieces: int) -> None:
    """Check that a global batch can be divided evenly among processes, each of which divides its share.

    Args:
        batch_size: examples of the global batch.
        processes: number of processes.
        pieces: pieces of each process's share (``training.accumulate``).

    Raises:
        ZooError: it cannot.
    """
    if batch_size % (processes * pieces):
        among = f"{processes} process{'' if processes == 1 else 'es'}"
        raise ZooError(
            f"The global batch of {batch_size} cannot be shared by {among} in {pieces} "
            f"piece{'' if pieces == 1 else 's'}; set training.batch_size to a multiple."
        )


def share_cores(processes: int) -> None:
    """Set the number of torch's threads to this process's share of the cores that the job may use.

    Does nothing where ``OMP_NUM_THREADS`` is set. For several processes it sets this variable, which the
    ranks that this process starts inherit.

    Args:
        processes: number of the job's processes on this machine.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    threads = max(1, min(torch.get_num_threads(), usable_cores() // processes))
    if threads < torch.get_num_threads():
        torch.set_num_threads(threads)
    if processes > 1:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def record_collectives(directory: Path) -> None:
    """Let torch keep its last collective operations, and write them to the run's directory after a time-out.

    Sets variables of the environment, which the ranks that this process starts inherit; a variable that the
    user has set, by either of its names, stays. Call it before the process group is made. Does
    nothing without a GPU.

    Args:
        directory: the run's directory; each rank writes ``collectives.rank<RANK>`` there.
    """
    if not torch.cuda.is_available():
        return
    for names, value in RECORDER:
        if not any(name in os.environ for name in names):
            is_file = names[0] == "TORCH_FR_DUMP_TEMP_FILE"
            os.environ[names[0]] = str(directory.absolute() / value) if is_file else value


def wait() -> None:
    """Wait until every process has called this function."""
    if world_size() > 1:
        distributed.barrier()


def same_weights(module: nn.Module) -> None:
    """Copy the weights and buffers of the first process to all others."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, 0)


def mean_of_parts(parts: Sequence[Tensor], device: torch.device) -> float | None:
    """Return the mean of all values of all processes; None if there are none.

    Every value counts the same, however the values are divided among the processes.

    Args:
        parts: this process's values, as vectors of any length; it may have none.
        device: where the sums are reduced.
    """
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for values in parts:
        total += torch.stack([values.sum(), torch.tensor(float(len(values)), device=values.device)])
    if world_size() > 1:
        distributed.all_reduce(total)
    return float(total[0] / total[1]) if total[1] else None


def largest(value: float, device: torch.device) -> float:
    """Return the largest of the processes' values; every process must call this function."""
    if world_size() == 1:
        return value
    maximum = torch.tensor(value, device=device)
    distributed.all_reduce(maximum, distributed.ReduceOp.MAX)
    return float(maximum)


def any_of(flag: bool, device: torch.device) -> bool:
    """Return whether the flag is true in any process; every process must call this function."""
    return largest(float(flag), device) > 0
