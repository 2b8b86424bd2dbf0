"""Where configuration files and local modules are found."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from zoo.config.overrides import quote

PACKAGE = Path(__file__).resolve().parents[1]
GROUPS = ("model", "data", "training", "evaluation", "trainer", "logger", "launcher", "experiment")


def shipped(folder: str) -> Path:
    """Return the shipped ``conf/`` or ``sweeps/``: inside an installed package, or at a checkout's root."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def search_path() -> list[Path]:
    """Return the folders of configuration groups: the shipped ``conf/``, then the user's ``./conf``."""
    local = Path.cwd() / "conf"
    is_extra = local.is_dir() and local.resolve() != shipped("conf").resolve()
    return [shipped("conf"), *([local] if is_extra else [])]


def options(group: str) -> list[str]:
    """Return the names that ``group=`` takes."""
    return sorted({file.stem for root in search_path() for file in (root / group).glob("*.yaml")})


def searchpath_override() -> list[str]:
    """Return the Hydra override that adds the user's ``./conf``, as a list; empty if there is none."""
    local = [f"file://{path}" for path in search_path()[1:]]
    return [f"hydra.searchpath=[{','.join(quote(path) for path in local)}]"] if local else []


def run_dir_override(directory: Path) -> str:
    """Return the Hydra override that sets the directory of a run.

    >>> run_dir_override(Path("runs/it's mine"))
    "hydra.run.dir='runs/it\\\\'s mine'"
    """
    return f"hydra.run.dir={quote(str(directory))}"


def find_own_modules() -> None:
    """Add the working directory to the module search path, so that ``_target_`` can name modules in it."""
    cwd = os.getcwd()
    if cwd not in sys.path and "" not in sys.path:
        sys.path.append(cwd)
