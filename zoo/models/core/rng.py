"""Counter-based noise: every random number is a pure function of a key, a draw and a position.

Each row of a batch has a 64-bit key. Inside ``with keyed(keys):`` the functions :func:`uniform`,
:func:`normal` and :func:`rademacher` return numbers that depend only on the row's key, on the number of
earlier draws, and on the position within the row. So the same example gets the same noise for any batch
size, device and number of processes; sample ``i`` of seed ``s`` is the same alone or among thousands; and a
resumed run does not need a saved generator. Outside of a block the functions use torch's global generator.

>>> with keyed(keys(0, count=2)):
...     first, second = uniform(torch.empty(2, 3)), uniform(torch.empty(2, 3))
>>> with keyed(keys(0, count=2)[:1]):
...     bool((uniform(torch.empty(1, 3)) == first[:1]).all())
True

The mixer is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014) on wrapping 64-bit integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoo.models.core.functional import may_use_numpy

COPIES_AT_ONCE = 16  # copies of a batch that a bound draws at once; fixed, since their noise depends on it


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = _signed(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = _signed(0x94D049BB133111EB)

# the same for NumPy, which shifts unsigned integers without their sign
_GOLDEN_WORD, _MULTIPLIER_WORD_1, _MULTIPLIER_WORD_2 = (
    np.uint64(value % 2**64) for value in (_GOLDEN, _MULTIPLIER_1, _MULTIPLIER_2)
)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)
_BLOCK = 2**15  # words that NumPy mixes at once, within a processor's cache; torch gives each thread as many

Words = np.ndarray[Any, np.dtype[np.uint64]]
Integers = TypeVar("Integers", Tensor, Words)
KeyOf = Callable[[int], int]  # from the number of a row to its key, on the host


class _Source:
    """The keys from which a block draws its noise, and the number of draws so far.

    The keys may be given as a function, which is called at the first draw. ``key_of`` returns the same keys
    as integers of the host, if it knows them.
    """

    def __init__(
        self, keys: Tensor | Callable[[], Tensor], draws: int = 0, key_of: KeyOf | None = None
    ) -> None:
        self._keys, self.draws, self.key_of = keys, draws, key_of

    @property
    def keys(self) -> Tensor:
        if not isinstance(self._keys, Tensor):
            self._keys = self._keys()
        return self._keys


# The active source is a module global and not a context variable, for two reasons. torch.compile (2.11)
# cannot trace ``ContextVar.get``, and models draw noise within compiled code. And autograd runs the backward
# pass of a GPU in a thread of its own, which has its own context: layers that recompute their activations
# there (:mod:`zoo.models.bijections.reversible`) would not find the active keys, but they do find a global.
# The price: two threads must not draw noise under different keys at the same time, which never happens in
# zoo. Code that draws the same noise twice (every label of a mixture, every piece of a batch, a recomputed
# activation) brackets it by :func:`tell` and :func:`seek`, or by :func:`state` and :func:`restore`.
_active: _Source | None = None


def _shift(x: Integers, bits: int) -> Integers:
    """Return 64-bit integers shifted to the right, with zeros on the left."""
    if not isinstance(x, Tensor):
        return x >> np.uint64(bits)
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)  # torch's >> keeps the sign


@lru_cache(maxsize=8)
def _golden_words(count: int) -> Words:
    """Return ``_GOLDEN`` times 1, 2, ..., ``count``, wrapping."""
    words = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN_WORD
    words.flags.writeable = False
    return words


def _golden_multiples(count: int, device: torch.device | str | None) -> Tensor:
    """Return ``_GOLDEN`` times 1, 2, ..., ``count``, wrapping."""
    # Not arange(1, count + 1) * _GOLDEN: inductor computes it as an index, with 32 bits on a GPU, which
    # overflows.
    return -_GOLDEN * ~torch.arange(count, dtype=torch.int64, device=device)


def mix(x: Tensor) -> Tensor:
    """Apply SplitMix64's finaliser to int64, wrapping: a bijection whose output bits look independent."""
    x = x ^ _shift(x, 30)  # a new tensor, which may be changed in place
    x *= _MULTIPLIER_1
    x ^= _shift(x, 27)
    x *= _MULTIPLIER_2
    x ^= _shift(x, 31)
    return x


def _mix_words(x: Words) -> Words:
    """Apply :func:`mix` to an array, in place; return it."""
    if x.size == 1:
        x.fill(mix_integer(x.item()) % 2**64)
        return x
    shifted = x >> _30
    x ^= shifted
    x *= _MULTIPLIER_WORD_1
    x ^= np.right_shift(x, _27, out=shifted)
    x *= _MULTIPLIER_WORD_2
    x ^= np.right_shift(x, _31, out=shifted)
    return x


