"""Sequential network evaluations and time of one sample, against the number of dimensions."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, UNDECIDED, Evidence, Missing, Part, claim
from zoo.comparison.claims.measure import DEPTH, LATENCY
from zoo.comparison.claims.panels import Lines
from zoo.comparison.claims.scaling import (
    LEAST_SIZES,
    TEST,
    TEST_OF_DEPTH,
    Scaling,
    powers_text,
    range_text,
    scalings,
    sizes_text,
)
from zoo.comparison.claims.wording import count_text
from zoo.comparison.collect import Run
from zoo.comparison.quantities import UPDATES
from zoo.comparison.tables import number

UNTRAINED = 100  # updates: a network of fewer is called untrained
SIZES = f"one model of each side at {LEAST_SIZES} or more sizes D of one data set (data.side)"


@claim("Autoregressive generation cannot be parallelised.", order=10, scope="all runs")
def autoregressive(runs: Sequence[Run]) -> Evidence:
    yield from _depth(scalings(runs, DEPTH))
    yield from _time(scalings(runs, LATENCY))


def _depth(depths: Sequence[Scaling]) -> Evidence:
    """Yield how many passes of a network have to wait for one another."""
    sequential = [depth for depth in depths if depth.sequential]
    one_pass = [depth for depth in depths if depth.one_pass]
    solvers = [depth for depth in depths if depth.solver]
    if not sequential or not one_pass:
        yield Missing(needs=f"sequential evaluations of {SIZES}")
        return
    runs = [run for depth in depths for run in depth.runs]
    part_on_depth = functools.partial(
        Part, test=f"{TEST_OF_DEPTH}; by construction", n=sizes_text(depths), runs=runs, by_construction=True
    )
    curves = [(depth.model, depth.colour, depth.sizes, depth.costs) for depth in depths]
    all_grow = all(depth.grows for depth in sequential)
    some_do_not = any(depth.does_not_grow for depth in sequential)
    yield part_on_depth(
        sentence="Sequential network evaluations of a sample grow with its dimensions D as "
        f"{powers_text(sequential)}.",
        verdict=SUPPORTED if all_grow else REFUTED if some_do_not else UNDECIDED,
        brief=f"evaluations in a row grow as {range_text(sequential)}",
        outcome=sequential[0].exponent,
        panel=Lines("dimensions D", DEPTH.name, curves),
    )
    all_constant = all(depth.constant for depth in one_pass)
    some_grow = any(depth.grows for depth in one_pass)
    yield part_on_depth(
        sentence=f"Those of families that draw all dimensions at once: {powers_text(one_pass)}.",
        verdict=SUPPORTED if all_constant else REFUTED if some_grow else UNDECIDED,
        brief=f"where all dimensions are drawn at once, as {range_text(one_pass)}",
        outcome=one_pass[0].exponent,
    )
    yield Part(
        sentence="These are the samplers that the models have. Fixed-point (Jacobi) iteration draws from the "
        "same autoregressive flows, up to a tolerance, in a number of passes that hardly grows "
        "(benchmarks/jacobi_sampling.py; docs/claims.md has its table).",
        n="",
        decides=False,
    )
    if solvers:
        yield part_on_depth(
            sentence=f"Those of solvers, whose depth is chosen by a tolerance: {powers_text(solvers)}."
            + _remark_on_training([run for depth in solvers for run in depth.runs]),
            outcome=solvers[0].exponent,
            decides=False,
        )


def _remark_on_training(runs: Sequence[Run]) -> str:
    """Return a remark if the networks that the solvers evaluate are nearly as initialised."""
    updates = [n for run in runs if (n := UPDATES.of(run.record)) is not None]
    if max(updates, default=math.inf) >= UNTRAINED:
        return ""
    return (
        f" These networks are untrained (at most {max(updates):.0f} updates): an adaptive solver's depth "
        "depends on what was learned, so this says nothing of trained ones."
    )


def _time(latencies: Sequence[Scaling]) -> Evidence:
    """Yield the seconds of one sample."""
    sequential = [latency for latency in latencies if latency.sequential]
    one_pass = [latency for latency in latencies if latency.one_pass]
    if len(sequential) < 2 or len(one_pass) < 2:
        yield Missing(needs=f"seconds a sample of {SIZES}", decides=False)
        return
    exponents = [[latency.exponent.estimate for latency in side] for side in (sequential, one_pass)]
    larger = statistics.fmean(exponents[0]) - statistics.fmean(exponents[1])
    curves = [(at.model, at.colour, at.sizes, [1e3 * cost for cost in at.costs]) for at in latencies]
    yield Part(
        sentence=f"Time of one sample grows as {powers_text(sequential)}: exponents larger by "
        f"{number(larger)} than those of families that draw all dimensions at once.",
        test="the mean of these models' exponents; they are no sample of a population: nothing is inferred",
        n=count_text(*exponents) + " models",
        decides=False,
        panel=Lines("dimensions D", "latency (ms)", curves),
        runs=[run for latency in latencies for run in latency.runs],
    )
    others = [latency for latency in latencies if not latency.sequential]
    growing = [latency.model for latency in others if latency.exponent.low > 0]
    yield Part(
        sentence=f"Times of the others, which are not tested for being constant: {powers_text(others)}"
        + (f"; that of {', '.join(growing)} grows" if growing else "")
        + ".",
        test=TEST,
        n=sizes_text(latencies),
        decides=False,
    )
