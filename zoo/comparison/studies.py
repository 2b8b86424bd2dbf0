"""Studies: runs that may be compared, since they have the same data and were judged by one protocol."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import xor
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.configurations import (
    NUMBER,
    UPDATES,
    Group,
    by_configuration,
    differing,
    family_rank,
    is_number,
    name_of,
)
from zoo.comparison.datasets import Dataset, dataset, labels
from zoo.comparison.metrics import divergence_of, quality_metric
from zoo.comparison.quantities import Quantity, metric_value


@dataclass
class Study:
    """Runs that may be compared: the same data, judged by one protocol.

    Attributes:
        data: name of the data set.
        protocol: hash of the protocol; empty where it is not known.
        runs: on these data under this protocol.
        label: the data set's name, with what sets it apart from others of this name.
        title: the label, with the protocol where the data were judged by several.
        memo: what other modules compute of a study once.
    """

    data: str
    protocol: str
    runs: list[Run] = field(default_factory=list)
    label: str = ""
    title: str = ""
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    _names: dict[tuple[str, ...], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.label = self.label or self.data
        self.title = self.title or self.label

    @cached_property
    def groups(self) -> list[Group]:
        """Every configuration."""
        return [Group(model, members) for (model, _), members in by_configuration(self.runs).items()]

    @cached_property
    def quality(self) -> Quantity | None:
        """The distance between samples and data that most runs have."""
        name = quality_metric(self.runs)
        return metric_value(name) if name else None

    @cached_property
    def ordered(self) -> list[Group]:
        """Every configuration, by family and name; of each model the baseline comes first."""

        def place(group: Group) -> tuple[int, str, bool, str]:
            name = self.name(group)
            return family_rank(group.family), group.model, name != group.model, name

        return sorted(self.groups, key=place)

    def of(self, model: str, where: Callable[[dict[str, Any]], bool] | None = None) -> list[Group]:
        """Return the configurations of a model that fulfil a condition on their settings."""
        groups = self._by_model.get(model, [])
        return [group for group in groups if where is None or where(group.settings)]

    @cached_property
    def _by_model(self) -> dict[str, list[Group]]:
        by_model: dict[str, list[Group]] = {}
        for group in self.groups:
            by_model.setdefault(group.model, []).append(group)
        return by_model

    def baseline(self, model: str) -> Group | None:
        """Return the configuration that stands for a model: the one that a study varies.

        It was trained for the number of updates at which most models were run, if the model has such runs.
        Most other configurations differ from it in one setting alone. Ties are decided by the most seeds,
        then by the settings of training most common among all models, then by the fewest overrides.
        """
        return self._baselines.get(model)

    @cached_property
    def _baselines(self) -> dict[str, Group]:
        usual = self._usual_updates
        return {
            model: self._most_central([g for g in groups if g.settings.get(UPDATES) == usual] or groups)
            for model, groups in self._by_model.items()
        }

    @cached_property
    def _usual_updates(self) -> Any:
        """The number of updates at which most models were run, the larger one of two: a common budget."""
        models: dict[int | float, set[str]] = {}
        for group in self.groups:
            if is_number(updates := group.settings.get(UPDATES)):
                models.setdefault(updates, set()).add(group.model)
        return max(models, key=lambda updates: (len(models[updates]), updates), default=None)

    def _most_central(self, groups: Sequence[Group]) -> Group:
        neighbours = _neighbours(groups)
        return groups[max(range(len(groups)), key=lambda i: (neighbours[i], *self._weight(groups[i])))]

    def _weight(self, group: Group) -> tuple[int, int, int]:
        """Return the numbers that decide between groups with equally many neighbours."""
        alike = sum(self._training.get(item, 0) for item in _training_numbers(group))
        overrides = group.runs[0].record.provenance.overrides or []
        return len({run.record.seed for run in group.runs}), alike, -len(overrides)

    @cached_property
    def _training(self) -> Counter[tuple[str, Any]]:
        """Number of groups with each numerical setting of training."""
        return Counter(item for group in self.groups for item in _training_numbers(group))

    def baselines(self, family: str | None = None) -> list[Group]:
        """Return the baseline of each model, of one family or of all."""
        return [g for g in self._baselines.values() if family is None or g.family == family]

    def standing(self, group: Group) -> tuple[int, int]:
        """Return a key for sorting: many finished seeds come first, then many variations."""
        seeds = {run.record.seed for run in group.finished}
        variations = sum(len(differing(group, other)) == 1 for other in self.of(group.model))
        return -len(seeds), -variations

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
        """Return the model's name, with the settings in which the configuration differs from the baseline."""
        runs = tuple(run.record.run_id for run in group.runs)
        if runs not in self._names:
            self._names[runs] = self._name(group)
        return self._names[runs]

    def _name(self, group: Group) -> str:
        baseline = self.baseline(group.model)
        if baseline is None or baseline.runs == group.runs:
            return group.model
        return name_of(group, baseline, self.of(group.model))

    def rates(self, like: Group) -> dict[float, Group]:
        """Return the configurations that differ from ``like`` at most in the learning rate, by that rate."""
        return {g.settings["training.lr"]: g for g in self._rates.get(_hash_without_rate(like), [])}

    @cached_property
    def _rates(self) -> dict[int, list[Group]]:
        by_hash: dict[int, list[Group]] = {}
        for group in self.groups:
            if is_number(group.settings.get("training.lr")):
                by_hash.setdefault(_hash_without_rate(group), []).append(group)
        return by_hash