def mix_integer(x: int) -> int:
    """Apply :func:`mix` to one Python integer, which is much faster than a tensor of one element."""
    word = 2**64 - 1
    x &= word
    x = (x ^ x >> 30) * _MULTIPLIER_1 & word
    x = (x ^ x >> 27) * _MULTIPLIER_2 & word
    return _signed(x ^ x >> 31)


def stream(*counters: int) -> int:
    """Return the 64-bit key of the stream of random numbers for a tuple of counters (seed, update, ...)."""
    name = 0
    for counter in counters:
        name = mix_integer(name + int(counter) + _GOLDEN)
    return name


def keys(*counters: int, count: int, first: int = 0, device: torch.device | str | None = None) -> Tensor:
    """Return the keys ``(count,)`` of the rows ``first, first+1, ...`` of the :func:`stream` of ``counters``.

    >>> bool((keys(7, count=5)[2:] == keys(7, count=3, first=2)).all())
    True
    """
    start = (stream(*counters) + _GOLDEN * (int(first) - 1)) % 2**64
    if device is not None and count <= _BLOCK and may_use_numpy(torch.device(device)):
        return torch.from_numpy(_mix_words(_golden_words(count) + np.uint64(start)).view(np.int64))
    return mix(_signed(start) + _golden_multiples(count, device))


def key(*counters: int, row: int) -> int:
    """Return the key of one row, which :func:`keys` of the same ``counters`` has too.

    >>> key(7, row=3) == int(keys(7, count=5)[3])
    True
    """
    return mix_integer(stream(*counters) + _GOLDEN * row)


def content_keys(x: Tensor, salt: int = 0) -> Tensor:
    """Return keys ``(B,)`` that are hashes of each row's values, so that equal examples get equal noise."""
    flat = x.detach().flatten(1)
    # adding 0.0 turns -0.0 into 0.0
    words = (flat.to(torch.float64) + 0.0).view(torch.int64) if flat.numel() else flat.to(torch.int64)
    places = mix(_golden_multiples(words.shape[1], x.device))
    return mix(mix(words + places).sum(1) + mix(torch.full_like(words[:, 0], salt)))


class _DrawingFrom:
    """A context manager in whose block noise is drawn from a source; faster to enter than a generator."""

    def __init__(self, source: _Source | None) -> None:
        self.source = source

    def __enter__(self) -> None:
        global _active
        self.before, _active = _active, self.source

    def __exit__(self, *_: object) -> None:
        global _active
        _active = self.before


def keyed(
    row_keys: Tensor | Callable[[], Tensor], key_of: KeyOf | None = None
) -> AbstractContextManager[None]:
    """Within the block, draw the noise for row ``i`` from the key ``row_keys[i]``.

    Args:
        row_keys: the keys ``(B,)``, or a function that returns them; the first draw calls it.
        key_of: function from ``i`` to the same key (see :func:`key`), for draws that the host needs
            (:func:`uniform_of_first`); None: it waits for them.
    """
    return _DrawingFrom(_Source(row_keys, key_of=key_of))


def keyed_by_content(x: Tensor) -> AbstractContextManager[None]:
    """Within the block, draw the noise from :func:`content_keys` of ``x``."""
    return keyed(lambda: content_keys(x))


@contextmanager
def rows(selection: slice) -> Iterator[None]:
    """Within the block, restrict the active block to selected rows; its count of draws continues."""
    source = _active
    if source is None:
        yield
        return
    first, step, key_of = selection.start or 0, selection.step or 1, source.key_of
    part = _Source(
        source.keys[selection],
        source.draws,
        None if key_of is None or first < 0 else lambda row: key_of(first + step * row),
    )
    try:
        with _DrawingFrom(part):
            yield
    finally:
        source.draws = part.draws


def is_keyed() -> bool:
    """Return whether a :func:`keyed` block is active."""
    return _active is not None


def tell() -> int:
    """Return the number of draws in the active block so far; 0 outside of a block."""
    return _active.draws if _active is not None else 0


def seek(draws: int) -> None:
    """Set the active block back to a count returned by :func:`tell`, so that it repeats the same numbers."""
    if _active is not None:
        _active.draws = draws


State = tuple[Tensor, int, KeyOf | None]  # of a block, for restore()


def state() -> State | None:
    """Return the keys and the count of draws of the active block; None outside of a block."""
    return (_active.keys, _active.draws, _active.key_of) if _active is not None else None


def restore(state: State | None) -> AbstractContextManager[None]:
    """Within the block, continue from a :func:`state` (None: draw from torch's global generator)."""
    return _DrawingFrom(None if state is None else _Source(*state))


