"""Hashes of a user's data: of what is in the files, not of where they lie or when they were touched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from zoo.errors import InvalidData
from zoo.locks import exclusive

DIGITS = 16
JUNK = ("thumbs.db", "desktop.ini", "__macosx")
LARGE = 16 * 2**20  # bytes of data from which a hash is kept on disk: fewer are read as fast as looked up
SETTLED = 2.0  # seconds after a change, from which another one is sure to change the time stamps
MOST_KEPT = 1000  # entries of the cache
LISTED = 1000  # most files of a place that the cache remembers
BLOCKS, BLOCK = 64, 4096  # how much of a copy is compared: blocks, and bytes of each
OLD = 946_684_800  # the year 2000, in seconds since 1970; earlier time stamps are artificial
Stamp = tuple[int, int, int, int]  # size, time stamps of content and of status in ns, inode


def expanded(path: str | Path) -> Path:
    """Return the path with ``~`` as the home directory; what has another ``~`` is a name like any other."""
    text = str(path)
    return Path(text).expanduser() if text == "~" or text.startswith("~/") else Path(text)


def walk(folder: Path) -> list[Path]:
    """Return all files below a folder, pipes too; linked folders are followed, once each along a path.

    Raises:
        InvalidData: a folder cannot be read, or a link leads to nothing.
    """
    files: list[Path] = []
    waiting = [(folder, frozenset({folder.resolve()}))]
    while waiting:
        place, above = waiting.pop()
        try:
            entries = sorted(place.iterdir())
        except OSError as error:
            raise InvalidData(
                f"{place} cannot be read ({error.strerror}); change its permissions or remove it."
            ) from error
        for entry in entries:
            if entry.is_dir():
                true = entry.resolve()
                if true not in above:  # a link to a folder above it
                    waiting.append((entry, above | {true}))
            elif entry.exists():
                files.append(entry)
            else:
                raise InvalidData(f"{entry} is a link to a file that does not exist; remove or repair it.")
    return files


def is_hidden(file: Path, folder: Path) -> bool:
    """Return whether a file below a folder is hidden, or one that file managers leave behind."""
    return any(part.startswith(".") or part.lower() in JUNK for part in file.relative_to(folder).parts)


def content_hash(path: Path) -> str | None:
    """Return a hash of the bytes of a file, or of the names and bytes of all files below a folder.

    Hidden files do not count. The hash of much data is kept in the user's cache, so that it is computed once:
    by path, size and time stamps, and for a copy at another path by names, sizes, time stamps of the content
    (which ``cp -p`` and ``rsync -a`` keep) and :data:`BLOCKS` blocks of the bytes. This may be wrong: two
    versions with the same time stamps that differ only outside these blocks count as one. So a file is never
    taken for a copy if a program may have set its time stamp (:func:`_may_be_set`). Processes that ask at the
    same time wait for the first.

    Returns:
        16 hexadecimal digits; None if there is nothing at the path.

    Raises:
        InvalidData: a file or folder cannot be read.
    """
    if not path.exists():
        return None
    if path.is_dir():
        files = [file for file in walk(path) if file.is_file() and not is_hidden(file, path)]
        names = sorted(str(file.relative_to(path)) for file in files)
    elif path.is_file():
        names = [""]
    else:
        raise InvalidData(f"{path} is neither a file nor a folder; write what it gives into a file.")
    try:
        stamps = tuple(_stamp(path / name) for name in names)
        return hash_of_files(path.resolve(), tuple(names), stamps)
    except OSError as error:
        raise InvalidData(
            f"{error.filename or path} cannot be read ({error.strerror}); change its permissions or "
            "remove it."
        ) from error


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@lru_cache(maxsize=64)
def hash_of_files(path: Path, names: tuple[str, ...], stamps: tuple[Stamp, ...]) -> str:
    """Return the hash of the files of these names below a path (or of the path itself, by the name "")."""
    if sum(stamp[0] for stamp in stamps) < LARGE:
        return compute(path, names)
    with _alone():
        return _looked_up(path, names, stamps)


def compute(path: Path, names: tuple[str, ...]) -> str:
    """Read all files of these names below a path, and return their hash."""
    digest = hashlib.sha256()
    for name in names:
        with open(path / name, "rb") as stream:
            inner = hashlib.file_digest(stream, "sha256").digest()
        digest.update(Path(name).as_posix().encode("utf-8", "surrogateescape") + b"\0" + inner)
    return digest.hexdigest()[:DIGITS]


def _looked_up(path: Path, names: tuple[str, ...], stamps: tuple[Stamp, ...]) -> str:
    """Return the hash of much data from the user's cache; compute and keep it if it is not there."""
    kept, place = _kept(), _key(str(path))
    here = _key((str(path), names, stamps))
    if here in kept:
        return kept[here]
    files = sorted(f"{inode}" for *_, inode in stamps)
    known_here = kept.get(place, "").split()
    # Whether a file that was at this place before has new time stamps. If not all were listed, one may have.
    edited = len(known_here) == LISTED or bool(set(files) & set(known_here))
    copied = _key(([stamp[:2] for stamp in stamps], _sampled(path, names, stamps)))
    known = None if edited or any(_may_be_set(stamp[1]) for stamp in stamps) else kept.get(copied)
    digest = known or compute(path, names)
    latest = max((max(stamp[1:3]) for stamp in stamps), default=0) / 1e9
    if known or time.time() - latest > SETTLED:
        _keep({here: digest, copied: digest, place: " ".join(files[:LISTED])})
    return digest


def _may_be_set(time_stamp: int) -> bool:
    """Return whether a time stamp (ns) may be one that a program gives to all files, as archives do.

    These are often dates such as 1970, 1980 or 1985, or the beginning of a day. So any time before 2000 and
    any at a whole minute counts.
    """
    return time_stamp < OLD * 10**9 or time_stamp % (60 * 10**9) == 0


def _key(what: object) -> str:
    return hashlib.sha256(repr(what).encode("utf-8", "surrogateescape")).hexdigest()


def _sampled(path: Path, names: tuple[str, ...], stamps: tuple[Stamp, ...]) -> str:
    """Return a hash of the names and of :data:`BLOCKS` blocks, spread evenly over the bytes of all files."""
    digest, start = hashlib.sha256(repr(names).encode("utf-8", "surrogateescape")), 0
    step = max(BLOCK, sum(stamp[0] for stamp in stamps) // BLOCKS)
    for name, (size, *_) in zip(names, stamps, strict=True):
        with open(path / name, "rb") as stream:
            for place in range(-start % step, size, step):
                stream.seek(place)
                digest.update(stream.read(BLOCK))
        start += size
    return digest.hexdigest()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the cache during the block, so that the ranks of a machine do not all hash the same data."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a cache that cannot be written is held by nobody
            _cache().parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(_cache().with_suffix(".lock")))
        yield


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "zoo" / "contents.json"


def _kept() -> dict[str, str]:
    """Return the hashes in the user's cache; none if it is missing or damaged."""
    try:
        hashes = json.loads(_cache().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return hashes if isinstance(hashes, dict) else {}


def _keep(entries: Mapping[str, str]) -> None:
    """Add entries to the user's cache. A cache that cannot be written is skipped."""
    hashes = dict(list(_kept().items())[-MOST_KEPT:]) | dict(entries)
    temporary = None
    try:
        _cache().parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=_cache().parent, prefix=".contents.")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(hashes, stream, indent=0)
        os.replace(temporary, _cache())
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
