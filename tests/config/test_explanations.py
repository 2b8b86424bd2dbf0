"""Each setting is explained once: in the docstring of the class that its node of a YAML file names."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml

from zoo.config import shipped

CONF = shipped("conf")
MODELS = sorted((CONF / "model").glob("*.yaml"))
FILES = [*MODELS, *sorted((CONF / "training").rglob("*.yaml"))]
DOCS = Path(__file__).resolve().parents[2] / "docs/reference"
REFERENCE = "".join((DOCS / page).read_text() for page in ("models.md", "bijections.md"))
SECTION = re.compile(r"^(?:Args|Attributes):\n((?:    .*\n|\n)*)", re.M)


def explained(path: str) -> set[str]:
    """Return the settings that the docstring of a class, or of one that it inherits from, explains."""
    module, _, name = path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    docs = [inspect.cleandoc(vars(base).get("__doc__") or "") + "\n" for base in cls.__mro__]
    lines = [line for doc in docs for section in SECTION.findall(doc) for line in section.splitlines()]
    heads = [match[1] for line in lines if (match := re.match(r"    (\w[\w, ]*):", line))]
    return {name.strip() for head in heads for name in head.split(",")}


def nodes(file: Path) -> list[tuple[str, set[str]]]:
    """Return the class that each node of a file names, with the settings of the node."""
    text = file.read_text()
    values = yaml.safe_load(text)
    named = dict(re.findall(r"^(\w+):  # see (\S+)$", text, re.M))
    settings = {key for key in values if key not in ("defaults", "_target_")}
    (main,) = re.findall(r"^_target_: \S+  # settings: (\S+)$", text, re.M) or [values.get("_target_", "")]
    main = main or {"model": "zoo.models.gan.GAN"}.get(file.parent.name, "")  # inherits another file
    main = main or ("zoo.training.settings.TrainingSettings" if file.stem == "common" else "")
    main = main or "zoo.training.adversarial.AdversarialSettings"
    inner = [(path, set(values[key])) for key, path in named.items()]
    assert {key for key, value in values.items() if isinstance(value, dict)} == set(named)
    return [(main, settings), *inner]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_setting_is_explained_by_the_class_that_its_node_names(file):
    for path, settings in nodes(file):
        assert settings <= explained(path), path


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_no_setting_is_explained_a_second_time_in_its_file(file):
    comments = re.findall(r"^ *\w+:.*?  # (.*)$", file.read_text(), re.M)
    assert [text for text in comments if not re.match(r"(see|settings:|explains each setting)", text)] == []


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_every_class_of_settings_of_a_model_is_on_the_page_of_reference(file):
    for path, _ in nodes(file):
        module = path.rpartition(".")[0]
        assert f"::: {path}\n" in REFERENCE or f"::: {module}\n" in REFERENCE
