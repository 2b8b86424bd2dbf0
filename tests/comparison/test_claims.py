"""The ledger against runs whose truth is known: records with effects put in, reversed and left out."""

from __future__ import annotations

import csv
import functools
import io
import math
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_records import nine
from rich.console import Console
from scipy import stats

from zoo.cli import main
from zoo.comparison import compare
from zoo.comparison.claims import claims, decide, figures, sensitivity
from zoo.comparison.claims import statistics as tests
from zoo.comparison.claims import verdict as framework
from zoo.comparison.claims.panels import Lines
from zoo.comparison.claims.render import measured_text, missing_text
from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.claims.verdict import REFUTED, SUPPORTED, UNDECIDED
from zoo.comparison.collect import Run
from zoo.comparison.figures import canvas
from zoo.comparison.studies import Group, studies
from zoo.record import Metric, Record
from zoo.sweep import plan_sweep

FD = "fd/digits-cnn"
GAN = {"training": {"lr": 0.001, "betas": [0.0, 0.99], "ema": 0.99, "r1": 1.0, "augment": []}}
GAN |= {"model": {"critic_norm": "none", "truncation": 1.0}}
BARE = {"training.betas": [0.5, 0.99], "training.ema": 0.0, "training.r1": 0.0}


def simulate(
    model, family, seeds=3, config=None, data="digits", side=8, protocol="p", status="finished", **numbers
):
    """Runs of one configuration. ``numbers``: constants or functions of the seed; ``fd``, ``bits``,
    ``latency``, ``depth``, ``parameters``, ``kind`` or a metric's own name."""
    found = []
    for seed in range(seeds):
        at = {k: v(seed) if callable(v) else v for k, v in numbers.items()}
        kind = at.pop("kind", "exact")
        names = {"fd": FD, "bits": "bits_per_dim"}
        rooms = {k: at.pop(k) for k in ("latency", "depth", "parameters", "updates") if k in at}
        stability = {k.partition("_")[2]: at.pop(k) for k in list(at) if k.startswith("stability_")}
        metrics = {
            names.get(k, k): Metric(v, "1", kind if k == "bits" else "estimate", n=100) for k, v in at.items()
        }
        tree = {}
        for key, value in (config or {}).items():
            room, _, name = key.partition(".")
            tree.setdefault(room, {})[name] = value
        found.append(
            Run(
                Record(
                    run_id=f"{model}-{data}{side}-s{seed}-{abs(hash(repr(config))) % 10**8}{protocol}",
                    model=model, family=family, data=data, seed=seed, status=status,
                    metrics=metrics if status == "finished" else {},
                    sampling={"latency_seconds": rooms.get("latency"),
                              "sequential_evaluations": rooms.get("depth")},
                    cost={k: rooms[k] for k in ("parameters", "updates") if k in rooms},
                    stability=stability,
                    provenance={
                        "config": {"seed": seed, "data": {"side": side}, **tree},
                        "config_hash_without_seed": repr((model, config, side)),
                        "protocol_hash": protocol,
                        "data": {"shape": [1, side, side]},
                    },
                ),
                Path("nowhere"),
            )
        )  # fmt: skip
    return found


def around(mean, spread=0.05, salt=0):
    """A seed's draw from a log-normal about ``mean``, the same in every test run."""
    return lambda seed: mean * math.exp(random.Random(f"{salt}, {seed}").gauss(0, spread))


def gan(changes=None, **numbers):
    base = {f"{room}.{key}": value for room, own in GAN.items() for key, value in own.items()}
    return simulate("gan", "gan", config=base | (changes or {}), **numbers)


def judged(key, runs):
    """The one decision about a claim."""
    (one,) = [claim for claim in all_claims() if claim.key == key]
    (decision,) = framework.decide(runs, [one])
    return decision


def verdict(key, runs):
    return judged(key, runs).verdict


# ------------------------------------------------------------------------------------------------------------
# tests of the tests


def test_statistics_agree_with_scipy():
    source = random.Random(1)
    for _ in range(100):
        a = [source.gauss(0, 1) for _ in range(source.randint(2, 6))]
        b = [source.gauss(1, 3) for _ in range(source.randint(2, 6))]
        ours, theirs = tests.welch(a, b), stats.ttest_ind(a, b, equal_var=False)
        interval = theirs.confidence_interval()
        assert (ours.p, ours.low, ours.high) == pytest.approx(
            (theirs.pvalue, interval.low, interval.high), rel=1e-6
        )
        assert tests.mean_of(a, 0.5).p == pytest.approx(stats.ttest_1samp(a, 0.5).pvalue, rel=1e-8)
        x, y = ([source.random() for _ in range(5)] for _ in range(2))
        ours, theirs = tests.slope(x, y), stats.linregress(x, y)
        assert (ours.estimate, ours.p) == pytest.approx((theirs.slope, theirs.pvalue), rel=1e-8)
        k, m = source.randint(0, 5), source.randint(0, 7)
        exact = stats.fisher_exact([[k, 5 - k], [m, 7 - m]]).pvalue
        assert tests.fisher(k, 5, m, 7) == pytest.approx(exact)


