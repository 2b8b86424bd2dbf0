"""Texts of others made harmless: characters that steer a terminal are written out.

A record may come from anybody. An escape sequence in a name of it could clear the screen, change the title of
the window or hide a line; a mark of direction could show a text in another order than it has.
"""

from __future__ import annotations

import re
from typing import Any

# The control characters of Unicode (0 to 31, 127 to 159), the separators of lines and of paragraphs, and the
# marks that make a text run from right to left or from left to right.
_STEERING = "\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_FOUND = re.compile(f"[{_STEERING}]")
_FOUND_IN_LINES = re.compile(f"(?![\n\t])[{_STEERING}]")
# Finds these characters in the bytes of a JSON file, whether they are escaped or not. It also finds a few
# harmless ones (ends of lines, tabs); of a file with any of them every text is made visible.
_SUSPECT = re.compile(
    rb"\\(?:u00[01789]|u20(?:2[89a-eA-E]|6[6-9])|[bfrnt])"
    rb"|\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)


def visible(text: str, *, lines: bool = False) -> str:
    """Return a text in which characters that steer a terminal are written out.

    Args:
        text: from a file of anybody.
        lines: whether it may have several lines, whose ends and tabs then stay.

    >>> visible("maf\\x1b[2J\\u202e")
    'maf\\\\x1b[2J\\\\u202e'
    """
    found = _FOUND_IN_LINES if lines else _FOUND
    return found.sub(lambda match: repr(match.group())[1:-1], text)


def is_suspect(content: bytes) -> bool:
    """Return whether JSON may hold a character that steers a terminal."""
    return _SUSPECT.search(content) is not None


def made_visible(tree: Any, several_lines: frozenset[str] = frozenset()) -> Any:
    """Return a copy of JSON data in which every string and every key has gone through :func:`visible`.

    Args:
        tree: nested dictionaries, lists and values.
        several_lines: the keys whose texts may have several lines.
    """
    if isinstance(tree, dict):
        return {
            visible(key): visible(value, lines=key in several_lines)
            if isinstance(value, str)
            else made_visible(value, several_lines)
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [made_visible(value, several_lines) for value in tree]
    return visible(tree) if isinstance(tree, str) else tree
