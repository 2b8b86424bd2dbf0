"""Runs that may be compared, and groups of runs that differ in their seeds alone."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import xor
from typing import Any, TypeGuard

from zoo.comparison.collect import LARGEST, Run
from zoo.comparison.datasets import Dataset, dataset, labels
from zoo.comparison.quantities import Quantity, metric_value
from zoo.record import Metric

FAMILIES = ("flow", "continuous flow", "diffusion", "autoregressive", "vae", "gan", "unknown")
OWN_SAMPLES = 5  # version of the protocol since which every training seed has samples of its own
LEAST_RATES = 3  # least number of learning rates for a spread


def family_rank(family: str) -> int:
    """Return the place of a family in tables and figures; a family of a user's own comes last."""
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)


def groups(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Return the runs by model and configuration: runs that differ in their seed alone are one group."""
    split: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        key = run.record.provenance.config_hash_without_seed or ""
        split.setdefault((run.record.model, key), []).append(run)
    return split


def timing_conditions(run: Run) -> dict[str, Any]:
    """Return the conditions that must agree if two speeds of sampling are compared."""
    sampling = run.record.sampling
    conditions = {"device": sampling.device, "threads": sampling.threads, "dtype": sampling.dtype}
    if sampling.device == "cpu":
        conditions["cpu"] = run.record.provenance.hardware.cpu
    if "session" in sampling.details:  # of ``zoo time``
        conditions["session"] = sampling.details["session"]
    return conditions | {"compiled": bool(sampling.compiled)}


def divergence_of(run: Run) -> float | None:
    """Return the divergence from the data's density in nats, where that density is known.

    The metric ``kl`` without a direction is something else: the rate of a VAE, in old records.
    """
    kl = run.record.metrics.get("kl")
    return None if kl is None or kl.direction == "none" else kl.value


def nearest(runs: Sequence[Run]) -> list[Run]:
    """Return, of a model's runs on one data set, the configuration and protocol of least mean divergence."""
    alike = [group for study in studies(runs) for group in groups(study.runs).values()]

    def mean(group: Sequence[Run]) -> float:
        values = [value for run in group if (value := divergence_of(run)) is not None]
        return statistics.fmean(values) if values else math.inf

    return min(alike, key=mean)


def kind_of(metric: Metric) -> str:
    """Return the kind of a likelihood; only likelihoods of one kind are ranked together.

    ``exact`` of a flow on dequantised data is a separate kind, ``exact†``.
    """
    if metric.kind == "exact" and metric.details.get("dequantisation") == "uniform":
        return "exact†"
    return metric.kind


def shared_error(run: Run, name: str) -> float:
    """Return the part of a metric's standard error that the spread over training seeds leaves out.

    Before version 5 of the protocol all seeds of a study were judged with the same latents: their samples
    correlate by up to 0.95, so the error of their draw, which is the metric's standard error, is common to
    them. 0 for a metric of other things than samples, and since then.
    """
    protocol, metric = run.record.provenance.protocol, run.record.metrics.get(name)
    if metric is None or "reference_n" not in metric.details:
        return 0.0
    own_samples = protocol is not None and protocol.version >= OWN_SAMPLES
    return 0.0 if own_samples else metric.standard_error or 0.0


def quality_metric(runs: Sequence[Run]) -> str | None:
    """Return the name of the distance between samples and data that most runs have."""
    counts: Counter[str] = Counter()
    for run in runs:
        for name, metric in run.record.metrics.items():
            is_distance = name.startswith("fd/") or name in ("fid", "energy_distance")
            counts[name] += is_distance and metric.value is not None
    return max(+counts, key=lambda name: (counts[name], name), default=None)


def is_autoregressive(run: Run) -> bool:
    """Whether the model draws one dimension after the other; a flow may do so too."""
    return run.record.sampling.order == "sequential"


def settings(run: Run) -> dict[str, Any]:
    """Return the configuration as ``{"training.lr": 0.001, ...}``, without the seed."""
    config = run.record.provenance.config
    return _flat({k: v for k, v in config.items() if k not in ("seed", "choices")})


def is_number(setting: object) -> TypeGuard[int | float]:
    """Whether a setting of a record is a number, which nobody has checked."""
    return isinstance(setting, int | float) and not isinstance(setting, bool) and abs(setting) <= LARGEST


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, branch in tree.items():
        name = f"{prefix}{key}"
        flat |= _flat(branch, f"{name}.") if isinstance(branch, Mapping) else {name: branch}
    return flat


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
    def finished(self) -> list[Run]:
        """The runs that neither diverged nor failed."""
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

    def __post_init__(self) -> None:
        self.label = self.label or self.data
        self.title = self.title or self.label

    @cached_property
    def groups(self) -> list[Group]:
        """Every configuration."""
        return [Group(model, members) for (model, _), members in groups(self.runs).items()]

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
        return [g for g in self.groups if g.model == model and (where is None or where(g.settings))]

    def baseline(self, model: str) -> Group | None:
        """Return the configuration that stands for a model: the one that a study varies.

        Most other configurations differ from it in one setting alone. Ties are decided by the most seeds,
        then by the settings of training most common among all models, then by the fewest overrides.
        """
        return self._baselines.get(model)

    @cached_property
    def _baselines(self) -> dict[str, Group]:
        by_model: dict[str, list[Group]] = {}
        for group in self.groups:
            by_model.setdefault(group.model, []).append(group)
        return {model: self._most_central(groups) for model, groups in by_model.items()}

    def _most_central(self, groups: Sequence[Group]) -> Group:
        neighbours = _neighbours(groups)
        return groups[max(range(len(groups)), key=lambda i: (neighbours[i], *self._weight(groups[i])))]

    def _weight(self, group: Group) -> tuple[int, int, int]:
        """Return the numbers that decide between groups with equally many neighbours."""
        numbers = {k: v for k, v in group.settings.items() if isinstance(v, int | float)}
        alike = sum(self._training[item] for item in numbers.items())
        overrides = group.runs[0].record.provenance.overrides or []
        return len({run.record.seed for run in group.runs}), alike, -len(overrides)

    @cached_property
    def _training(self) -> Counter[tuple[str, Any]]:
        """Number of groups with each numerical setting of training."""
        return Counter(
            item
            for group in self.groups
            for item in group.settings.items()
            if item[0].startswith("training.") and isinstance(item[1], int | float)
        )

    def baselines(self, family: str | None = None) -> list[Group]:
        """Return the baseline of each model, of one family or of all."""
        return [g for g in self._baselines.values() if family is None or g.family == family]

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
        baseline = self.baseline(group.model)
        if baseline is None or baseline.runs == group.runs:
            return group.model
        changes = sorted(differing(group, baseline))
        if 0 < len(changes) <= 4:
            short = [f"{key.rpartition('.')[2]} {group.settings.get(key, 'unset')}" for key in changes]
            return f"{group.model} ({', '.join(short)})"
        return f"{group.model} ({str(group.runs[0].record.provenance.config_hash_without_seed)[:6]})"

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


def common_rates(study: Study) -> list[float] | None:
    """Return the learning rates that are common to all models run at three or more; None if fewer than 3."""
    several = [set(rates) for group in study.groups if len(rates := study.rates(group)) >= LEAST_RATES]
    shared = sorted(set.intersection(*several)) if several else []
    return shared if len(shared) >= LEAST_RATES else None


def sensitivities(
    study: Study, groups: Sequence[Group | None], rates: Sequence[float] | None = None
) -> tuple[list[float], list[list[float]]] | None:
    """Return how much the distance between samples and data depends on the learning rate.

    Args:
        study: of the groups.
        groups: configurations of models.
        rates: the learning rates to use; None: all that the groups share.

    Returns:
        The rates, and for each group and seed the standard deviation, over the rates, of the logarithm of the
        distance; a run that did not finish counts as the largest distance of all. None where a group is
        missing, where fewer than three rates are shared, or where no distance is positive.
    """
    quality = study.quality
    if quality is None or any(group is None for group in groups):
        return None
    grids = [study.rates(group) for group in groups if group is not None]
    shared = set.intersection(*[set(grid) for grid in grids])
    rates = sorted(shared if rates is None else shared.intersection(rates))
    if len(rates) < LEAST_RATES:
        return None
    largest = max((v for g in grids for rate in rates for v in g[rate].values(quality)), default=0.0)
    if largest <= 0:
        return None
    return rates, [_spreads([grid[rate] for rate in rates], quality, largest) for grid in grids]


def _spreads(by_rate: Sequence[Group], quality: Quantity, largest: float) -> list[float]:
    """Return for each seed that was run at every rate the deviation of the logarithm of its distances."""
    runs = [{run.record.seed: run for run in reversed(group.runs)} for group in by_rate]
    spreads = []
    for seed in sorted(set.intersection(*map(set, runs))):
        values = [quality.of(of_rate[seed].record) for of_rate in runs]
        spreads.append(statistics.stdev(math.log(v if v and v > 0 else largest) for v in values))
    return spreads


def studies(runs: Sequence[Run]) -> list[Study]:
    """Return the runs grouped into studies, whose runs may be compared; the study with most runs comes first.

    A run that failed before its data or its protocol were known joins the runs that were configured like it.
    """
    by_place: dict[tuple[Dataset, str], list[Run]] = {}
    for run, place in zip(runs, _places(runs), strict=True):
        by_place.setdefault(place, []).append(run)
    names = labels(data for data, _ in by_place)
    protocols = Counter(data for data, _ in by_place)
    found = [
        Study(
            data.name,
            protocol,
            members,
            names[data],
            names[data] + (f" (protocol {protocol[:8] or 'unknown'})" if protocols[data] > 1 else ""),
        )
        for (data, protocol), members in by_place.items()
    ]
    return sorted(found, key=lambda study: (-len(study.runs), study.label, study.protocol))


def _places(runs: Sequence[Run]) -> list[tuple[Dataset, str]]:
    """Return the data set and the protocol of each run, also of one that failed before they were known."""
    described: dict[tuple[str, str], set[Dataset]] = {}
    for run in runs:
        if (data := dataset(run)).known:
            described.setdefault(_configured(run, "data"), set()).add(data)

    def data_of(run: Run) -> Dataset:
        data, alike = dataset(run), described.get(_configured(run, "data"), set())
        return next(iter(alike)) if not data.known and len(alike) == 1 else data

    datasets = [data_of(run) for run in runs]
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


def usual_timing(groups: Sequence[Group]) -> str | None:
    """Return the conditions under which most finished runs were timed; None if none has finished.

    Where ``zoo time`` measured some of them, only its sessions count.
    """
    finished = [run for group in groups for run in group.finished]
    in_turns = [run for run in finished if "session" in timing_conditions(run)]
    conditions = Counter(timing(run) for run in in_turns or finished)
    return conditions.most_common(1)[0][0] if conditions else None


def timing(run: Run) -> str:
    """Return the device, threads and precision of a run, which have to agree for times to be comparable."""
    return repr(timing_conditions(run))