def studies(runs: Sequence[Run]) -> list[Study]:
    """Return the runs grouped into studies, whose runs may be compared; the study with most runs comes first.

    Pruned runs are in no study: they were given up by a search, so they say nothing of how steadily a model
    trains, and they have no results. A run that failed before its data or its protocol were known joins the
    runs that were configured like it.
    """
    runs, _ = without_pruned(runs)
    by_place: dict[tuple[Dataset, str], list[Run]] = {}
    for run, place in zip(runs, _places(runs), strict=True):
        by_place.setdefault(place, []).append(run)
    names = labels(data for data, _ in by_place)
    protocols = Counter(data for data, _ in by_place)
    groups = [
        Study(
            data.name,
            protocol,
            members,
            names[data],
            names[data] + (f" (protocol {protocol[:8] or 'unknown'})" if protocols[data] > 1 else ""),
        )
        for (data, protocol), members in by_place.items()
    ]
    return sorted(groups, key=lambda study: (-len(study.runs), study.label, study.protocol))


def without_pruned(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Return the runs that can be compared, and those that a search has pruned."""
    pruned = [run for run in runs if run.record.status == "pruned"]
    return [run for run in runs if run.record.status != "pruned"], pruned


def named(runs: Sequence[Run]) -> list[Run]:
    """Return the runs under the names that their rows and their data sets have in the tables."""
    return [
        replace(run, name=study.name(group), data=study.label)
        for study in studies(runs)
        for group in study.groups
        for run in group.runs
    ]


def with_labels(runs: Sequence[Run]) -> list[Run]:
    """Return the runs in the same order, each with the name that tables have for its data set."""
    places = _places(runs)
    names = labels(data for data, _ in places)
    return [replace(run, data=names[data]) for run, (data, _) in zip(runs, places, strict=True)]


def nearest(runs: Sequence[Run]) -> list[Run]:
    """Return, of a model's runs on one data set, the configuration and protocol of least mean divergence."""
    alike = [group for study in studies(runs) for group in by_configuration(study.runs).values()]

    def mean(group: Sequence[Run]) -> float:
        values = [value for run in group if (value := divergence_of(run)) is not None]
        return statistics.fmean(values) if values else math.inf

    return min(alike, key=mean)


def _training_numbers(group: Group) -> list[tuple[str, Any]]:
    """Return the numerical settings of a group's training."""
    return [
        item
        for item in group.settings.items()
        if item[0].startswith("training.") and isinstance(item[1], NUMBER)
    ]


def _hash_without_rate(group: Group) -> int:
    """Return a hash of a group's settings without the learning rate."""
    others = sorted((k, repr(v)) for k, v in group.settings.items() if k != "training.lr")
    return hash((group.model, tuple(others)))


def _neighbours(groups: Sequence[Group]) -> list[int]:
    """Return for each group the number of others that differ from it in exactly one setting."""
    items = [[(key, hash((key, repr(v)))) for key, v in group.settings.items()] for group in groups]
    hashes = [reduce(xor, (item for _, item in pairs), 0) for pairs in items]
    # groups that differ in one setting share the hash of their other settings: the hash xor that setting's
    others = [[(key, h ^ item) for key, item in pairs] for pairs, h in zip(items, hashes, strict=True)]
    counts = Counter(other for pairs in others for other in pairs)
    return [sum(counts[other] - 1 for other in pairs) for pairs in others]


def _places(runs: Sequence[Run]) -> list[tuple[Dataset, str]]:
    """Return the data set and the protocol of each run, also of one that failed before they were known."""
    described: dict[tuple[str, str], set[Dataset]] = {}
    own = [dataset(run) for run in runs]
    hashes = [run.record.provenance.protocol_hash or "" for run in runs]
    if all(hashes) and all(data.known for data in own):
        return list(zip(own, hashes, strict=True))
    for run, data in zip(runs, own, strict=True):
        if data.known:
            described.setdefault(_configured(run, "data"), set()).add(data)

    def data_of(run: Run, data: Dataset) -> Dataset:
        alike = set() if data.known else described.get(_configured(run, "data"), set())
        return next(iter(alike)) if len(alike) == 1 else data

    datasets = [data_of(run, data) for run, data in zip(runs, own, strict=True)]
    judged: dict[Any, Counter[str]] = {}
    for run, data in zip(runs, datasets, strict=True):
        if protocol := run.record.provenance.protocol_hash:
            for key in (data, (data, _configured(run, "evaluation"))):
                judged.setdefault(key, Counter())[protocol] += 1

    def protocol_of(run: Run, data: Dataset) -> str:
        protocol = run.record.provenance.protocol_hash
        if protocol or run.record.metrics:
            return protocol or ""
        alike = judged.get((data, _configured(run, "evaluation"))) or judged.get(data) or Counter()
        return max(alike, key=lambda one: (alike[one], one), default="")

    return [(data, protocol_of(run, data)) for run, data in zip(runs, datasets, strict=True)]


def _configured(run: Run, part: str) -> tuple[str, str]:
    """Return the name of a run's data set and one part of its configuration."""
    return run.record.data, str(run.record.provenance.config.get(part))
