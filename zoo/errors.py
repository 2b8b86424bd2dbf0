"""What a person can mend: every such error is one sentence that says what is wrong and what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class ZooError(Exception):
    """A mistake that the user can mend. The commands print its sentence and exit with code 2."""


class InvalidData(ZooError, ValueError):
    """Data of another shape, kind or range than its :class:`zoo.DataSpec` says."""


class NoLikelihood(ZooError, NotImplementedError):
    """Raised by ``log_prob`` of a model that defines no density, such as a GAN."""


class Diverged(ZooError, ArithmeticError):
    """Training met a value that is not finite; the run is recorded as ``diverged``."""


class Unsound(ZooError, ArithmeticError):
    """A computation left the floating-point range or did not converge; the protocol makes an empty cell."""


class CutOff(ZooError):
    """The run was stopped from outside: memory, disk, a lost process. The same command resumes it."""


CUT_OFF = 75  # exit code of a run that was cut off (EX_TEMPFAIL: try again)
# Exit codes of a run that will be resumed; 120 is Python's when the last words of a log cannot be written.
STOPPED = {CUT_OFF, 120, 130, 143}
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")
_NO_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
LOST = "Another process of this run was lost."
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused")


def cut_off(error: BaseException) -> str | None:
    """Why this error says nothing about the run itself; None for an error of its own.

    A job that meets one of these leaves no record, so that the same command goes on from its last checkpoint.
    """
    message = str(error)
    if isinstance(error, CutOff):
        return message
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError) and any(text in message.lower() for text in _NO_MEMORY)
    ):
        return "The memory ran out; give it more, or lower training.batch_size."
    if isinstance(error, OSError) and error.errno in _NO_DISK:
        return f"The disk is full or broken ({error.strerror}); make room."
    if isinstance(error, RuntimeError) and "PytorchStreamWriter failed writing" in message:
        return "The disk is full or broken (a checkpoint could not be written); make room."
    if isinstance(error, RuntimeError) and any(text in message for text in _LOST):
        return LOST
    return None


def unknown(kind: str, name: str, known: Iterable[str]) -> ZooError:
    """The error for a name that does not exist, offering the nearest ones that do."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}."
    return ZooError(f"There is no {kind} called '{name}'; {hint}")
