"""No test imports, reads or replaces a private name, so that code can be rearranged behind its doors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("*.py"))
# What has no public name: the end of a forked process, what torch.compile counted and generated, and the
# operations that torch dispatches.
ALLOWED = {
    "os._exit",
    "torch._dynamo",
    "torch._inductor",
    "torch.utils._python_dispatch",
    "aten._local_scalar_dense",
}
BY_NAME = ("getattr", "setattr", "delattr", "hasattr", "patch")  # functions that take an attribute's name


def is_private(name: str) -> bool:
    """Return whether a name is private; ``__dict__`` is Python's, and ``_target_`` Hydra's."""
    return name.startswith("_") and not name.endswith("_")


def private_names(source: str) -> list[str]:
    """Return the private names of other modules and objects that a file uses, in dotted form."""
    return [name for node in ast.walk(ast.parse(source)) for name in used(node)]


def used(node: ast.AST) -> Iterator[str]:
    """Return the private names that one node uses."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Attribute) and is_private(node.attr):
        names = [] if ast.unparse(node.value) in ("self", "cls", "super()") else [ast.unparse(node)]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(BY_NAME):
        words = [a.value if isinstance(a, ast.Constant) else ast.unparse(a) for a in node.args[:2]]
        names = [".".join(map(str, words))]
    for name in names:
        if any(map(is_private, name.split("."))) and not any(allowed in name for allowed in ALLOWED):
            yield name


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TESTS)))
def test_a_file_uses_no_private_name(file):
    assert private_names(file.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import zoo._hidden",
        "from zoo._hidden import name",
        "from zoo.module import _name",
        "module._name",
        "module.Class._method()",
        "setattr(module, '_name', 1)",
        "monkeypatch.setattr(Class, '_name', 1)",
        "monkeypatch.setattr('zoo.module._name', 1)",
    ],
)
def test_every_way_to_a_private_name_is_seen(line):
    assert len(private_names(line)) == 1


@pytest.mark.parametrize(
    "line",
    ["self._name", "super()._log_prob(x)", "cls._name", "os._exit(0)", "x.__dict__", "config._target_"],
)
def test_own_and_allowed_names_are_not(line):
    assert private_names(line) == []
