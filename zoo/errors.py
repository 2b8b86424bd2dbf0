"""What a person can mend: every such error is one sentence that says what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """A mistake that the user can mend. The commands print its sentence and exit with code 2."""


class InvalidData(ZooError, ValueError):
    """Data of another shape, kind or range than its :class:`zoo.DataSpec` says."""


class NoLikelihood(ZooError, NotImplementedError):
    """Raised by ``log_prob`` of a model that defines no density, such as a GAN."""


class Diverged(ZooError, ArithmeticError):
    """Training met a value that is not finite; the run is recorded as ``diverged``."""


def unknown(kind: str, name: str, known: Iterable[str]) -> ZooError:
    """The error for a name that does not exist, offering the nearest ones that do."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}."
    return ZooError(f"There is no {kind} called '{name}'; {hint}")
