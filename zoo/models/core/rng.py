"""Counter-based noise: every random number is a pure function of a key, a draw and a position.

Each row of a batch has a 64-bit key. Inside ``with keyed(keys):`` the functions :func:`uniform`,
:func:`normal` and :func:`rademacher` return numbers that depend on the row's key, on how many draws came
before, and on the place within the row, and on nothing else. So the same example gets the same noise
whatever the batch size, the device or the number of processes; sample ``i`` of seed ``s`` is the same image
alone or among thousands; and a resumed run needs no saved generator. Outside, torch's global generator
serves.

The mixer is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014) on wrapping 64-bit integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = _signed(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = _signed(0x94D049BB133111EB)


@dataclass
class _Source:
    keys: Tensor
    draws: int = 0


_active: _Source | None = (
    None  # no context variable: torch 2.11 cannot compile one, and backward on a GPU, which
)
# is a thread of its own, would not see it


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical: torch's >> keeps the sign


def _golden_multiples(count: int, device: torch.device | str | None) -> Tensor:
    """``_GOLDEN`` times 1, 2, ..., ``count``, wrapping."""
    # not arange(1, count + 1) * _GOLDEN: inductor makes it an index, of 32 bits on a GPU, and Triton refuses
    return -_GOLDEN * ~torch.arange(count, dtype=torch.int64, device=device)


def mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, wrapping: a bijection whose output bits look independent."""
    x = (x ^ _shift(x, 30)) * _MULTIPLIER_1
    x = (x ^ _shift(x, 27)) * _MULTIPLIER_2
    return x ^ _shift(x, 31)


def mix_integer(x: int) -> int:
    """:func:`mix` of one number, in plain integers: it costs less than a dozen tensors."""
    word = 2**64 - 1
    x &= word
    x = (x ^ x >> 30) * _MULTIPLIER_1 & word
    x = (x ^ x >> 27) * _MULTIPLIER_2 & word
    return _signed(x ^ x >> 31)


def stream(*counters: int) -> int:
    """The stream of random numbers that these counters name."""
    name = 0
    for counter in counters:
        name = mix_integer(name + int(counter) + _GOLDEN)
    return name


def keys(*counters: int, count: int, first: int = 0, device: torch.device | str | None = None) -> Tensor:
    """Keys ``(count,)`` of the rows ``first, first+1, ...`` of the stream named by ``counters``.

    >>> bool((keys(7, count=5)[2:] == keys(7, count=3, first=2)).all())
    True
    """
    start = stream(*counters) + _GOLDEN * (int(first) - 1)
    return mix(_signed(start % 2**64) + _golden_multiples(count, device))


def content_keys(x: Tensor, salt: int = 0) -> Tensor:
    """Keys ``(B,)`` that hash the values of each row, so that noise belongs to the example itself."""
    flat = x.detach().flatten(1)
    # -0.0 is 0.0
    words = (flat.to(torch.float64) + 0.0).view(torch.int64) if flat.numel() else flat.to(torch.int64)
    places = mix(_golden_multiples(words.shape[1], x.device))
    return mix(mix(words + places).sum(1) + mix(torch.full_like(words[:, 0], salt)))


@contextmanager
def _from(source: _Source | None) -> Iterator[None]:
    global _active
    before, _active = _active, source
    try:
        yield
    finally:
        _active = before


@contextmanager
def keyed(row_keys: Tensor) -> Iterator[None]:
    """Within the block, noise for row ``i`` follows from ``row_keys[i]``."""
    with _from(_Source(row_keys)):
        yield


@contextmanager
def rows(selection: slice) -> Iterator[None]:
    """Within the block, noise is for these rows of the active block alone, drawn after what it has drawn."""
    source = _active
    if source is None:
        yield
        return
    part = _Source(source.keys[selection], source.draws)
    try:
        with _from(part):
            yield
    finally:
        source.draws = part.draws


def is_keyed() -> bool:
    """Whether a :func:`keyed` block is active."""
    return _active is not None


def position() -> int:
    """How many draws the active block has made; 0 outside."""
    return _active.draws if _active is not None else 0


def rewind(draws: int) -> None:
    """Go back to a :func:`position` of the active block: the same numbers come again."""
    if _active is not None:
        _active.draws = draws


def capture() -> tuple[Tensor, int] | None:
    """Where the noise stands: keys and position of the active block; None outside."""
    return (_active.keys, _active.draws) if _active is not None else None


@contextmanager
def replay(state: tuple[Tensor, int] | None) -> Iterator[None]:
    """Within the block, the noise that followed a :func:`capture` comes again (None: torch's generator)."""
    with _from(None if state is None else _Source(*state)):
        yield


def _bits(like: Tensor) -> Tensor | None:
    """64 random bits for each element of ``like``, or None outside a keyed block."""
    source = _active
    if source is None:
        return None
    rows, count = like.shape[0], source.keys.shape[0]
    if count == 0 or rows % count:
        raise ValueError(f"Noise for {rows} rows was asked for under {count} keys; rows must be a multiple.")
    row_keys = source.keys.to(like.device)
    if rows != count:  # repeated rows (x repeated K times) are different rows
        copies = _golden_multiples(rows // count, like.device) - _GOLDEN
        row_keys = mix(row_keys + copies[:, None]).flatten()
    source.draws += 1
    row_keys = mix(row_keys + _signed(source.draws * 0xD1342543DE82EF95 % 2**64))
    size = like[0].numel() if rows else 0
    return mix(row_keys[:, None] + _golden_multiples(size, like.device)).view(like.shape)


def uniform(like: Tensor) -> Tensor:
    """Uniform noise on [0, 1) with the shape ``(rows, ...)``, dtype and device of ``like``."""
    bits = _bits(like)
    if bits is None:
        return torch.rand_like(like)
    resolution = 53 if like.dtype == torch.float64 else 24 if like.dtype == torch.float32 else 8
    return (_shift(bits, 64 - resolution).to(torch.float64) * 2.0**-resolution).to(like.dtype)


def normal(like: Tensor) -> Tensor:
    """Standard normal noise with the shape, dtype and device of ``like`` (Box-Muller)."""
    bits = _bits(like)
    if bits is None:
        return torch.randn_like(like)
    wide = torch.float64 if like.device.type != "mps" else torch.float32
    first = (_shift(bits, 32) + 1).to(wide) * 2.0**-32
    second = (bits & 0xFFFFFFFF).to(wide) * (2 * math.pi * 2.0**-32)
    return ((-2 * first.log()).sqrt() * second.cos()).to(like.dtype)


def rademacher(like: Tensor) -> Tensor:
    """Signs, +1 or -1 with equal probability, with the shape, dtype and device of ``like``."""
    return 1 - 2 * (uniform(like) < 0.5).to(like.dtype)
