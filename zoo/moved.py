"""Settings of models that have moved into nodes, by their names before and now.

Overrides with the old names stand in records of schema 1 and in people's scripts. Both are translated by this
table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def _same(*names: str) -> dict[str, str]:
    """Return the names of settings that are called the same inside of their node."""
    return dict(zip(names, names, strict=True))


# A node of a model's settings: the name inside of it by the name that the setting had beside it.
NODES: dict[str, dict[str, str]] = {
    "pixels": _same("preprocessing", "alpha", "dequantisation"),
    "solver": {"solver": "method"}
    | _same("steps", "atol", "rtol", "train_tolerance", "exact_dim", "train_trace", "probe", "adjoint"),
    "penalty": _same("kinetic", "jacobian"),
    "schedule": {"schedule": "form"} | _same("timesteps", "first_noise"),
    "sampler": {"sampler": "method", "sample_steps": "steps"} | _same("guidance"),
    "spectral": _same("coefficient", "iterations", "train_tolerance"),
    "series": _same("estimator", "gradient", "terms", "eval_terms", "count", "exact_dim", "eval_exact_dim"),
    "latents": _same("posterior", "prior", "components", "flow_layers", "flow_hidden"),
}
# A setting that every model had whose settings are in this node now, and no other model.
_MARKERS = {
    "pixels": "preprocessing",
    "solver": "atol",
    "penalty": "kinetic",
    "schedule": "timesteps",
    "sampler": "sample_steps",
    "spectral": "coefficient",
    "series": "eval_terms",
    "latents": "flow_layers",
}
OLD_NAMES = frozenset(name for names in NODES.values() for name in names)
_GONE = ("model=published/", "training=published/")


def setting_of(override: str) -> str | None:
    """Return which setting of a model an override changes, if it may be one that has moved.

    >>> setting_of("++model.atol=1e-6"), setting_of("model.solver.atol=1e-6"), setting_of("seed=1")
    ('atol', None, None)
    """
    key, is_change, value = override.partition("=")
    section, _, name = key.lstrip("+").partition(".")
    is_old = bool(is_change) and section == "model" and name in OLD_NAMES and not value.startswith("{")
    return name if is_old else None


def renamed(override: str, settings: Mapping[str, Any]) -> str:
    """Return an override by the present name of its setting.

    Args:
        override: ``key=value``.
        settings: the composed settings of the model that it is about.

    >>> renamed("model.train_trace=exact", {"solver": {"method": "dopri5", "train_trace": "hutchinson"}})
    'model.solver.train_trace=exact'
    >>> renamed("model.steps=4", {"steps": 2, "pixels": {"alpha": 0.05}})
    'model.steps=4'
    """
    setting = setting_of(override)
    if setting is None or (setting in settings and not isinstance(settings[setting], Mapping)):
        return override
    nodes = [node for node in NODES if isinstance(settings.get(node), Mapping)]
    present = _present(setting, nodes)
    node, _, name = (present or "").partition(".")
    return override if present is None or name not in settings[node] else _with_name(override, present)


def upgraded(overrides: Iterable[str], settings: Mapping[str, Any]) -> list[str] | None:
    """Return the overrides of a record of schema 1 by the present names of their settings.

    Args:
        overrides: of the run.
        settings: the settings of the model that the record holds; empty if it holds none.

    Returns:
        None if there is no command of today that makes this run.
    """
    nodes = [node for node, marker in _MARKERS.items() if marker in settings]
    words = []
    for override in overrides:
        setting = setting_of(override)
        if override.lstrip("+").startswith(_GONE) or (setting is not None and not settings):
            return None
        present = None if setting is None else _present(setting, nodes)
        words.append(override if present is None else _with_name(override, present))
    return words


def in_nodes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's settings, which an older zoo may have written, under the names that they have today.

    >>> in_nodes({"solver": "dopri5", "atol": 1e-5, "width": 8})
    {'solver': {'method': 'dopri5', 'atol': 1e-05}, 'width': 8}
    """
    nodes = [node for node, marker in _MARKERS.items() if marker in settings]
    found: dict[str, Any] = {}
    for setting, value in settings.items():
        node, _, name = (_present(setting, nodes) or "").partition(".")
        if name and not isinstance(value, Mapping):
            found.setdefault(node, {})[name] = value
        else:
            found[setting] = value
    return found


def _present(setting: str, nodes: Iterable[str]) -> str | None:
    """Return the present name of a setting, in the first of a model's nodes that has taken it in."""
    return next((f"{node}.{NODES[node][setting]}" for node in nodes if setting in NODES[node]), None)


def _with_name(override: str, setting: str) -> str:
    key, _, value = override.partition("=")
    return f"{key[: len(key) - len(key.lstrip('+'))]}model.{setting}={value}"
