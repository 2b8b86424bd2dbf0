"""The import walls of pyproject.toml hold every named model, and the site has no link out of its pages."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

from docs_evidence import ADDED

from zoo.record import files

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_every_named_model_stands_in_the_walls():
    named = {f"zoo.models.{file.stem}" for file in (ROOT / "zoo/models").glob("[!_]*.py")}
    assert len(named) > 20
    (independent,) = (contract for contract in CONTRACTS if contract["type"] == "independence")
    assert set(independent["modules"]) == named
    (unknown,) = (contract for contract in CONTRACTS if "zoo.training" in contract.get("source_modules", []))
    assert set(unknown["forbidden_modules"]) == named | {"zoo.config"}


def test_models_may_compute_with_few_libraries_and_no_other():
    texts = [file.read_text() for file in (ROOT / "zoo").rglob("*.py")]
    used = set(
        re.findall(r"^ *(?:from|import) ([A-Za-z]\w*)(?:\.[\w.]+)?(?: import| as|$)", "\n".join(texts), re.M)
    )
    outside = used - set(sys.stdlib_module_names) - {"zoo"}
    assert {"torch", "wandb", "matplotlib"} <= outside
    (models,) = (contract for contract in CONTRACTS if contract.get("source_modules") == ["zoo.models"])
    allowed = {"annotated_types", "numpy", "pydantic", "scipy", "torch", "torchdiffeq", "typing_extensions"}
    assert outside - set(models["forbidden_modules"]) == allowed


def test_links_of_the_site_lead_to_its_own_pages():
    pages = sorted((ROOT / "docs").rglob("*.md"))
    assert len(pages) > 15
    places = [ROOT / "docs", *(ROOT / place for place in ADDED)]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target and not any((page.parent / target).resolve().is_relative_to(p) for p in places)
    ]
    assert not broken


def test_links_of_the_readme_exist():
    targets = re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text())
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_names_of_a_runs_files_stand_in_one_module():
    """Outside of docstrings, which explain them to people; a sample's default picture is another file."""
    texts = [value for value in vars(files).values() if isinstance(value, str)]
    names = {text for text in texts if re.fullmatch(r"\w+\.\w{3,4}", text)}
    assert {"record.json", "progress.json", "last.ckpt", "samples.png"} <= names
    others = [
        f"{file.relative_to(ROOT)}: {node.value}"
        for file in sorted((ROOT / "zoo").rglob("*.py"))
        if file.name not in ("files.py", "parser.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and node.value in {*names, files.CHECKPOINTS}
    ]
    # The torch hub's folder of weights, and a figure of a comparison.
    assert others == ["zoo/comparison/commands.py: samples.png", "zoo/evaluation/features.py: checkpoints"]


def test_a_constructor_of_many_arguments_takes_few_of_them_by_place():
    """After the third argument a call by place cannot be read."""
    many = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in sorted((ROOT / "zoo").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        for function in node.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
        if len(function.args.args) > 7 and not function.args.kwonlyargs
    ]
    assert many == []
