"""Where configuration files and local modules are found."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from zoo.config.overrides import quote_path

PACKAGE = Path(__file__).resolve().parents[1]
GROUPS = ("model", "data", "training", "evaluation", "trainer", "logger", "launcher", "experiment")


def shipped(folder: str) -> Path:
    """Return the shipped ``conf/`` or ``sweeps/``: inside an installed package, or at a checkout's root."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def own_conf() -> Path | None:
    """Return the user's ``./conf``; None if there is none, or it is the shipped one."""
    local = Path.cwd() / "conf"
    return local if local.is_dir() and local.resolve() != shipped("conf").resolve() else None


def search_path() -> list[Path]:
    """Return the folders of configuration groups: the user's ``./conf``, which wins, and the shipped one."""
    folder = own_conf()
    return [*([] if folder is None else [folder]), shipped("conf")]


def options(group: str) -> list[str]:
    """Return the names that ``group=`` takes."""
    return sorted({file.stem for root in search_path() for file in (root / group).glob("*.yaml")})


def run_dir_override(directory: Path) -> str:
    """Return the Hydra override that sets the directory of a run.

    >>> run_dir_override(Path("runs/it's mine"))
    "hydra.run.dir='runs/it\\\\'s mine'"
    """
    return f"hydra.run.dir={quote_path(str(directory))}"


def find_own_modules() -> None:
    """Add the working directory to the module search path, so that ``_target_`` can name modules in it."""
    cwd = os.getcwd()
    if cwd not in sys.path and "" not in sys.path:
        sys.path.append(cwd)