def test_rank_correlation_counts_permutations():
    assert tests.spearman([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)
    x, y = [3, 1, 4, 1.5, 5, 9], [2, 7, 1, 8, 2.8, 1.9]
    exact = stats.permutation_test(
        (x,), lambda v: stats.spearmanr(v, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert tests.spearman(x, y).p == pytest.approx(exact.pvalue, abs=1e-9)
    many = list(range(12))
    assert tests.spearman(many, many[::-1]).p < 0.001
    assert math.isnan(tests.spearman([1, 1, 1], [1, 2, 3]).p)


def test_no_spread_is_no_evidence():
    assert math.isnan(tests.welch([1, 1, 1], [2, 2, 2]).p)
    assert tests.welch([1, 1, 1], [1, 1, 1]).p == 1
    assert math.isnan(tests.mean_of([2, 2, 2], 1).p)
    assert tests.slope([0, 1, 2], [0, 2, 4]) == tests.Outcome(2, 2, 2, 0)
    assert tests.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.parametrize("n", [3, 5])
def test_false_alarms_are_as_rare_as_promised(n):
    """Without an effect, and with unequal spreads, Welch's p is below 5 % in about 5 % of comparisons."""
    source = random.Random(n)
    alarms = 0
    for _ in range(1000):
        a = [source.lognormvariate(0, 0.1) for _ in range(n)]
        b = [source.lognormvariate(0, 0.4) for _ in range(n)]
        alarms += tests.ratio(tests.welch, a, b).p < 0.05
    assert 0.02 < alarms / 1000 < 0.075


def test_the_rank_correlations_false_alarms():
    source = random.Random(0)
    alarms = sum(
        tests.spearman([source.random() for _ in range(6)], [source.random() for _ in range(6)]).p < 0.05
        for _ in range(400)
    )
    assert alarms / 400 < 0.08


def test_a_claim_without_truth_is_rarely_decided():
    """The whole path from records: under the null either verdict comes in about 2.5 % of studies."""
    source = random.Random(5)
    found = [
        verdict("wgan", [*gan(fd=lambda _: source.lognormvariate(0, 0.2)),
                         *simulate("wgan", "gan", fd=lambda _: source.lognormvariate(0, 0.2))])
        for _ in range(300)
    ]  # fmt: skip
    assert found.count(UNDECIDED) > 0.9 * 300
    assert max(found.count(SUPPORTED), found.count(REFUTED)) < 0.06 * 300


# ------------------------------------------------------------------------------------------------------------
# every claim, in both directions


def scaling(depth):
    runs = []
    for side in (4, 8, 16, 32):
        d = side * side
        runs += simulate("pixelcnn", "autoregressive", 1, side=side, depth=depth(d), latency=1e-4 * d**1.1)
        runs += simulate("maf", "flow", 1, side=side, depth=5 * depth(d), latency=1e-5 * d**1.3)
        runs += simulate(
            "realnvp", "flow", 1, side=side, depth=8, latency=1e-3 * d**0.31 * (1 + side % 3 / 50)
        )
        runs += simulate("gan", "gan", 1, side=side, depth=1, latency=1e-3 * d**0.2)
        runs += simulate("ffjord", "continuous flow", 1, side=side, depth=50 + side % 7, latency=0.1 * d**0.3)
    return runs


def test_autoregressive():
    decision = judged("autoregressive", scaling(lambda d: d))
    assert decision.verdict == SUPPORTED
    assert "D^1.00 exactly (pixelcnn), D^1.00 exactly (maf)" in measured_text(decision)
    assert "solvers" not in measured_text(decision), "told beside, decides nothing"
    assert verdict("autoregressive", scaling(lambda d: 4)) == REFUTED
    assert (
        verdict("autoregressive", [r for r in scaling(lambda d: d) if r.record.model != "maf"]) == SUPPORTED
    )
    few = [r for r in scaling(lambda d: d) if r.record.provenance["data"]["shape"][1] < 16]
    decision = judged("autoregressive", few)
    assert decision.verdict == UNDECIDED
    assert "at 3 or more sizes" in measured_text(decision)


def test_the_depth_of_untrained_solvers_is_no_finding():
    def told(updates):
        runs = scaling(lambda d: d)
        for run in runs:
            run.record.cost["updates"] = updates
        (line,) = [p for p in judged("autoregressive", runs).parts if "solvers" in p.sentence]
        assert not line.decides
        return line.sentence

    assert "These networks are untrained (at most 5 updates)" in told(5)
    assert "untrained" not in told(300)


def test_times_of_the_others_are_told_and_not_called_flat():
    decision = judged("autoregressive", scaling(lambda d: d))
    (line,) = [
        p for p in decision.parts if p.sentence.startswith("Times of the others, which are not tested")
    ]
    assert not line.decides
    assert all(f"({model})" in line.sentence for model in ("realnvp", "gan", "ffjord"))
    assert "grows" in line.sentence
    assert "realnvp" not in measured_text(decision).partition("Time of one sample")[2]


def blur(vae, others=1.0, spread=0.05, spectrum=1.0, fd=10.0):
    runs = simulate("vae", "vae", sharpness=around(vae))
    for salt, (model, family) in enumerate((("gan", "gan"), ("realnvp", "flow"), ("glow", "flow"))):
        fine = {"sharpness": around(others, spread, salt + 1), "depth": 8}
        fine["sharpness/spectrum"] = around(spectrum, spread, salt + 5)
        runs += simulate(model, family, **fine, **({} if fd is None else {"fd": around(fd, 0.05, salt)}))
    for run in runs:
        if FD in run.record.metrics:
            run.record.metrics[FD].details["floor"] = 1.0
    return runs


def test_vae_blurry():
    decision = judged("vae-blurry", blur(0.4))
    assert decision.verdict == SUPPORTED
    assert all(p.n in ("3", "3 and 3") for p in decision.parts)
    assert verdict("vae-blurry", blur(1.7)) == REFUTED
    assert verdict("vae-blurry", blur(0.4, others=0.4, spread=0.3)) == UNDECIDED
    assert "sharpness of vae" in measured_text(judged("vae-blurry", blur(0.4)[2:]))


def test_flows_parallel_sharp():
    assert verdict("flows-parallel-sharp", blur(0.4, spread=0.02)) == SUPPORTED
    assert verdict("flows-parallel-sharp", blur(0.4, others=0.5, spread=0.02)) == REFUTED
    assert verdict("flows-parallel-sharp", blur(0.4, others=0.8, spread=0.2)) == UNDECIDED
    assert verdict("flows-parallel-sharp", blur(0.4)[:3]) == UNDECIDED


def test_noise_is_not_called_sharp():
    assert verdict("flows-parallel-sharp", blur(0.4, spread=0.02, spectrum=2.0)) == REFUTED
    far = judged("flows-parallel-sharp", blur(0.4, spread=0.02, fd=70.0))
    assert far.verdict == UNDECIDED
    assert re.search(
        "are (6|7). times as far from real examples as these are from each other", measured_text(far)
    )
    unknown = judged("flows-parallel-sharp", blur(0.4, spread=0.02, fd=None))
    assert unknown.verdict == UNDECIDED
    assert "no distance says" in measured_text(unknown)
    assert verdict("flows-parallel-sharp", blur(0.4, others=0.5, spread=0.02, fd=70.0)) == REFUTED


def restricted(size=5000, updates=1000, far=2.0, near=1.0, discrete=("realnvp", "maf", "residual_flow")):
    runs = simulate("ffjord", "continuous flow", fd=around(near), parameters=4800, updates=1000)
    for salt, model in enumerate(discrete):
        spent = {"parameters": size, "updates": updates}
        runs += simulate(model, "flow", fd=around(far, salt=salt + 1), **spent)
    return runs


def test_restricted_architecture():
    assert verdict("restricted-architecture", restricted()) == SUPPORTED
    assert verdict("restricted-architecture", restricted(far=0.5)) == REFUTED
    assert verdict("restricted-architecture", restricted(far=1.0)) == UNDECIDED
    assert verdict("restricted-architecture", restricted(discrete=["realnvp", "maf"])) == UNDECIDED
    for unlike in ({"size": 4700}, {"size": 6100}, {"updates": 900}):
        decision = judged("restricted-architecture", restricted(**unlike))
        assert (decision.verdict, decision.parts) == (UNDECIDED, [])
    # unbiased distances may be below zero
    assert verdict("restricted-architecture", restricted(near=-0.01, far=0.5)) == SUPPORTED


def rates(spread_gan, spread_flow, lost=(), level=5, lost_flow=()):
    """``lost``: at which of the three rates the bare GAN diverges (``lost_flow``: the flows)."""
    runs = []
    for index, lr in enumerate((0.0005, 0.002, 0.008)):
        far = math.exp(index - 1)
        status, other = ("diverged" if index in gone else "finished" for gone in (lost, lost_flow))
        runs += gan(BARE | {"training.lr": lr}, fd=around(level * far**spread_gan, salt=index), status=status)
        runs += gan({"training.lr": lr}, fd=around(5, salt=index + 3))
        for model in ("realnvp", "maf"):
            number = around(5 * far**spread_flow, salt=index + 6)
            runs += simulate(model, "flow", config={"training.lr": lr}, fd=number, status=other)
    return runs


def test_gan_unstable():
    decision = judged("gan-unstable", rates(1.5, 0.1))  # whose best distance is a quarter of the flows'
    assert decision.verdict == SUPPORTED
    assert "learning rates 0.0005, 0.002, 0.008" in measured_text(decision)
    assert "learned at no rate" not in measured_text(decision)
    assert verdict("gan-unstable", rates(1.5, 0.1, level=200)) == SUPPORTED
    assert verdict("gan-unstable", rates(0.1, 1.0)) == REFUTED
    assert verdict("gan-unstable", rates(0.1, 1.5, level=0.1)) == REFUTED, "steady and the better one"
    assert verdict("gan-unstable", rates(0.0, 0.0)) == UNDECIDED
    assert verdict("gan-unstable", [r for r in rates(1.5, 0.1) if r.record.model != "maf"]) == UNDECIDED
    beside = [p.sentence for p in judged("gan-unstable", rates(1.5, 0.1, lost=[2])).parts]
    assert any(s.startswith("3 of 18 runs of GANs and 0 of 18 of flows") for s in beside)
    runs = rates(1.5, 0.1)
    for run in runs:
        bare = run.record.model == "gan" and run.record.provenance["config"]["training"]["r1"] == 0
        run.record.stability["oscillations"] = {
            "val/energy_distance": around(0.3 if bare else 0.1)(run.record.seed)
        }
    swings = [p for p in judged("gan-unstable", runs).parts if p.sentence.startswith("Oscillation")]
    assert [p.verdict for p in swings] == [SUPPORTED] * 2
    assert not any(p.decides for p in swings)
    assert "of the distance of samples: realnvp 0.1" in swings[0].sentence


def test_a_gan_that_learned_at_no_rate_is_not_called_stable(monkeypatch):
    useless = judged("gan-unstable", rates(0.1, 1.0, level=200))  # everywhere alike, as a failure is
    assert useless.verdict == UNDECIDED
    assert "gan without tricks is 181.6, over 3 times the" in measured_text(useless)
    assert "it learned at no rate" in measured_text(useless)
    monkeypatch.setattr(sensitivity, "FAR", math.inf)
    assert verdict("gan-unstable", rates(0.1, 1.0, level=200)) == REFUTED


@pytest.mark.parametrize("lost", [[2], [0, 1], [0, 1, 2]])
def test_divergence_is_the_extreme_of_instability(lost):
    decision = judged("gan-unstable", rates(0.1, 1.0, lost=lost))
    assert decision.verdict == SUPPORTED
    assert "without bound at 3 seeds (a run diverged) for gan without tricks" in measured_text(decision)
    assert verdict("gan-unstable", rates(1.5, 0.1, lost_flow=lost)) == REFUTED
    assert verdict("gan-unstable", rates(0.1, 1.0, lost=lost, lost_flow=lost)) == UNDECIDED


def test_seeds_that_diverged_are_never_evidence_of_steadiness():
    def some(runs, *seeds):
        for run in runs:
            training = run.record.provenance["config"]["training"]
            bare = run.record.model == "gan" and training["ema"] == 0
            if bare and training["lr"] == 0.008 and run.record.seed in seeds:
                run.record.status, run.record.metrics = "diverged", {}
        return runs

    assert verdict("gan-unstable", some(rates(1.5, 0.1), 1)) == SUPPORTED
    assert verdict("gan-unstable", some(rates(0.1, 1.0), 1)) == UNDECIDED
    decision = judged(
        "gan-unstable", rates(1, 1, lost=[0, 1, 2], lost_flow=[0, 1, 2]) + simulate("vae", "vae", fd=3)
    )
    assert "needs a finished run of" in measured_text(decision)


def test_a_run_that_was_lost_counts_as_the_farthest():
    study = studies(rates(0.0, 0.0, lost=[2]))[0]
    bare = next(g for g in study.of("gan") if g.settings["training.ema"] == 0.0)
    _, (spreads, plain) = sensitivity.sensitivities(study, [bare, study.of("realnvp")[0]])
    assert len(spreads) == len(plain) == 3


def test_wgan_and_what_mends_it():
    def zoo(wgan, gp, sn=2.0):
        return [
            *gan(fd=around(3)),
            *gan({"model.critic_norm": "spectral"}, fd=around(sn, salt=3)),
            *simulate("wgan", "gan", fd=around(wgan, salt=1)),
            *simulate("wgan_gp", "gan", fd=around(gp, salt=2)),
        ]

    keys = ("wgan", "gradient-penalty", "spectral-norm")
    assert [verdict(key, zoo(20, 4)) for key in keys] == [SUPPORTED] * 3
    assert [verdict(key, zoo(1, 9, sn=9)) for key in keys] == [REFUTED] * 3
    assert [verdict(key, zoo(3, 3, sn=3)) for key in keys] == [UNDECIDED] * 3
    few = [r for r in zoo(20, 4) if (r.record.model, r.record.seed) != ("wgan", 0)]
    assert verdict("wgan", few) == UNDECIDED, "two seeds are too few"


def test_two_collapsed_generators_are_told_to_be_so():
    def zoo(plain, spectral, floor=1.0):
        runs = [*gan(fd=around(plain)), *gan({"model.critic_norm": "spectral"}, fd=around(spectral, salt=3))]
        for run in runs:
            run.record.metrics[FD].details["floor"] = floor
        return runs

    decision = judged("spectral-norm", zoo(200, 200))
    assert decision.verdict == UNDECIDED
    assert "Both are collapsed, 204 and 201 times as far as real examples" in measured_text(decision)
    assert judged("spectral-norm", zoo(200, 100)).verdict == SUPPORTED, "a remark changes no verdict"
    assert "collapsed" not in measured_text(judged("spectral-norm", zoo(200, 20)))
    assert "collapsed" not in measured_text(judged("spectral-norm", zoo(200, 200, floor=None)))
    bare = {"training.r1": 0.0}
    both = [
        *zoo(20, 10),
        *gan(bare, fd=200.0),
        *gan(bare | {"model.critic_norm": "spectral"}, fd=around(250)),
    ]
    decision = judged("spectral-norm", both)
    assert decision.verdict == SUPPORTED, "by the GAN that the study varies from"
    assert [p.decides for p in decision.parts] == [True, False]


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("momentum-off", {"training.betas": [0.5, 0.99]}),
        ("ema", {"training.ema": 0.0}),
        ("augmentation", {"training.augment": ["translation", "cutout"]}),
    ],
)
def test_a_trick_against_its_absence(key, change):
    helps = key == "augmentation"  # the plain configuration has the other two, and not this

    def study(changed, **more):
        return [*gan(fd=around(3)), *gan(change, fd=around(changed, salt=1), **more), *gan(BARE, fd=99.0)]

    assert verdict(key, study(1 if helps else 9)) == SUPPORTED
    assert verdict(key, study(9 if helps else 1)) == REFUTED
    assert verdict(key, study(3.0)) == UNDECIDED
    assert verdict(key, study(1 if helps else 9, protocol="another")) == UNDECIDED
    assert verdict(key, study(1 if helps else 9, data="moons")) == UNDECIDED


def test_truncation():
    def study(precision, recall):
        metrics = {"precision/x": around(0.6), "recall/x": around(0.6, salt=1)}
        changed = {"precision/x": around(precision, salt=2), "recall/x": around(recall, salt=3)}
        return [*gan(**metrics), *gan({"model.truncation": 0.7}, **changed)]

    assert verdict("truncation", study(0.9, 0.3)) == SUPPORTED
    assert verdict("truncation", study(0.9, 0.9)) == REFUTED, "both must hold"
    assert verdict("truncation", study(0.9, 0.6)) == UNDECIDED


def test_coupling_and_autoregressive():
    def study(maf, latency, kind="exact"):
        return [
            *simulate("maf", "flow", bits=around(maf, 0.01), latency=around(latency), kind=kind),
            *simulate("realnvp", "flow", bits=around(2, 0.01, salt=1), latency=around(0.002, salt=2)),
        ]

    key = "coupling-autoregressive"
    assert verdict(key, study(1.5, 0.02)) == SUPPORTED
    assert verdict(key, study(2.5, 0.02)) == REFUTED
    assert verdict(key, study(2.0, 0.02)) == UNDECIDED
    decision = judged(key, study(1.5, 0.02, kind="lower bound"))
    assert decision.verdict == UNDECIDED
    assert "likelihoods of one kind" in measured_text(decision)


def test_latencies_of_two_devices_are_not_compared():
    def study(seeds):
        runs = [
            *simulate("maf", "flow", bits=around(1.5, 0.01), latency=around(0.02), seeds=seeds),
            *simulate("realnvp", "flow", bits=around(2, 0.01), latency=around(0.002), seeds=seeds),
        ]
        for run in runs:
            run.record.sampling["device"] = "a card" if run.record.seed else "cpu"
        return runs

    decision = judged("coupling-autoregressive", study(3))
    assert decision.verdict == UNDECIDED
    assert "maf and realnvp, 3 finished seeds on one device" in decision.missing[0].needs
    decision = judged("coupling-autoregressive", study(4))
    assert decision.verdict == SUPPORTED
    assert decision.parts[1].n == "3 and 3"


@pytest.mark.parametrize("changed", [{"threads": 4}, {"dtype": "float64"}, {"compiled": True}])
def test_latencies_measured_otherwise_are_not_compared(changed):
    runs = [
        *simulate("maf", "flow", bits=around(1.5, 0.01), latency=around(0.02)),
        *simulate("realnvp", "flow", bits=around(2, 0.01), latency=around(0.002)),
    ]
    assert verdict("coupling-autoregressive", runs) == SUPPORTED
    for run in runs[:3]:
        run.record.sampling |= changed
    assert verdict("coupling-autoregressive", runs) == UNDECIDED


def test_what_is_missing_is_told_with_the_sweep_of_its_data():
    for data in ("digits", "mnist"):
        runs = [
            *simulate("maf", "flow", data=data, bits=around(2.5, 0.01)),
            *simulate("realnvp", "flow", data=data, bits=around(2, 0.01)),
        ]
        (lacks,) = missing_text(judged("coupling-autoregressive", runs))
        assert lacks.startswith("Not measured: latency"), "what is there refutes it"
        assert lacks.endswith(f"run `zoo sweep claims_{data}`.")
        (lacks,) = missing_text(judged("truncation", runs))
        assert lacks.startswith("Undecided: needs")


def test_discrete_and_continuous():
    """One small and bad flow beside a large and good one says nothing: quality has to be matched."""

    def study(fd, parameters, spread=0.05):
        return [
            *simulate("ffjord", "continuous flow", fd=around(fd, spread), parameters=parameters),
            *simulate("realnvp", "flow", fd=around(3, salt=1), parameters=1000),
        ]

    key = "discrete-continuous"
    assert [verdict(key, study(fd, 500)) for fd in (1, 3)] == [SUPPORTED] * 2
    assert [verdict(key, study(fd, 5000)) for fd in (9, 3)] == [REFUTED] * 2
    assert verdict(key, study(9, 1000)) == REFUTED
    for fd, parameters, seen in (
        (9, 500, "fewer parameters and is worse"),
        (1, 5000, "no fewer parameters and is better"),
    ):
        decision = judged(key, study(fd, parameters))
        assert decision.verdict == UNDECIDED
        assert f"Quality was not matched: the continuous flow has {seen}" in measured_text(decision)
    for parameters in (500, 5000):
        decision = judged(key, study(3, parameters, spread=0.5))
        assert decision.verdict == UNDECIDED, "not found to be worse is not found to be the same"
        assert "beyond doubt" in measured_text(decision)


def test_field_width():
    def study(small_bits, large_seconds):
        return [
            *simulate("ffjord", "continuous flow", config={"model.channels": [8, 8]}, kind="estimate",
                      bits=around(small_bits, 0.01), latency=around(0.01), parameters=100),
            *simulate("ffjord", "continuous flow", config={"model.channels": [64, 64]}, kind="estimate",
                      bits=around(2, 0.01, 1), latency=around(large_seconds, salt=2), parameters=900),
        ]  # fmt: skip

    assert verdict("field-width", study(3, 0.1)) == SUPPORTED
    assert verdict("field-width", study(1, 0.1)) == REFUTED
    assert verdict("field-width", study(3, 0.01)) == UNDECIDED
    assert "two widths" in measured_text(judged("field-width", study(3, 0.1)[:3]))


def test_matching_efficient():
    def study(matching, seconds=40, size=1000):
        return [
            *simulate("ffjord", "continuous flow", config={"training.max_seconds": 40}, kind="estimate",
                      bits=around(2.5, 0.01), parameters=1000, updates=300),
            *simulate("flow_matching", "continuous flow", config={"training.max_seconds": seconds},
                      kind="estimate", bits=around(matching, 0.01, 1), parameters=size, updates=9000),
        ]  # fmt: skip

    key = "matching-efficient"
    assert verdict(key, study(2)) == SUPPORTED
    assert verdict(key, study(3)) == REFUTED
    assert verdict(key, study(2, seconds=80)) == UNDECIDED
    assert verdict(key, study(2, size=5000)) == UNDECIDED
    assert "zoo sweep ffjord_vs_matching" in measured_text(judged(key, gan(fd=1.0)))


def test_likelihood_and_quality():
    def study(distances):
        return [
            run
            for index, fd in enumerate(distances)
            for run in simulate(
                f"m{index}", "flow", bits=around(2 + index / 4, 0.002, index), fd=around(fd, salt=index)
            )
        ]

    key = "likelihood-quality"
    decision = judged(key, study([9, 7, 5, 3, 2, 1]))
    assert decision.verdict == SUPPORTED
    assert "-1.00" in measured_text(decision)
    assert verdict(key, study([1, 2, 3, 5, 7, 9])) == REFUTED
    assert verdict(key, study([1, 2, 3, 5])) == UNDECIDED, "no four ranks agree beyond doubt"
    assert verdict(key, study([9, 7, 5])) == UNDECIDED
    bounds = [
        r
        for i in range(3)
        for r in simulate(f"b{i}", "vae", bits=around(1, salt=i), fd=around(99), kind="lower bound")
    ]
    assert judged(key, study([1, 2, 3, 5, 7, 9]) + bounds).verdict == REFUTED, "kinds are not ranked together"


# ------------------------------------------------------------------------------------------------------------
# what is compared with what


def test_the_baseline_is_the_configuration_that_others_vary():
    runs = [*gan({"training.ema": 0.0}), *gan(), *gan({"training.betas": [0.5, 0.99]}), *gan(BARE)]
    study = studies(runs)[0]
    assert study.baseline("gan").settings["training.ema"] == 0.99
    assert [b.settings["training.ema"] for _, b in study.pair("gan", "training.ema")] == [0.0]
    runs += simulate("gan", "gan", 5, config={"training.lr": 1.0})
    assert studies(runs)[0].baseline("gan").settings["training.ema"] == 0.99
    rates = [run for lr in (1, 3, 2) for run in simulate("maf", "flow", config={"training.lr": lr})]
    others = simulate("vae", "vae", config={"training.lr": 2})
    assert studies(rates + others)[0].baseline("maf").settings["training.lr"] == 2, "trained like the others"
    more = simulate("maf", "flow", 5, config={"training.lr": 4})
    assert studies(rates + others + more)[0].baseline("maf").settings["training.lr"] == 4, "most seeds"


def test_a_run_that_diverged_joins_its_protocol():
    runs = gan(fd=1.0)
    lost = gan({"training.ema": 0.0}, status="diverged")
    for run in lost:
        del run.record.provenance["protocol_hash"], run.record.provenance["data"]
    assert len(studies(runs + lost)) == 1


def test_sizes_and_protocols_are_studies_of_their_own():
    runs = [*gan(fd=1.0), *gan(fd=1.0, side=16), *gan(fd=1.0, protocol="q")]
    assert len(studies(runs)) == 3


def test_a_group_knows_its_family_although_a_run_failed_early():
    runs = simulate("gan", "unknown", 1, status="failed") + simulate("gan", "gan", 2)
    assert Group("gan", runs).family == "gan"


# ------------------------------------------------------------------------------------------------------------
# files


def everything():
    return [
        *rates(1.0, 0.1), *blur(0.4), *scaling(lambda d: d),
        *gan({"model.truncation": 0.7}, fd=around(3), **{"precision/x": around(0.9)}),
    ]  # fmt: skip


def test_files(tmp_path):
    for index, run in enumerate(everything()):
        run.record.run_id += f"-{index}<b>"
        run.record.write(tmp_path / "runs" / str(index))
    console = Console(file=io.StringIO(), width=200)
    assert claims([tmp_path / "runs"], tmp_path / "out", console=console) == 0
    text = console.file.getvalue()
    for one in all_claims():
        assert one.sentence[:30] in text
    page = (tmp_path / "out/claims.html").read_text()
    assert "<b>-" not in page.replace("<b>supported", "")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert page.count("<svg") >= 3
    drawn = {file.name: file.read_bytes() for file in (tmp_path / "out/claims").glob("*.svg")}
    claims([tmp_path / "runs"], tmp_path / "out", console=console)
    assert (tmp_path / "out/claims.html").read_text() == page
    assert {file.name: file.read_bytes() for file in (tmp_path / "out/claims").glob("*.svg")} == drawn
    rows = list(csv.DictReader((tmp_path / "out/claims.csv").open()))
    assert {row["claim"] for row in rows} == {one.key for one in all_claims()}
    row = next(r for r in rows if r["claim"] == "gan-unstable")
    assert float(row["p"]) < 0.05
    assert row["n"] == "3 and 3"
    assert row["verdict"] == row["finding"] == SUPPORTED
    assert "s0" in row["runs"]
    markdown = (tmp_path / "out/claims.md").read_text()
    for picture in re.findall(r"\]\((.*?)\)", markdown):
        assert (tmp_path / "out" / picture).exists()
    assert "Undecided: needs" in markdown


def test_what_is_missing_beside_is_told(tmp_path):
    """Runs that were trained without training.validate_samples have no such curve."""
    runs = [*gan(fd=around(3)), *gan({"training.betas": [0.5, 0.99]}, fd=around(9, salt=1))]
    for index, run in enumerate(runs):
        run.record.stability |= {"oscillation": None, "oscillation_of": None, "oscillations": {}}
        run.record.write(tmp_path / "runs" / str(index))
    claims([tmp_path / "runs"], tmp_path / "out", console=Console(file=io.StringIO()))
    line = "Beside it, not measured: oscillation of the distance of samples"
    for name in ("claims.html", "claims.md", "claims.csv"):
        assert line in (tmp_path / "out" / name).read_text()
    assert judged("momentum-off", runs).verdict == SUPPORTED
    assert line not in measured_text(judged("momentum-off", runs))


def test_a_legend_covers_no_curve():
    curves = [(f"model {i}", "flow", [1.0, 10.0], [1.0, 10.0 + i]) for i in range(9)]
    figure = canvas(4.7, 2.6)
    axis = figure.subplots()
    figures.draw_panel(axis, Lines("D", "seconds", curves))
    figure.draw_without_rendering()
    assert axis.get_legend().get_window_extent().x0 >= axis.get_window_extent().x1
    assert axis.get_legend().get_window_extent().x1 <= figure.bbox.x1


def test_partial_results_say_what_is_missing(tmp_path):
    nine(tmp_path / "runs")
    console = Console(file=io.StringIO(), width=200)
    claims([tmp_path / "runs"], None, console=console)
    text = " ".join(console.file.getvalue().split())
    assert text.count("Undecided: needs") == len(all_claims())
    assert "zoo sweep claims_digits" in text


def test_the_command_imports_no_torch(tmp_path):
    nine(tmp_path / "runs")
    command = f"from zoo.cli import main; main(['claims', {str(tmp_path / 'runs')!r}])"
    code = f"import sys; {command}; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False False")
    assert main(["claims", str(tmp_path / "nowhere")]) == 2


