"""Show docstrings on the documentation site as Markdown: Sphinx roles, equations and executed examples."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")
MATH = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +\S.*| *))*)", re.M)
EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^ *\S.*\n?)*)+", re.M)


def to_markdown(text: str) -> str:
    """Return a docstring with roles as code, equations as LaTeX blocks and examples as Python blocks.

    >>> to_markdown("See :class:`~zoo.record.Record`.")
    'See `Record`.'
    """
    text = ROLE.sub(lambda role: f"`{role.group(1).rpartition('.')[2]}`", text)
    text = MATH.sub(lambda found: _block("latex", found.group(1), found.group(2)), text)
    return EXAMPLE.sub(lambda found: _example(found.group(0)), text)


def _block(language: str, indent: str, body: str) -> str:
    lines = textwrap.dedent(body.strip("\n")).strip()
    return textwrap.indent(f"```{language}\n{lines}\n```\n", indent)


def _example(body: str) -> str:
    indent = body[: len(body) - len(body.lstrip(" "))]
    return "\n" + _block("pycon", indent, body)


class MarkdownDocstrings(griffe.Extension):
    """Rewrite the docstring of every object that the site shows."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
