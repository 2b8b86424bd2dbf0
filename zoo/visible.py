"""Texts of others made harmless: characters that steer a terminal are written out.

A record may come from anybody. An escape sequence in a name of it could clear the screen, change the title of
the window or hide a line; a mark of direction could show a text in another order than it has.
"""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 controls, and the marks that override or isolate the direction of writing.
_STEERING = "\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_FOUND = re.compile(f"[{_STEERING}]")
_FOUND_IN_LINES = re.compile(f"(?![\n\t])[{_STEERING}]")
# The same in JSON, by their escapes or as they are, and some more. Sound records have none of them.
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
    """Return plain values with every text in them, and every key, made :func:`visible`.

    Args:
        tree: of dictionaries, lists and values.
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
