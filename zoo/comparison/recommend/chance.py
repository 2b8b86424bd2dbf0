"""Plausible means of a configuration, drawn by a generator that the page's script has too.

NumPy's generators are not at hand in a browser. This one is a hashed counter (Mulberry32), so that a share of
draws is the same number on the page and in the terminal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

STEP = 0x6D2B79F5  # of the counter; odd, so that it takes all 2**32 values
MASK = 0xFFFFFFFF


def seed_of(name: str) -> int:
    """Return a seed of 32 bits for a name (FNV-1a over code points): another name, other draws.

    >>> seed_of("maf~0123 latency") == seed_of("maf~0123 latency") != seed_of("maf~0124 latency")
    True
    """
    seed = 0x811C9DC5
    for letter in name:
        seed = ((seed ^ ord(letter)) * 0x01000193) & MASK
    return seed


def uniforms(seed: int, size: int) -> np.ndarray:
    """Return numbers in [0, 1), ``(size,)``."""
    count = np.arange(1, size + 1, dtype=np.uint64)
    a = (np.uint64(seed) + count * np.uint64(STEP)) & np.uint64(MASK)
    t = ((a ^ (a >> np.uint64(15))) * (a | np.uint64(1))) & np.uint64(MASK)
    t = ((t + (t ^ (t >> np.uint64(7))) * (t | np.uint64(61))) & np.uint64(MASK)) ^ t
    return (t ^ (t >> np.uint64(14))).astype(np.float64) / 2.0**32


def normals(seed: int, size: int) -> np.ndarray:
    """Return standard normal numbers, ``(size,)``, each of two uniform ones (Box and Muller)."""
    u = uniforms(seed, 2 * size).reshape(size, 2)
    return np.asarray(np.sqrt(-2 * np.log(1 - u[:, 0])) * np.cos(2 * math.pi * u[:, 1]))


def draws(
    values: Sequence[float], size: int, seed: int, *, logs: bool, error: float | None = None
) -> np.ndarray:
    """Return random draws of what a configuration's mean over ever more seeds may be, ``(size,)``.

    A draw is mean + s t / sqrt(n). Here mean and s are the mean and the standard deviation of the n values,
    and t is drawn from Student's distribution with n - 1 degrees of freedom. A bootstrap over five seeds is
    over-confident; this distribution is not.

    Args:
        values: one for each seed.
        size: number of draws.
        seed: of the noise.
        logs: draw the mean of the logarithms of the values instead.
        error: standard error of a single value, drawn from a normal distribution; None: no noise.
    """
    n = len(values)
    sample = np.log(values) if logs else np.asarray(values, dtype=np.float64)
    if n > 1:
        scale = float(sample.std(ddof=1)) / math.sqrt(n)
        z = normals(seed, size * n).reshape(size, n)
        # t is a normal number divided by the root mean square of n - 1 other normal numbers
        noise = z[:, -1] / np.sqrt((z[:, :-1] ** 2).sum(axis=1) / (n - 1))
    else:
        scale = 0.0 if not error else error / abs(values[0]) if logs else error
        noise = normals(seed, size)
    return np.asarray(sample.mean() + scale * noise)