def test_every_claim_is_explained():
    text = (Path(__file__).parents[2] / "docs/claims.md").read_text()
    for one in all_claims():
        assert f"## {one.sentence}" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["claims_digits", "claims_mnist"])
def test_the_shipped_sweeps_leave_no_claim_without_its_runs(name):
    """Records of all its jobs, as if they had run: nothing is missing but what other sweeps are for."""
    source = random.Random(0)
    families = dict.fromkeys(("gan", "wgan", "wgan_gp", "sngan", "stylegan"), "gan")
    families |= dict.fromkeys(("vae", "vae_hierarchical"), "vae")
    families |= dict.fromkeys(("pixelcnn", "pixelcnn_pp"), "autoregressive")
    families |= dict.fromkeys(("ffjord", "flow_matching"), "continuous flow") | {"diffusion": "diffusion"}
    runs = []
    for job in plan_sweep(name, [], None).jobs:
        identity = job.identity
        side = identity.config["data"].get("side") or 8
        draw = functools.partial(source.lognormvariate, 0, 0.1)
        names = (FD, "bits_per_dim", "sharpness", "precision/x", "recall/x")
        channels = identity.config["model"].get("channels") or [64]
        record = Record(
            run_id=identity.run_id, model=identity.model, data=identity.data,
            seed=identity.seed, family=families.get(identity.model, "flow"), status="finished",
            metrics={key: Metric(draw(), "1", n=100) for key in names},
            sampling={"latency_seconds": draw(), "sequential_evaluations": 8},
            cost={"parameters": 10 * channels[0], "updates": 1},
            provenance={"config": identity.config, "data": {"shape": [1, side, side]},
                        "config_hash_without_seed": identity.config_hash_without_seed,
                        "protocol_hash": repr(identity.config["evaluation"])},
        )  # fmt: skip
        runs.append(Run(record, Path("nowhere")))
    lacking = {d.claim.key for d in decide(runs) if any(missing.decides for missing in d.missing)}
    assert lacking == ({"matching-efficient"} if name == "claims_digits" else {"autoregressive"})
    for study in studies(runs):
        if study.baseline("gan") and len(study.runs) > 60:
            assert study.baseline("gan").settings["training.r1"] == 1.0
            assert study.baseline("realnvp").settings["training.lr"] == 0.002
            assert study.baseline("ffjord").settings["model.channels"] == [64, 64]
            assert not study.baseline("flow_matching").settings["training.max_seconds"]


def test_the_comparison_has_the_claims_that_its_runs_decide(tmp_path):
    for index, run in enumerate(blur(0.4, spread=0.02)):
        run.record.write(tmp_path / "runs" / str(index))
    compare([tmp_path / "runs"], tmp_path / "out", console=Console(file=io.StringIO()))
    page = (tmp_path / "out/index.html").read_text()
    assert "The lecture's claims" in page
    assert "VAEs are blurry." in page
    assert "Truncating" not in page
    nine(tmp_path / "others")
    compare([tmp_path / "others"], tmp_path / "more", console=Console(file=io.StringIO()))
    assert "claims" not in (tmp_path / "more/index.html").read_text()
