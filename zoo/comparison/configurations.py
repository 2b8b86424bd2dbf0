"""Configurations: groups of runs that differ in their seeds alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

from zoo.comparison.collect import Run
from zoo.comparison.metrics import kind_of
from zoo.comparison.quantities import Quantity
from zoo.record.values import LARGEST

NUMBER = (int, float)  # for ``isinstance``, to which a tuple is faster than ``int | float``
UPDATES = "training.updates"
FEW = 4  # a name has all settings that differ if they are no more
FAMILIES = ("flow", "continuous flow", "diffusion", "autoregressive", "vae", "gan", "unknown")


def family_rank(family: str) -> int:
    """Return the place of a family in tables and figures; a family of a user's own comes last."""
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)


def by_configuration(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Return the runs by model and configuration: runs that differ in their seed alone are one group."""
    split: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        key = run.record.provenance.config_hash_without_seed or ""
        split.setdefault((run.record.model, key), []).append(run)
    return split


def settings(run: Run) -> dict[str, Any]:
    """Return the configuration as ``{"training.lr": 0.001, ...}``, without the seed."""
    config = run.record.provenance.config
    flat: dict[str, Any] = {}
    _flatten({k: v for k, v in config.items() if k not in ("seed", "choices")}, "", flat)
    return flat


def is_number(setting: object) -> TypeGuard[int | float]:
    """Whether a setting of a record is a number of a size that can be used; settings are read unchecked."""
    return isinstance(setting, int | float) and not isinstance(setting, bool) and abs(setting) <= LARGEST


def _flatten(tree: dict[str, Any], prefix: str, flat: dict[str, Any]) -> None:
    """Put the leaves of a nested dictionary into ``flat``, each under the path of names that leads to it."""
    for key, branch in tree.items():
        if isinstance(branch, dict):
            _flatten(branch, f"{prefix}{key}.", flat)
        else:
            flat[prefix + key] = branch


@dataclass
class Group:
    """The runs of one configuration, which differ in their seeds."""

    model: str
    runs: list[Run]
    label: str = ""

    def __post_init__(self) -> None:
        self.runs = sorted(self.runs, key=lambda run: run.record.seed)
        self.label = self.label or self.model

    @property
    def family(self) -> str:
        """The model's family; a run that failed before the model was built has "unknown"."""
        return next((r.record.family for r in self.runs if r.record.family != "unknown"), "unknown")

    @property
    def id(self) -> str:
        """What identifies it on the page: the model, and the hash of its configuration without the seed."""
        return f"{self.model}~{(self.runs[0].record.provenance.config_hash_without_seed or '')[:12]}"

    @cached_property
    def finished(self) -> list[Run]:
        """The runs whose status is ``finished``; those that diverged or failed are left out."""
        return [run for run in self.runs if run.record.status == "finished"]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration, see :func:`settings`."""
        return settings(self.runs[0])

    def values(self, quantity: Quantity | None) -> list[float]:
        """Return the quantity of every finished run that has it; empty for None."""
        if quantity is None:
            return []
        return [v for run in self.finished if (v := quantity.of(run.record)) is not None]

    def kinds(self, metric: str) -> set[str]:
        """Return the kinds of a likelihood over the seeds."""
        return {kind_of(m) for run in self.finished if (m := run.record.metrics.get(metric)) is not None}

    def named(self, label: str) -> Group:
        """Return the group under another name."""
        return Group(self.model, self.runs, label)


def differing(a: Group, b: Group) -> set[str]:
    """Return the names of the settings in which two groups differ."""
    absent = object()
    keys = {*a.settings, *b.settings}
    return {k for k in keys if a.settings.get(k, absent) != b.settings.get(k, absent)}


def name_of(group: Group, baseline: Group, others: Iterable[Group]) -> str:
    """Return the model's name, with the settings in which a configuration differs from the baseline.

    Of more than :data:`FEW` it has those that tell the configuration from the others, two or more, and the
    number of the rest. A setting that one of the two records lacks, as that of an older zoo does, is named
    where the others do not tell the configurations apart. Where no setting differs, the name has a hash.

    Args:
        group: the configuration.
        baseline: what stands for the model.
        others: every configuration of the model; their names differ from each other.
    """
    changes = differing(group, baseline)
    if not changes:
        return f"{group.model} ({str(group.runs[0].record.provenance.config_hash_without_seed)[:6]})"
    both = group.settings.keys() & baseline.settings.keys()
    known = sorted(changes & both, key=lambda key: (not key.startswith("model."), key != UPDATES, key))
    ordered = [*known, *sorted(changes - both)]
    shown = len(known) if len(known) <= FEW else 2
    if shown < len(ordered):
        shown = _telling(group, ordered, shown, [other for other in others if other.id != group.id])
    words = [_setting_text(key, group.settings.get(key, "unset")) for key in sorted(ordered[:shown])]
    if shown < len(known):
        words.append(f"and {len(known) - shown} more")
    return f"{group.model} ({', '.join(words)})"


def _telling(group: Group, keys: Sequence[str], least: int, others: Sequence[Group]) -> int:
    """Return how many of the first keys, ``least`` or more, tell a group from the others; else all."""
    absent = object()
    alike = list(others)
    for count, key in enumerate(keys, 1):
        alike = [o for o in alike if o.settings.get(key, absent) == group.settings.get(key, absent)]
        if count >= least and not alike:
            return count
    return len(keys)


def _setting_text(key: str, setting: Any) -> str:
    """Return a setting as it stands in a name.

    >>> _setting_text("model.hidden", [512, 512, 512, 512]), _setting_text("training.updates", 150000)
    ('hidden 512x4', 'updates 150,000')
    >>> _setting_text("training.augment", ["cutout", "shift"]), _setting_text("training.betas", [0.5, 0.99])
    ('augment cutout + shift', 'betas [0.5, 0.99]')
    """
    text = str(setting)
    if setting is None or setting == []:
        text = "none"
    elif isinstance(setting, int) and not isinstance(setting, bool) and 10_000 <= abs(setting) <= LARGEST:
        text = f"{setting:,}"
    elif isinstance(setting, list) and all(isinstance(part, str) for part in setting):
        text = " + ".join(setting)
    elif isinstance(setting, list) and len(setting) > 2 and all(part == setting[0] for part in setting):
        text = f"{setting[0]}x{len(setting)}"
    return f"{key.rpartition('.')[2]} {text}"
