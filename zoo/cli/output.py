"""Output on terminals and in files whose encoding lacks some characters."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

HANDLER = "zoo.ascii"  # name of the error handler for encoders
# What stands for the characters of tables and progress lines; a letter loses its accent, a raised
# digit stands in parentheses, any other character becomes a question mark.
ASCII = {
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "†": "+",
    "↓": "v",
    "↑": "^",
    "·": ".",
    "×": "x",
    "—": "-",
    "–": "-",
    "…": "...",
}


def replace(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement of what an encoder cannot write, and where to go on: an error handler of Python.

    >>> "3.02 ± 0.01 ≤ 4".encode("ascii", errors=HANDLER)
    b'3.02 +- 0.01 <= 4'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ascii(c) for c in error.object[error.start : error.end]), error.end


def _ascii(character: str) -> str:
    if character in ASCII:
        return ASCII[character]
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return f"({plain})" if plain.isdigit() else plain or "?"  # footnotes have raised digits


codecs.register_error(HANDLER, replace)


def write_any_character() -> None:
    """Let standard output and error replace what their encoding lacks (``LC_ALL=C``), instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)
