"""Errors that a user can correct: each is one sentence that says what is wrong and what to do."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import sys
from collections.abc import Iterable

from zoo.visible import visible


class ZooError(Exception):
    """A mistake that the user can correct. The commands print its message and exit with code 2."""


class InvalidData(ZooError, ValueError):
    """Data whose shape, type or range contradicts its :class:`zoo.DataSpec`."""


class NoLikelihood(ZooError, NotImplementedError):
    """The model has no density (a GAN, for example); raised by ``log_prob``."""


class Diverged(ZooError, ArithmeticError):
    """The loss or a gradient became infinite or NaN; the run is recorded as ``diverged``."""


class Unsound(ZooError, ArithmeticError):
    """A computation left the floating-point range or did not converge; its metric stays empty."""


class CutOff(ZooError):
    """The run was stopped by its environment (memory, disk, a lost process). The same command resumes it."""


class Interrupted(CutOff):
    """A signal ended the run, with a checkpoint: a pre-emption, a time limit, ``kill``."""


REFUSED = 2  # exit code of a command with a mistake that the user can correct
CUT_OFF = 75  # exit code of a run that was cut off (EX_TEMPFAIL: try again later)
# Exit codes of a run that the same command resumes. Python exits with 120 if it cannot flush its output.
STOPPED = {CUT_OFF, 120, 130, 143}
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "_status_alloc_failed",
)
_NO_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_NO_FILES = (  # errors of a network file system that does not answer or was mounted anew
    *(errno.ESTALE, errno.EROFS, errno.ENOTCONN, errno.ESHUTDOWN, errno.ENOLCK),
    *(errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
)
_NO_HANDLES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)  # the system's limits of open files and of processes
LOST = "Another process of this run was lost"  # how the message of a lost rank begins
_DISTRIBUTED = "torch.distributed"  # module of the errors of NCCL, gloo and the process group's store
_NO_CONNECTION = (errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE)
_LOST = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused"),
    *(
        "Connection timed out",
        "Timed out waiting",
        "Application timeout caused pair closure",
        "No route to host",
    ),
    *("Watchdog caught collective operation timeout", "NCCL communicator was aborted", "NCCL error"),
)
# Where torch's messages name a place in its source, as in "[gloo/pair.cc:5] " and " in: NCCLUtils.cpp:93,",
# and the text that replaces it.
_PLACES = (
    (re.compile(r"\[\S+\.(?:cc|cpp|cu|h|hpp):\d+\] "), ""),
    (re.compile(r" in: \S+\.(?:cc|cpp|cu|h|hpp):\d+,"), ":"),
)
_ADVICE = "This is typically caused by"  # begins the cause that gloo guesses
# Mistakes in how the processes are started, which NCCL reports at every attempt.
_MISUSE = ("duplicate gpu detected", "ncclinvalidusage", "invalid usage")
_PORT = ("EADDRINUSE", "Address already in use")
# What torch says of a worker that loads data and was ended from outside: by the kernel's out-of-memory killer
# ("Killed"), by a shared memory that is full ("Bus error"), by a signal to the whole job ("Terminated"). A
# crash ("Segmentation fault", "Aborted") is a fault of the code that loads.
_WORKER = re.compile(r"DataLoader worker \(pid \d+\) is killed by signal: (Killed|Bus error|Terminated)")
# Faults of a device, most of which the driver logs as an "Xid". A mistake in a CUDA kernel may look the same;
# a run that ends with it at every attempt counts as failed (see zoo.record.attempts).
_NO_DEVICE = (
    *("uncorrectable ecc error", "unspecified launch failure", "the launch timed out", "gpu is lost"),
    *("hardware stack error", "busy or unavailable", "cuda error: unknown error", "nvlink"),
    *("system not yet initialized", "no cuda-capable device is detected"),
)
MPS = "ZOO_MPS"  # environment variable: the process shares its GPU with others through MPS
SHARED_FAULT = "A fault of this job or of another one on its GPU has ended all that share it (MPS)"
# Errors of CUDA and its libraries, each of which may be another process's under MPS, and those of MPS itself.
_OF_A_GPU = ("cuda error", "cudnn", "cublas", "cufft", "cusolver")
_OF_MPS = ("mps client", "mps server")


def cut_off(error: BaseException) -> str | None:
    """Return the message for the user if the environment caused the error, None if the run itself did.

    Such causes are missing memory, a full disk, a file system, device or port that is gone or taken, and a
    lost rank. The job then writes no record, so that the same command resumes it from its last checkpoint.
    """
    message = str(error)
    if isinstance(error, CutOff):
        return message
    is_runtime = isinstance(error, RuntimeError)
    if is_runtime and any(text in message.lower() for text in _MISUSE):
        return None
    is_memory = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if is_memory or (
        (is_runtime or isinstance(error, ImportError)) and any(text in message.lower() for text in _NO_MEMORY)
    ):
        return "The memory ran out; give it more, or lower training.batch_size."
    if is_runtime and is_shared_fault(message):
        return f"{SHARED_FAULT}: {message.splitlines()[0]}"
    if is_runtime and (worker := _signal_of_worker(error)):
        return f"A worker that loads data was killed ({worker}); give it more memory, or use fewer workers."
    if isinstance(error, OSError) and error.errno in _NO_DISK:
        return f"The disk is full or broken ({error.strerror}); make room."
    if is_runtime and "PytorchStreamWriter failed writing" in message:
        return "The disk is full or broken (a checkpoint could not be written); make room."
    if isinstance(error, TimeoutError) and error.errno is None:  # Python's own, of a socket for example
        return f"A server or a file system does not answer in time ({message or type(error).__name__})."
    if isinstance(error, OSError) and error.errno in _NO_FILES:
        return f"A file system does not answer ({error.strerror}); see that it is mounted, and writable."
    if isinstance(error, OSError) and error.errno in _NO_HANDLES:
        return f"A limit of the system is reached ({error.strerror}); raise it, or run fewer jobs at a time."
    if is_runtime and any(text in message.lower() for text in _NO_DEVICE):
        return f"A device has failed ({message.splitlines()[0]}); see the system's log, or take another."
    if (isinstance(error, OSError) and error.errno == errno.EADDRINUSE) or (
        is_runtime and any(text in message for text in _PORT)
    ):
        return "The port of this run's processes is in use by another program."
    if isinstance(error, OSError) and error.errno in _NO_CONNECTION:
        return f"The other end of a connection, or the reader of the output, is gone ({error.strerror})."
    if is_runtime and (_is_distributed(error) or any(text in message for text in _LOST)):
        return f"{LOST} ({in_short(message) or type(error).__name__})."
    return None


def in_short(message: str) -> str:
    """Return the first line of a message of torch, without the place in its source and the guessed cause.

    >>> in_short("[/torch/gloo/transport/tcp/pair.cc:538] Connection closed. This is typically caused by ...")
    'Connection closed'
    """
    first = message.strip().partition("\n")[0]
    for place, instead in _PLACES:
        first = place.sub(instead, first)
    return first.partition(_ADVICE)[0].strip().rstrip(".")


def _signal_of_worker(error: BaseException) -> str | None:
    """Return the signal by which a worker that loads data was ended from outside; None if none was.

    torch names it in the error or in the error's cause.
    """
    causes = (error, error.__cause__, error.__context__)
    found = (_WORKER.search(str(cause)) for cause in causes if isinstance(cause, RuntimeError))
    return next((match[1] for match in found if match), None)


def is_shared_fault(message: str, mps: bool | None = None) -> bool:
    """Return whether an error of CUDA may be the fault of another process on the same GPU.

    Through MPS, a fatal fault of one process is an error of every process on the GPU, and CUDA does not say
    whose it was.

    Args:
        message: the error's.
        mps: whether its process used MPS; None: whether this one does.
    """
    mps, words = (MPS in os.environ) if mps is None else mps, message.lower()
    return any(text in words for text in (*_OF_MPS, *(_OF_A_GPU if mps else ())))


def _is_distributed(error: BaseException) -> bool:
    """Return whether torch.distributed raised the error, by the name of its class: this imports no torch."""
    return any(
        (kind.__module__, kind.__name__) == (_DISTRIBUTED, "DistError") for kind in type(error).__mro__
    )


def tell(sentence: str) -> None:
    """Print a sentence to standard error, if it can be written: a log may be on a full disk.

    It may quote a file of anybody, so what steers a terminal is written out.
    """
    with contextlib.suppress(OSError):
        print(f"zoo: {visible(sentence, lines=True)}", file=sys.stderr)


MOST_NAMED = 60  # names that an error lists
ALIKE = 0.5  # least share of letters in common, in order, of a name that is meant
SHORTEST = 3  # letters of a part by which a longer name is found


def unknown(kind: str, name: str, known: Iterable[str]) -> ZooError:
    """Return the error for a name that does not exist; it offers the nearest names that do.

    A long name, such as that of a run, also counts as near if a part of it is what was asked for, or if its
    beginning up to one of its hyphens is like it.

    >>> str(unknown("model", "mfa", ["maf", "glow"]))
    "There is no model called 'mfa'; did you mean maf?"
    >>> str(unknown("run", "x", [f"maf-{number}" for number in range(500)]))
    "There is no run called 'x'; there are 500, such as maf-0, maf-1 and maf-10."
    >>> str(unknown("run", "resflow", ["residual_flow-digits-s0-620dc0fd2d", "maf-digits-s0-fa05fb7600"]))
    "There is no run called 'resflow'; did you mean residual_flow-digits-s0-620dc0fd2d?"
    """
    names = sorted(known)
    near = _nearest(name, names)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif len(names) > MOST_NAMED:
        hint = f"there are {len(names):,}, such as {', '.join(names[:2])} and {names[2]}."
    else:
        hint = f"there are: {', '.join(names)}."
    return ZooError(f"There is no {kind} called '{name}'; {hint}")


def _nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return at most three names that hold another or are like it, the most alike first."""
    wanted = name.casefold()
    matcher = difflib.SequenceMatcher(b=wanted)
    found = []
    for known in names:
        whole = known.casefold()
        heads = [whole[:place] for place, letter in enumerate(whole) if letter == "-"]
        alike = float(whole.startswith(wanted) or (wanted in whole and len(wanted) >= SHORTEST))
        for form in (whole, *heads):
            matcher.set_seq1(form)
            alike = max(alike, matcher.ratio())
        if alike >= ALIKE:
            found.append((-alike, len(known), known))
    return [known for *_, known in sorted(found)[:3]]
