"""Read the minus sign of typeset text, U+2212, as that of numbers."""

from __future__ import annotations

import re

_MINUS = re.compile(r"""(?m)(^|[\s,;|"'eE])\u2212(?=[.,]?\d)""")


def plain_minus(text: str) -> str:
    """Return a text in which the minus signs before digits are hyphens; inside of words they stay.

    >>> plain_minus("\u22121.5;2e\u22123;a\u22121")
    '-1.5;2e-3;a\u22121'
    """
    return _MINUS.sub(r"\1-", text)