def _draw(like: Tensor, numbers: Callable[[Any], Tensor]) -> Tensor | None:
    """Return numbers made from 64 random bits for each element of ``like``; None outside of a keyed block.

    Args:
        like: a tensor of the shape, dtype and device of the noise.
        numbers: function from bits, an integer tensor or array that it may change, to a tensor of its shape.
    """
    source = _active
    if source is None:
        return None
    rows, count = like.shape[0], source.keys.shape[0]
    if count == 0 or rows % count:
        raise ValueError(f"Noise for {rows} rows needs a number of keys that divides {rows}; got {count}.")
    source.draws += 1
    of_draw, size = source.draws * 0xD1342543DE82EF95 % 2**64, like.shape[1:].numel()
    if (rows * size <= _BLOCK or torch.get_num_threads() == 1) and may_use_numpy(like.device):
        words = source.keys.cpu().numpy().view(np.uint64)
        if rows != count:  # copies of a row (x repeated K times) get different noise
            words = _mix_words(words + (_golden_words(rows // count) - _GOLDEN_WORD)[:, None]).reshape(-1)
        words, places = _mix_words(words + np.uint64(of_draw))[:, None], _golden_words(size)
        step = max(1, _BLOCK // max(1, size))
        parts = [numbers(_mix_words(words[i : i + step] + places)) for i in range(0, max(1, rows), step)]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(like.dtype).view(like.shape)
    row_keys = source.keys.to(like.device)
    if rows != count:
        copies = _golden_multiples(rows // count, like.device) - _GOLDEN
        row_keys = mix(row_keys + copies[:, None]).flatten()
    row_keys = mix(row_keys + _signed(of_draw))
    bits = mix(row_keys[:, None] + _golden_multiples(size, like.device))
    return numbers(bits).to(like.dtype).view(like.shape)


def _scaled(integers: Tensor | Words, factor: float, dtype: torch.dtype) -> Tensor:
    """Return integers below 2^63 times a factor, in a new tensor of dtype float32 or float64."""
    if isinstance(integers, Tensor):
        return integers.to(dtype).mul_(factor)
    kind = np.float64 if dtype == torch.float64 else np.float32
    return torch.from_numpy(np.multiply(integers.view(np.int64), factor, dtype=kind, casting="unsafe"))


def uniform(like: Tensor) -> Tensor:
    """Draw uniform noise on [0, 1) with the shape ``(rows, ...)``, dtype and device of ``like``."""
    resolution = 53 if like.dtype == torch.float64 else 24 if like.dtype == torch.float32 else 8
    wide = torch.float64 if like.dtype == torch.float64 else torch.float32  # holds that many bits exactly

    def numbers(bits: Any) -> Tensor:
        return _scaled(_shift(bits, 64 - resolution), 2.0**-resolution, wide)

    drawn = _draw(like, numbers)
    return torch.rand_like(like) if drawn is None else drawn


def uniform_of_first(rows: int) -> float | None:
    """Draw a number on [0, 1) for each of ``rows`` rows as :func:`uniform` does; return the first row's.

    The host computes it and waits for no device. Returns None, and draws nothing, outside of a block, if the
    block does not know its keys on the host, or in code that is being compiled, which the number would fix.

    >>> with keyed(keys(7, count=2), lambda row: key(7, row=row)):
    ...     draws = tell()
    ...     on_host = uniform_of_first(2)
    ...     seek(draws)
    ...     on_host, float(uniform(torch.empty(2, 1, dtype=torch.float64))[0])
    (0.258883020452532, 0.258883020452532)
    """
    source = _active
    if source is None or source.key_of is None or torch.compiler.is_compiling():
        return None
    row_key = source.key_of(0)
    if rows != source.keys.shape[0]:
        row_key = mix_integer(row_key)
    source.draws += 1
    row_key = mix_integer(row_key + source.draws * 0xD1342543DE82EF95)
    return (mix_integer(row_key + _GOLDEN) % 2**64 >> 11) * 2.0**-53


def normal(like: Tensor) -> Tensor:
    """Draw standard normal noise with the shape, dtype and device of ``like`` (Box-Muller)."""
    wide = torch.float64 if like.device.type != "mps" else torch.float32

    def numbers(bits: Any) -> Tensor:
        high = _shift(bits, 32)
        high += 1
        first = _scaled(high, 2.0**-32, wide).log_()
        bits &= 0xFFFFFFFF
        second = _scaled(bits, 2 * math.pi * 2.0**-32, wide).cos_()
        return first.mul_(-2).sqrt_().mul_(second)

    drawn = _draw(like, numbers)
    return torch.randn_like(like) if drawn is None else drawn


def rademacher(like: Tensor) -> Tensor:
    """Draw +1 or -1 with equal probability, with the shape, dtype and device of ``like``."""
    return 1 - 2 * (uniform(like) < 0.5).to(like.dtype)
