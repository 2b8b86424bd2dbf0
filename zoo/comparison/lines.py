"""Lines of a terminal that are wrapped without trailing blanks and keep a number and its unit together."""

from __future__ import annotations

import re

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

# The blank before a unit. While lines are wrapped a character stands for it that is no blank.
BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|MB|px|nats|bits/dim|samples/s)\b|%)")
UNBROKEN = "\ue000"


def say(text: str, console: Console, *, indent: int = 0, style: str = "") -> None:
    """Print a text, all lines of which are indented; a number and its unit stand on one line."""
    whole = Text(BEFORE_UNIT.sub(UNBROKEN, text), style)
    show(Padding(whole, (0, 0, 0, indent), expand=False), console)


def show(content: RenderableType, console: Console) -> None:
    """Print something of several lines, none of which ends in blanks."""
    for line in console.render_lines(content, pad=False):
        text = Text.assemble(*((part.text.replace(UNBROKEN, " "), part.style or "") for part in line))
        text.rstrip()
        console.print(text, highlight=False, soft_wrap=True)
