"""Hashes of the code of a user's own models, data sets and training modules. Nothing of it is imported."""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from zoo.config.places import find_own_modules

DIGITS = 16
_INSTALLED = {"site-packages", "dist-packages"}
_ZOO = ("zoo", "lightning")  # lightning.pytorch.Trainer is the target of the shipped trainers


def own_code(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of the source of every module of a user's that a run depends on, by its name.

    These are the modules that a ``_target_`` outside of zoo names, at any depth of the settings, and the
    modules that they import in turn. Of installed packages only the module of a section's own ``_target_``
    counts; the record has the versions of libraries. What is loaded in another way than by an import
    statement is not seen.

    Args:
        settings: the sections of a configuration, by name.
    """
    waiting = sorted(set(_targets(settings)))
    if not waiting:
        return {}
    importlib.invalidate_caches()
    sections = [s for s in settings.values() if isinstance(s, Mapping)]
    named = {str(section.get("_target_")) for section in sections}
    hashes: dict[str, str] = {}
    seen = set(waiting)
    find_own_modules()
    while waiting:
        target = waiting.pop()
        for name, file in _modules(target):
            installed = bool(_INSTALLED & {*file.parts})
            is_own = not _is_shipped(name) and (target in named or not installed)
            if name in hashes or not is_own:
                continue
            source = file.read_bytes().replace(b"\r\n", b"\n")
            hashes[name] = hashlib.sha256(source).hexdigest()[:DIGITS]
            fresh = set() if installed else {*_imports(source, name, file)} - seen
            seen |= fresh
            waiting += sorted(fresh)
    return dict(sorted(hashes.items()))


def _targets(settings: Any) -> Iterator[str]:
    """Yield the names of classes outside of zoo."""
    if isinstance(settings, Mapping):
        target = settings.get("_target_")
        if isinstance(target, str) and target.partition(".")[0] not in (*_ZOO, ""):
            yield target
        for value in settings.values():
            yield from _targets(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _targets(value)


def _modules(name: str) -> Iterator[tuple[str, Path]]:
    """Yield the modules that importing ``a.b.C`` executes, with their files: ``a``, ``a.b``."""
    parts, path = name.split("."), None
    for end in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:end]), path)
        if spec is None:
            return
        if spec.origin is not None and spec.has_location:
            yield spec.name, Path(spec.origin)
        path = spec.submodule_search_locations
        if path is None:
            return


def _spec(name: str, path: Any) -> ModuleSpec | None:
    """Return where a module is found, without importing its parents."""
    if path is not None:
        return PathFinder.find_spec(name, list(path))
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, None)
        except (ImportError, AttributeError, ValueError):
            continue
        if spec is not None:
            return spec
    return None


def _is_shipped(name: str) -> bool:
    """Return whether a module is zoo's or Python's."""
    top = name.partition(".")[0]
    return top in _ZOO or top in sys.stdlib_module_names


def _imports(source: bytes, name: str, file: Path) -> Iterator[str]:
    """Yield the names that a module's import statements mention; none if it is not valid Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
