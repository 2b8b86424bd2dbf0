"""The HTML templates and the style sheet of the comparison's page and of the claims' page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """Return a template filled with values, which are escaped unless they are markup."""
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    return environment(HERE).get_template(template).render(style=style, **values)


def shell(title: str, body: str) -> str:
    """Return a whole page around an HTML fragment."""
    return render("shell.html", title=title, body=Markup(body))


@cache
def environment(folder: Path) -> Environment:
    """Return Jinja's environment for a folder: values are escaped, and a missing one is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
