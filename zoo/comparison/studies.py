"""Runs that may be compared, and groups of runs that differ in their seeds alone."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import xor
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.quantities import Quantity, metric_value
from zoo.record import Metric


def sections(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs by data set and protocol, most runs first; one that failed early joins its data set's."""
    found: dict[tuple[str, str], list[Run]] = {}
    ended = {r.record.data: r.record.provenance.get("protocol_hash") for r in runs if r.record.metrics}
    for run in runs:
        protocol = run.record.provenance.get("protocol_hash") or ended.get(run.record.data) or ""
        found.setdefault((run.record.data, str(protocol)), []).append(run)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def groups(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs by model and configuration: what differs in the seed alone is one group."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        key = str(run.record.provenance.get("config_hash_without_seed") or "")
        found.setdefault((run.record.model, key), []).append(run)
    return found


def divergence_of(run: Run) -> float | None:
    """From the data's density, in nats, where it is known; records of before call a VAE's rate ``kl``."""
    kl = run.record.metrics.get("kl")
    return None if kl is None or kl.direction == "none" else kl.value


def nearest(runs: Sequence[Run]) -> list[Run]:
    """Of a model's runs on one data set those of the configuration and protocol of least mean divergence."""
    alike = [group for section in sections(runs).values() for group in groups(section).values()]

    def mean(group: Sequence[Run]) -> float:
        values = [value for run in group if (value := divergence_of(run)) is not None]
        return statistics.fmean(values) if values else math.inf

    return min(alike, key=mean)


def kind_of(metric: Metric) -> str:
    """The kind that ranks are made within: a dequantised flow's ``exact`` is one of its own."""
    if metric.kind == "exact" and metric.details.get("dequantisation") == "uniform":
        return "exact†"
    return metric.kind


def quality_metric(runs: Sequence[Run]) -> str | None:
    """The distance between samples and data that most runs have."""
    counts: dict[str, int] = {}
    for run in runs:
        for name, metric in run.record.metrics.items():
            distance = name.startswith("fd/") or name in ("fid", "energy_distance")
            if distance and metric.value is not None:
                counts[name] = counts.get(name, 0) + 1
    return max(counts, key=lambda name: (counts[name], name), default=None)


def is_autoregressive(run: Run) -> bool:
    """Whether the model draws one dimension after the other; a flow may do so too."""
    return run.record.sampling.order == "sequential"


def settings(run: Run) -> dict[str, Any]:
    """The configuration as ``{"training.lr": 0.001, ...}``, without the seed."""
    config = run.record.provenance.get("config")
    return _flat({k: v for k, v in config.items() if k not in ("seed", "choices")}) if config else {}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, branch in tree.items():
        found |= (
            _flat(branch, f"{prefix}{key}.") if isinstance(branch, Mapping) else {f"{prefix}{key}": branch}
        )
    return found


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
        """That of the model; a run that failed early did not know it."""
        return next((r.record.family for r in self.runs if r.record.family != "unknown"), "unknown")

    @property
    def finished(self) -> list[Run]:
        """Without those that diverged or failed."""
        return [run for run in self.runs if run.record.status == "finished"]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """See :func:`settings`."""
        return settings(self.runs[0])

    def values(self, quantity: Quantity | None) -> list[float]:
        """Return the quantity of every finished run that has it; empty for None."""
        if quantity is None:
            return []
        return [v for run in self.finished if (v := quantity.of(run.record)) is not None]

    def kinds(self, metric: str) -> set[str]:
        """The kinds of a likelihood over the seeds."""
        return {kind_of(m) for run in self.finished if (m := run.record.metrics.get(metric)) is not None}

    def named(self, label: str) -> Group:
        """The same under another name."""
        return Group(self.model, self.runs, label)


def differing(a: Group, b: Group) -> set[str]:
    """The settings in which two groups differ."""
    absent = object()
    keys = {*a.settings, *b.settings}
    return {k for k in keys if a.settings.get(k, absent) != b.settings.get(k, absent)}


def _but_rate(group: Group) -> int:
    """A mark that groups share which differ in the learning rate alone."""
    others = sorted((k, repr(v)) for k, v in group.settings.items() if k != "training.lr")
    return hash((group.model, tuple(others)))


def _neighbours(groups: Sequence[Group]) -> list[int]:
    """For each group how many of the others differ from it in the value of one setting alone."""
    items = [[(key, hash((key, repr(v)))) for key, v in group.settings.items()] for group in groups]
    wholes = [reduce(xor, (mark for _, mark in own), 0) for own in items]
    # two that differ in one setting are alike once that is taken away
    rests = [[(key, whole ^ mark) for key, mark in own] for own, whole in zip(items, wholes, strict=True)]
    counts = Counter(rest for own in rests for rest in own)
    return [sum(counts[rest] - 1 for rest in own) for own in rests]


def named(runs: Sequence[Run]) -> list[Run]:
    """The runs under the names that their rows have in the tables."""
    found = []
    for (data, protocol), members in sections(runs).items():
        study = Study(data, protocol, members)
        found += [replace(run, name=study.name(group)) for group in study.groups for run in group.runs]
    return found


@dataclass
class Study:
    """Runs that may be compared: one data set, one size of example, one protocol."""

    data: str
    protocol: str
    runs: list[Run] = field(default_factory=list)

    @cached_property
    def groups(self) -> list[Group]:
        """Every configuration."""
        return [Group(model, members) for (model, _), members in groups(self.runs).items()]

    @cached_property
    def quality(self) -> Quantity | None:
        """The distance between samples and data that most runs have."""
        name = quality_metric(self.runs)
        return metric_value(name) if name else None

    def of(self, model: str, where: Callable[[dict[str, Any]], bool] | None = None) -> list[Group]:
        """The configurations of a model that fulfil a condition on their settings."""
        return [g for g in self.groups if g.model == model and (where is None or where(g.settings))]

    def baseline(self, model: str) -> Group | None:
        """The configuration that stands for a model.

        It is the one that most others differ from in one setting alone (what a study varies, it varies from
        there); of several the one with most seeds, then the one that is trained most like other models, then
        the one with the fewest overrides.
        """
        return self._baselines.get(model)

    @cached_property
    def _baselines(self) -> dict[str, Group]:
        by_model: dict[str, list[Group]] = {}
        for group in self.groups:
            by_model.setdefault(group.model, []).append(group)
        found = {}
        for model, own in by_model.items():
            near = _neighbours(own)
            found[model] = own[max(range(len(own)), key=lambda i: (near[i], *self._weight(own[i])))]
        return found

    def _weight(self, group: Group) -> tuple[int, int, int]:
        numbers = {k: v for k, v in group.settings.items() if isinstance(v, int | float)}
        alike = sum(self._training[item] for item in numbers.items())
        overrides = group.runs[0].record.provenance.get("overrides") or []
        return len({run.record.seed for run in group.runs}), alike, -len(overrides)

    @cached_property
    def _training(self) -> Counter[tuple[str, Any]]:
        """How often each numerical setting of training occurs."""
        return Counter(
            item
            for group in self.groups
            for item in group.settings.items()
            if item[0].startswith("training.") and isinstance(item[1], int | float)
        )

    def baselines(self, family: str | None = None) -> list[Group]:
        """The configuration that stands for each model, of one family or all."""
        models = dict.fromkeys(group.model for group in self.groups)
        found = [group for model in models if (group := self.baseline(model)) is not None]
        return [group for group in found if family is None or group.family == family]

    def pair(
        self, model: str, key: str, base: Callable[[dict[str, Any]], bool] | None = None
    ) -> list[tuple[Group, Group]]:
        """Return pairs of a model's configurations that differ in ``key`` alone.

        The first of each pair is the model's baseline, or any configuration that fulfils ``base``.
        """
        baseline = self.baseline(model)
        firsts = self.of(model, base) if base else ([baseline] if baseline else [])
        return [(a, b) for a in firsts for b in self.of(model) if b is not a and differing(a, b) == {key}]

    def name(self, group: Group) -> str:
        """A model's name, with what sets this configuration apart from the one that stands for the model."""
        baseline = self.baseline(group.model)
        if baseline is None or baseline.runs == group.runs:
            return group.model
        changes = sorted(differing(group, baseline))
        if 0 < len(changes) <= 4:
            short = [f"{key.rpartition('.')[2]} {group.settings.get(key, 'unset')}" for key in changes]
            return f"{group.model} ({', '.join(short)})"
        return f"{group.model} ({str(group.runs[0].record.provenance.get('config_hash_without_seed'))[:6]})"

    def rates(self, like: Group) -> dict[float, Group]:
        """The configurations that differ from ``like`` in the learning rate at most, by that rate."""
        own = self._rates.get(_but_rate(like), [])
        return {float(g.settings["training.lr"]): g for g in own}

    @cached_property
    def _rates(self) -> dict[int, list[Group]]:
        found: dict[int, list[Group]] = {}
        for group in self.groups:
            if "training.lr" in group.settings:
                found.setdefault(_but_rate(group), []).append(group)
        return found


def common_rates(study: Study) -> list[float] | None:
    """The rates at which all were run that were run at three or more; None where they are fewer than 3."""
    several = [set(rates) for group in study.groups if len(rates := study.rates(group)) >= 3]
    shared = sorted(set.intersection(*several)) if several else []
    return shared if len(shared) >= 3 else None


def sensitivities(
    study: Study, groups: Sequence[Group | None], rates: Sequence[float] | None = None
) -> tuple[list[float], list[list[float]]] | None:
    """How much the distance depends on the learning rate.

    Args:
        study: that they are of.
        groups: models' configurations.
        rates: the learning rates that count, three or more; None: all that the groups share.

    Returns:
        The rates, and for each group, of each seed, the standard deviation over
        them of the logarithm of the distance; a run that did not finish counts as far as the farthest.
    """
    quality = study.quality
    if quality is None or any(g is None for g in groups):
        return None
    grids = [study.rates(g) for g in groups if g is not None]
    shared = set.intersection(*[set(grid) for grid in grids])
    rates = sorted(shared if rates is None else shared.intersection(rates))
    if len(rates) < 3:
        return None
    seen = [v for grid in grids for rate in rates for v in grid[rate].values(quality) if v > 0]
    spreads = []
    for grid in grids:
        by_seed: list[list[float]] = []
        for seed in sorted(set.intersection(*[{r.record.seed for r in grid[rate].runs} for rate in rates])):
            runs = [next(r for r in grid[rate].runs if r.record.seed == seed) for rate in rates]
            by_seed.append([v if (v := quality.of(r.record)) and v > 0 else max(seen) for r in runs])
        spreads.append([statistics.stdev(map(math.log, values)) for values in by_seed])
    return rates, spreads


def studies(runs: Sequence[Run]) -> list[Study]:
    """The runs by what makes them comparable, the study with most runs first.

    A run that ended before its protocol was known joins those that were configured like it.
    """
    known = {_configured(run): _comparable(run) for run in runs if run.record.provenance.get("protocol_hash")}
    found: dict[tuple[str, ...], Study] = {}
    for run in runs:
        own = _comparable(run)
        key = own if own[-1] else known.get(_configured(run), own)
        found.setdefault(key, Study(run.record.data, key[-1])).runs.append(run)
    return sorted(found.values(), key=lambda study: -len(study.runs))


def _comparable(run: Run) -> tuple[str, ...]:
    provenance = run.record.provenance
    shape = (provenance.get("data") or {}).get("shape")
    return run.record.data, str(shape), str(provenance.get("protocol_hash") or "")


def _configured(run: Run) -> tuple[str, ...]:
    config = run.record.provenance.get("config") or {}
    return run.record.data, str(config.get("data")), str(config.get("evaluation"))
