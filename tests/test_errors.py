"""What ended a run is told apart: its environment, after which the same command resumes it, or itself."""

from __future__ import annotations

import errno
import os
import signal

import pytest
import torch
from torch import AcceleratorError
from torch.distributed import DistBackendError, DistNetworkError, DistStoreError

from zoo.errors import LOST, cut_off, in_short

NCCL = "NCCL error in: ProcessGroupNCCL.cpp:3384, remote process exited or there was a network error"
WATCHDOG = "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE)"
ABORTED = "NCCL communicator was aborted on rank 0."
DUPLICATE = (
    "NCCL error in: NCCLUtils.cpp:93, invalid argument, NCCL version 2.27.5\n"
    "Last error:\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 1b000"
)
SILENT = "[gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 1800000ms for recv operation"
PORT = "The server socket has failed to listen: port: 15000, code: -98, name: EADDRINUSE"
LOST_RANKS = [
    DistBackendError(NCCL),
    DistBackendError(WATCHDOG),
    RuntimeError(WATCHDOG),
    DistBackendError(ABORTED),
    RuntimeError(ABORTED),
    DistNetworkError("The client socket has timed out after 600000ms while trying to connect"),
    DistStoreError("wait timeout after 300000ms, keys: /default_pg/0//worker"),
    RuntimeError(SILENT),
    RuntimeError("[gloo/transport/tcp/pair.cc:534] Read error [10.0.0.1]:4711: Connection timed out"),
    RuntimeError("[gloo/transport/tcp/pair.cc:525] Connection closed by peer [10.0.0.1]:4711"),
]


def killed_worker(name):
    return RuntimeError(f"DataLoader worker (pid 4711) is killed by signal: {name}. ")


def left_unexpectedly(cause):
    """Return torch's error for a worker that has gone, which only its cause explains."""
    error = RuntimeError("DataLoader worker (pid(s) 4711) exited unexpectedly")
    error.__cause__ = cause
    return error


OTHER_CAUSES = {
    "port": [DistNetworkError(PORT), OSError(errno.EADDRINUSE, "Address already in use")],
    "device": [
        AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),  # the driver logs an Xid
        RuntimeError("CUDA error: the launch timed out and was terminated"),
    ],
    "file system": [
        OSError(number, os.strerror(number))
        for number in (errno.ESTALE, errno.ETIMEDOUT, errno.EROFS, errno.ENOTCONN)
    ],
    "in time": [TimeoutError("timed out"), TimeoutError()],  # Python's own, without a number
    "worker": [killed_worker(name) for name in ("Bus error", "Killed", "Terminated")]
    + [left_unexpectedly(killed_worker("Killed"))],
    "connection": [OSError(n, os.strerror(n)) for n in (errno.ECONNRESET, errno.ECONNREFUSED, errno.EPIPE)],
    "disk": [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "Input/output error")],
    "memory": [MemoryError(), RuntimeError("CUDA out of memory."), OSError(errno.ENOMEM, "no memory")],
    "batch_size": [
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    "limit": [OSError(n, os.strerror(n)) for n in (errno.EMFILE, errno.ENFILE, errno.EAGAIN)],
}
OF_THE_RUN = [
    DistBackendError(DUPLICATE),
    DistBackendError("NCCL error in: NCCLUtils.cpp:93, invalid usage (run with NCCL_DEBUG=WARN for details)"),
    ValueError("Timed out waiting for nothing"),
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    PermissionError(errno.EACCES, "Permission denied"),
    KeyError("x"),
    killed_worker("Segmentation fault"),
    killed_worker("Aborted"),
    left_unexpectedly(None),
]


class SelfKilled(torch.utils.data.Dataset):
    """Data whose worker is killed while it loads, as by the kernel's out-of-memory killer."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_of_torch_that_the_kernel_kills_cuts_a_run_off():
    loader = torch.utils.data.DataLoader(SelfKilled(), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(RuntimeError) as caught:
        list(loader)
    assert cut_off(caught.value).startswith("A worker that loads data was killed (Killed)")


@pytest.mark.parametrize("error", LOST_RANKS, ids=str)
def test_a_lost_or_silent_rank_cuts_a_run_off(error):
    assert cut_off(error) == f"{LOST} ({in_short(str(error))})."


PEER = "Connection closed by peer [10.0.0.1]:4711"


@pytest.mark.parametrize(
    ("message", "short"),
    [
        (f"{ABORTED}\nException raised from ncclGetErrorWithVersion", ABORTED[:-1]),
        (f"[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] {PEER}. This is typically caused by a "
         "remote worker crashing. Check the logs. GLHF! \N{BEACH WITH UMBRELLA}", PEER),
        (SILENT, "Timed out waiting 1800000ms for recv operation"),
        (NCCL, "NCCL error: remote process exited or there was a network error"),
        ("[../third_party/gloo/gloo/transport/tcp/pair.cc:598] Connection closed by peer", PEER[:25]),
        ("Loss is 1.5 [see a.b:3].", "Loss is 1.5 [see a.b:3]"),
    ],
)  # fmt: skip
def test_the_message_of_a_lost_rank_is_the_first_line_of_its_cause_without_the_place_in_torch(message, short):
    assert in_short(message) == short
    assert cut_off(DistBackendError(message)) == f"{LOST} ({short})."


@pytest.mark.parametrize(
    ("cause", "error"),
    [(cause, error) for cause, errors in OTHER_CAUSES.items() for error in errors],
    ids=str,
)
def test_what_the_machine_is_short_of_cuts_a_run_off(cause, error):
    assert cause in cut_off(error)


@pytest.mark.parametrize("error", OF_THE_RUN, ids=str)
def test_an_error_of_the_run_itself_does_not_cut_it_off(error):
    assert cut_off(error) is None
