"""The kind of data that each model needs, so that ``zoo recommend`` names only models that fit the data."""

from __future__ import annotations

from typing import Any, get_args

import yaml

from zoo.config.places import options, search_path
from zoo.config.targets import class_of
from zoo.errors import ZooError
from zoo.kinds import DataKind


def data_kinds() -> dict[str, DataKind]:
    """Return the kind of data that each model declares, by the model's name; users' own models included.

    This imports the class of every model, and so torch. Models whose class cannot be loaded are left out.
    """
    kinds: dict[str, DataKind] = {}
    for name in options("model"):
        try:
            kind: Any = getattr(class_of({"_target_": target_of_model(name)}, "model"), "data_kind", "any")
        except (ZooError, OSError, yaml.YAMLError, RecursionError):
            continue
        if kind in get_args(DataKind):
            kinds[name] = kind
    return kinds


def target_of_model(name: str) -> Any:
    """Return the ``_target_`` in a model's configuration file or in its defaults; None if there is none.

    Composing the configuration gives the same, but takes a hundred times as long.
    """
    files = [root / "model" / f"{name}.yaml" for root in search_path()]
    file = next((file for file in files if file.is_file()), files[-1])
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content = content if isinstance(content, dict) else {}
    if "_target_" in content:
        return content["_target_"]
    bases = [base for base in content.get("defaults") or () if isinstance(base, str) and base != "_self_"]
    targets = (target_of_model(base.removeprefix("/").removeprefix("model/")) for base in reversed(bases))
    return next((target for target in targets if target), None)
