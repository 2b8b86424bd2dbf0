"""The numbers that a recommendation compares, and how sentences write them."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping

from zoo.comparison.configurations import Group
from zoo.comparison.criterion import is_positive
from zoo.comparison.groups import interval
from zoo.comparison.quantities import LATENCY, MEGABYTE, PARAMETERS, THROUGHPUT, Quantity
from zoo.comparison.recommend.answer import Number
from zoo.comparison.recommend.timed import TRAINING, values_of
from zoo.comparison.statistics import NORMAL_QUANTILE
from zoo.comparison.studies import UPDATES, Study
from zoo.comparison.tables.cells import KIND_MARKS, heading, number

MEMORY = Quantity("memory", "bytes", "lower", lambda r: r.cost.peak_memory_bytes)
SIZE = dataclasses.replace(PARAMETERS, direction="lower")
LIMITS: dict[
    str, tuple[Quantity, bool, str]
] = {  # constraint: quantity, whether it is an upper limit, its name
    "latency": (LATENCY, True, "one sample takes"),
    "throughput": (THROUGHPUT, False, "it makes"),
    "training": (TRAINING, True, "training takes"),
    "memory": (MEMORY, True, "training needs"),
    "parameters": (SIZE, True, "it has"),
}


def number_of(study: Study, group: Group, quantity: Quantity, kind: str = "") -> Number | None:
    """Return a configuration's mean with its interval; None where it was not measured.

    The interval of a positive distance or time is that of its logarithm, as in the draws that rank it.
    """
    values = values_of(study, group, quantity)
    if not values:
        return None
    logs = is_positive(study, quantity)
    mean, ends = statistics.fmean(values), interval(values, logs)
    if ends is None and (error := standard_error(group, quantity)) is not None:
        reach = NORMAL_QUANTILE * error
        ends = mean - reach, mean + reach
        if logs:
            centre, share = math.log(mean), reach / mean
            ends = math.exp(max(centre - share, -700)), math.exp(min(centre + share, 700))
    low, high = ends if ends is not None else (None, None)
    return Number(quantity.name, quantity.unit, mean, low, high, len(values), kind)


def standard_error(group: Group, quantity: Quantity) -> float | None:
    """Return the evaluation's standard error of a metric that a single run has; None otherwise."""
    metrics = [run.record.metrics.get(quantity.name) for run in group.finished]
    errors = [metric.standard_error for metric in metrics if metric is not None and metric.value is not None]
    return errors[0] if len(errors) == 1 else None


def spoken(quantity: Quantity) -> str:
    """Return the heading that tables give a quantity, without its unit, as sentences write it."""
    return heading(quantity.name).removesuffix(" (nats)")


def limit_text(constraint: str, value: float) -> str:
    """Return the value of a numerical constraint with its unit."""
    if constraint in ("latency", "training"):
        return seconds_text(value)
    if constraint == "memory":
        return f"{value / MEGABYTE:,.0f} MB"
    if constraint == "throughput":
        return f"{number(value)} samples/s"
    if constraint == "lost":
        return f"{value:.0%} of its runs lost"
    return f"{value:,.0f} parameters"


def seconds_text(seconds: float) -> str:
    """Return a duration in the unit that reads best.

    >>> seconds_text(0.0123), seconds_text(75.0), seconds_text(1320.0), seconds_text(7300.0)
    ('12.3 ms', '75 s', '1,320 s', '2.03 h')
    """
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    short = float(f"{seconds if seconds < 3600 else seconds / 3600:.3g}")
    return f"{number(short)} {'s' if seconds < 3600 else 'h'}"


def value_text(quantity: Quantity, value: float) -> str:
    """Return a value in short."""
    if quantity == LATENCY:
        return seconds_text(value)
    if abs(value) >= 1000:
        return number(value)
    return f"{value:.4g}" if quantity.name in ("bits_per_dim", "nll") else f"{value:.3g}"


def share(part: float) -> str:
    """Return a share in whole per cent, halves upwards, as the page's script does.

    >>> share(0.4285), share(0.575)
    ('43 %', '58 %')
    """
    return f"{math.floor(100 * part + 0.5 + 1e-9)} %"


def measured_numbers(study: Study, group: Group, metrics: Mapping[Quantity, str]) -> dict[str, Number]:
    """Return the numbers of a configuration's card, by name.

    Args:
        study: the study of the configuration.
        group: the configuration.
        metrics: what its samples and its density were judged by, with the kind of a likelihood.
    """
    quantities = {**metrics, **dict.fromkeys((LATENCY, THROUGHPUT, TRAINING, MEMORY, SIZE), "")}
    numbers = (number_of(study, group, quantity, kind) for quantity, kind in quantities.items())
    return {number.name: number for number in numbers if number is not None}


def number_texts(numbers: Mapping[str, Number]) -> dict[str, str]:
    """Return the numbers of a card in words, by their headings: metrics with :func:`error_text`'s error."""
    metrics = {
        heading(name).removesuffix(" (nats)"): _metric_text(one)
        for name, one in numbers.items()
        if name not in LIMITS
    }
    costs = {
        {"latency": "one sample"}.get(name, name): limit_text(name, numbers[name].mean)
        for name in LIMITS
        if name in numbers
    }
    return {**metrics, **costs}


def _metric_text(measured: Number) -> str:
    mark, dagger = KIND_MARKS.get(measured.kind, ""), "†" if measured.kind == "exact†" else ""
    mean, low, high = measured.mean, measured.low, measured.high
    if low is None or high is None or low == high:
        return f"{mark}{number(mean)}{dagger}"
    half = (high - low) / 2
    if math.isclose(high - mean, mean - low, rel_tol=1e-6):
        return f"{mark}{number(mean, half)}{dagger}"
    return f"{mark}{_as_exactly(mean, half)} ({_as_exactly(low, half)} to {_as_exactly(high, half)}){dagger}"


def _as_exactly(value: float, error: float) -> str:
    """Return a positive number rounded by its error, or to two digits if the error would round it to 0."""
    text = number(value, error).partition(" ± ")[0]
    return text if float(text.replace(",", "")) > 0 else f"{value:.2g}"


def beside_table(study: Study, group: Group) -> str:
    """Return a remark if the table has another row for the model: which one, and how this one was chosen.

    Empty if the table has this one.
    """
    stands = study.baseline(group.model)
    if stands is None or stands is group:
        return ""
    here, there = (one.settings.get(UPDATES) for one in (group, stands))
    budget = "" if here == there else f", at {there} updates as most models; this one has {here}"
    tried = sum(other.model == group.model for other in study.groups)
    return (
        f"In the table {study.name(stands)} stands for {group.model}: the settings that its other rows "
        f"vary{budget}. This row is chosen from {tried} by the test data that judge it, which flatters it."
    )


def error_text(seeds: int) -> str:
    """Return in words what ± and parentheses on a card mean, for a configuration with so many seeds."""
    if seeds > 1:
        return (
            f"± and (to): 95 % interval of the mean over {seeds} seeds (t; of distances by their logarithms)"
        )
    return "± and (to): 95 % interval of the evaluation, of one seed"


def loosened(needed: float, upper: bool) -> float:
    """Return a limit of three digits that lets ``needed`` in.

    >>> loosened(0.14313, upper=True), loosened(22.87, upper=False)
    (0.144, 22.8)
    """
    if needed <= 0:
        return needed
    step = 10.0 ** (math.floor(math.log10(needed)) - 2)
    steps = math.ceil(needed / step - 1e-9) if upper else math.floor(needed / step + 1e-9)
    return float(f"{steps * step:.3g}")
