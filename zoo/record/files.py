"""Names of the files in a run's directory, and the atomic writing of files.

- ``record.json``: the :class:`~zoo.record.Record`.
- ``curves.csv``: see :mod:`zoo.record.curves`.
- ``samples.npz``: ``samples`` and ``real`` (uint8 ``(N, C, H, W)`` for images, float32 ``(N, D)`` for
  vectors) and ``levels``, 0 for continuous data.
- ``likelihood.npz``, of a model with a likelihood: ``values``, log p of each scored example in nats, float32
  ``(n,)``, and ``indices``, their places in the test split.
- ``density.npz``, for points of the plane: the model's ``density`` on a grid beside the histogram of the
  ``data``, and their ``extent``.
- ``gallery.npz``: pictures for looking at a model, see :mod:`zoo.evaluation.gallery`.
- ``samples.png``: a picture of the first samples, of images.
- ``timing.json``: the times of :mod:`zoo.record.timing`, where ``zoo time`` measured them.
- ``config.yaml``: the settings that the run was trained with; ``error.log``: why it failed.
- ``progress.json``: update, budget and losses while the run trains.
- ``attempts.json``: where, when and how often the run was begun, see :mod:`zoo.record.attempts`.
- ``.rank-error``: the error of a rank other than the first (:class:`~zoo.record.attempts.RankError`), until
  the next attempt begins.
- ``.first-ended``: which start by srun has lost its first rank, see :mod:`zoo.running.srun`.
- ``checkpoints/``: ``best.ckpt`` and ``last.ckpt``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

RECORD, CURVES, TIMING = "record.json", "curves.csv", "timing.json"
SAMPLES, PICTURE, DENSITY, LIKELIHOOD = "samples.npz", "samples.png", "density.npz", "likelihood.npz"
GALLERY = "gallery.npz"
CONFIG, ERRORS, PROGRESS, ATTEMPTS = "config.yaml", "error.log", "progress.json", "attempts.json"
RANK_ERROR = ".rank-error"  # why a rank other than the first ended
FIRST_ENDED = ".first-ended"  # holds the start by srun whose first rank has ended
CHECKPOINTS, BEST, LAST = "checkpoints", "best.ckpt", "last.ckpt"  # a folder and two files in it
_RESULTS = (
    RECORD, CURVES, SAMPLES, PICTURE, DENSITY, LIKELIHOOD, GALLERY, CONFIG, ERRORS, PROGRESS,
    ATTEMPTS,
)  # fmt: skip


def clear(directory: Path) -> None:
    """Remove a run's results and checkpoints from its directory, so that it is made anew.

    Other files stay: the log, W&B's segments, and whatever a user has put there.
    """
    for name in _RESULTS:
        (directory / name).unlink(missing_ok=True)
    for checkpoint in (directory / CHECKPOINTS).glob("*.ckpt"):
        checkpoint.unlink()


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all and return its path.

    The content goes to a temporary file in the same directory, is flushed to the disk, and takes the file's
    place by a rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def remove_unfinished(directory: Path) -> None:
    """Remove the temporary files that killed processes have left in a run's directory; keep all others.

    The caller must hold the run's lock: then no process is writing such a file.
    """
    for name in _RESULTS:
        for temporary in directory.glob(f".{name}.*"):
            temporary.unlink(missing_ok=True)
    (directory / f".{PROGRESS}").unlink(missing_ok=True)
    for name in (LAST, BEST):
        (directory / CHECKPOINTS / f".{name}").unlink(missing_ok=True)
