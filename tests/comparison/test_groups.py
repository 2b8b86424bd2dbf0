"""Groups of ties, against SciPy's tests and brute force."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from fake_records import save, write
from scipy import stats

from zoo.comparison.claims.instability import lost_runs
from zoo.comparison.collect import collect
from zoo.comparison.configurations import Group
from zoo.comparison.groups import (
    Entry,
    Scores,
    compact_letters,
    interval,
    loss,
    pairwise,
    proven,
    rank,
    rankings,
)
from zoo.comparison.guards import collapsed, collapsed_runs, key_of, why_collapsed
from zoo.comparison.quantities import BITS_PER_DIM, LATENCY, NLL, SEQUENTIAL_EVALUATIONS, metric_value
from zoo.comparison.studies import Study, studies
from zoo.record import LIKELIHOOD, Metric

RESULTS = Path(__file__).parents[2] / "results"
DISTANCE = metric_value("fd/digits-cnn")


def entry(name: str, values: tuple[float, ...], **settings) -> Entry:
    return Entry(name, name, values, **settings)


def study_of(root: Path) -> Study:
    return studies(collect([root])[0])[0]


@pytest.mark.parametrize("seed", range(20))
def test_two_items_share_a_letter_exactly_if_they_are_not_different(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    different = np.triu(rng.random((n, n)) < 0.4, 1)
    different = different | different.T
    letters = compact_letters(different)
    for i, j in itertools.combinations(range(n), 2):
        assert bool(set(letters[i]) & set(letters[j])) != different[i, j]
    used = "".join(sorted(set("".join(letters))))
    assert used == "abcdefghijklmnopqrstuvwxyz"[: len(used)]
    assert letters[0].startswith("a")


def test_no_letter_can_be_left_out() -> None:
    different = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=bool)
    assert compact_letters(different) == ["a", "ab", "bc", "c"]


def test_every_pair_is_tested_by_welch_on_logarithms_with_holms_correction() -> None:
    samples = [(1.0, 1.1, 1.3), (1.2, 1.4, 1.1, 1.6), (5.0, 6.0, 9.0)]
    table = pairwise([entry(str(i), values) for i, values in enumerate(samples)], DISTANCE)
    raw = [
        stats.ttest_ind(np.log(a), np.log(b), equal_var=False).pvalue
        for a, b in itertools.combinations(samples, 2)
    ]
    order = np.argsort(raw)
    adjusted = np.empty(3)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.sort(raw) * [3, 2, 1]))
    np.testing.assert_allclose(table[np.triu_indices(3, 1)], adjusted, rtol=1e-9)
    np.testing.assert_array_equal(table, table.T)


def test_a_bound_is_better_than_an_exact_value_only_if_a_one_sided_test_says_so() -> None:
    near, far = (1.999, 2.014, 2.0073), (2.10, 2.11, 2.12)
    bound = entry("vae", (1.993, 2.006, 1.9992), kind="lower bound")
    rows = [bound, entry("near", near, kind="exact"), entry("far", far, kind="exact")]
    rows += [entry("dagger", far, kind="exact†"), entry("dead", far, kind="exact", reason="collapsed")]
    rows += [entry("single", (2.5,), kind="exact")]
    ((found, beaten),) = proven(rows, BITS_PER_DIM)
    assert (found.name, [one.name for one in beaten]) == ("vae", ["far"])
    assert proven([entry("vae", far, kind="lower bound"), entry("a", near, kind="exact")], BITS_PER_DIM) == []
    one_sided = stats.ttest_ind(bound.values, near, equal_var=False, alternative="less").pvalue
    assert 0.05 < one_sided < 0.5
    three = [
        entry(str(i), tuple(v + shift for v in near), kind="exact")
        for i, shift in enumerate((0.007, 0.0075, 0.008))
    ]
    raw = [stats.ttest_ind(bound.values, r.values, equal_var=False, alternative="less").pvalue for r in three]
    assert max(raw) < 0.05 < 3 * min(raw), "significant only without Holm's correction"
    assert proven([bound, *three], BITS_PER_DIM) == []


def test_a_bound_is_paired_with_an_exact_value_over_the_test_examples() -> None:
    rng = np.random.default_rng(0)
    base = 30 * rng.normal(size=200)
    first, second = scores(rng, 0.2, base, 0.01), scores(rng, 0.0, base, 0.01)
    rows = [
        entry(kind, tuple(100 * rng.normal(size=4)), kind=kind, scores=s)
        for kind, s in (("lower bound", first), ("exact", second))
    ]
    assert [one.name for one, _ in proven(rows, NLL)] == ["lower bound"]
    swapped = [entry("lower bound", rows[0].values, kind="lower bound", scores=second)]
    assert proven([*swapped, entry("exact", rows[1].values, kind="exact", scores=first)], NLL) == []


def test_ratios_to_one_are_compared_by_their_distance_from_it() -> None:
    sharpness = metric_value("sharpness", direction="one")
    twice, half = entry("twice", (2.0, 2.1, 1.9)), entry("half", (0.5, 0.49, 0.51))
    assert pairwise([twice, half], sharpness)[0, 1] > 0.5


def scores(rng: np.random.Generator, shift: float, base: np.ndarray, between: float) -> Scores:
    seeds = between * rng.normal(size=(4, 1))
    return Scores(base + shift + seeds + 0.01 * rng.normal(size=(4, len(base))), np.arange(len(base)))


def test_likelihoods_are_paired_over_the_same_test_examples() -> None:
    rng = np.random.default_rng(0)
    base = 30 * rng.normal(size=200)  # the spread of the test set, which cancels
    first, second = scores(rng, 0.0, base, 0.01), scores(rng, 0.2, base, 0.01)
    rows = [entry(n, tuple(-s.values.mean(axis=1)), scores=s) for n, s in (("a", first), ("b", second))]
    assert pairwise(rows, NLL)[0, 1] < 0.001
    seeds_differ = [scores(rng, shift, base, 1.0) for shift in (0.0, 0.2)]
    rows = [entry(str(i), tuple(-s.values.mean(axis=1)), scores=s) for i, s in enumerate(seeds_differ)]
    assert pairwise(rows, NLL)[0, 1] > 0.05  # an example's pairing does not undo the spread over seeds


def test_a_small_test_set_keeps_two_models_apart_from_a_false_rank() -> None:
    rng = np.random.default_rng(1)
    few = [Scores(rng.normal(size=(1, 12)) + np.zeros((4, 1)), np.arange(12)) for _ in range(2)]
    rows = [
        entry(str(i), tuple(-s.values.mean(axis=1) + 1e-9 * np.arange(4)), scores=s)
        for i, s in enumerate(few)
    ]
    assert pairwise(rows, NLL)[0, 1] > 0.05  # over seeds alone this would be significant
    assert pairwise([entry(r.name, r.values) for r in rows], NLL)[0, 1] < 0.001


GOOD, BAD = entry("good", (3.0, 3.1, 3.05)), entry("bad", (4.0, 4.1, 4.05))
NEAR = entry("near", (3.1, 3.0, 3.12))


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([GOOD, NEAR, BAD], {"good", "near"}),
        ([GOOD, entry("noisy", (1.0, 8.0, 2.0)), BAD], {"good"}),  # not told from the best, nor from the bad
        ([GOOD, entry("noisy", (1.0, 8.0, 2.0))], {"good", "noisy"}),  # the best beats nothing either
        ([GOOD, entry("noisy", (0.1, 8.0, 0.2)), BAD], {"noisy", "good"}),  # the best itself is noisy
        ([GOOD, BAD], {"good"}),
        ([GOOD], set()),
    ],
)
def test_a_tie_with_the_best_is_no_reward_for_variance(rows: list[Entry], best: set[str]) -> None:
    assert {place.name for place in rank(rows, DISTANCE).places if place.best} == best


def test_one_seed_has_no_rank() -> None:
    ranking = rank([entry("a", (1.0,)), entry("b", (2.0,))], DISTANCE)
    assert [(place.letters, place.best, place.reason) for place in ranking.places] == [
        ("", False, "n = 1: no ranks")
    ] * 2


def test_counts_are_compared_as_they_are() -> None:
    ranking = rank([entry("a", (64.0,)), entry("b", (8.0,)), entry("c", (8.0,))], SEQUENTIAL_EVALUATIONS)
    assert [(place.name, place.letters) for place in ranking.places] == [("b", "a"), ("c", "a"), ("a", "b")]


def test_kinds_of_likelihood_are_ranked_apart(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path, "glow", "flow", value=1.8 + 0.01 * seed, seed=seed)
        write(tmp_path, "maf", "flow", value=1.9 + 0.01 * seed, seed=seed)
        write(tmp_path, "vae", "vae", "lower bound", value=1.2 + 0.01 * seed, seed=seed)
    letters = {
        r.kind: [(p.name, p.letters) for p in r.places] for r in rankings(study_of(tmp_path), BITS_PER_DIM)
    }
    assert letters == {"exact": [("glow", "a"), ("maf", "b")], "lower bound": [("vae", "a")]}


def test_scores_of_the_seeds_are_read_from_the_runs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = 20 * rng.normal(size=50)
    for model, shift in (("glow", 0.0), ("maf", 0.5)):
        for seed in range(3):
            record = write(tmp_path, model, "flow", value=1.8, seed=seed)
            values = base - shift + 0.01 * rng.normal(size=50)
            indices = rng.permutation(50)
            np.savez(save(tmp_path, record) / LIKELIHOOD, values=values[indices], indices=indices)
    (ranking,) = rankings(study_of(tmp_path), BITS_PER_DIM)
    assert "paired" in ranking.test
    assert [(place.name, place.letters) for place in ranking.places] == [("glow", "a"), ("maf", "b")]


def test_a_collapsed_model_is_the_best_at_nothing_but_its_likelihood(tmp_path: Path) -> None:
    for seed in range(3):
        noise = 1 + 0.01 * seed
        write(tmp_path, "gan", "gan", fd=300.0 * noise, latency=0.001 * noise, value=1.0, seed=seed)
        write(tmp_path, "vae", "vae", fd=3.0 * noise, latency=0.004 * noise, value=1.5, seed=seed)
        write(tmp_path, "glow", "flow", fd=4.0 * noise, latency=0.009 * noise, value=1.6, seed=seed)
    study = study_of(tmp_path)
    gan = next(group for group in study.groups if group.model == "gan")
    assert set(collapsed(study)) == {key_of(gan)}
    (speed,) = rankings(study, LATENCY)
    assert [(p.name, p.best) for p in speed.places] == [("vae", True), ("glow", False), ("gan", False)]
    assert "too far from the data" in speed.places[-1].reason
    (likelihood,) = rankings(study, BITS_PER_DIM)
    assert likelihood.places[0].name == "gan"


def with_a_collapsed_seed(root: Path) -> Study:
    """Return a study whose VAE has the best mean of four seeds, and one that makes few kinds of samples."""
    for seed in range(5):
        noise = 1 + 0.01 * seed
        models = (("vae", "vae", 90.0 if seed == 3 else 3.0), ("glow", "flow", 4.0), ("maf", "flow", 30.0))
        for model, family, fd in models:
            record = write(root, model, family, fd=fd * noise, latency=0.001 * fd * noise, seed=seed)
            recall = 0.0 if fd == 90.0 else 0.5
            record.metrics["recall/digits-cnn"] = Metric(recall, "1", direction="higher")
            save(root, record)
    return study_of(root)


def test_one_collapsed_seed_is_not_hidden_by_a_mean(tmp_path: Path) -> None:
    study = with_a_collapsed_seed(tmp_path)
    (vae,) = study.of("vae")
    assert [run.record.seed for run, _ in collapsed_runs(study, vae)] == [3]
    (why,) = collapsed(study).values()
    assert why.startswith("1 of 5 runs (95 % interval 1 to 72 %) collapsed; seed 3: its recall is 0")
    for quantity in (DISTANCE, LATENCY, metric_value("recall/digits-cnn", direction="higher")):
        (ranking,) = rankings(study, quantity)
        (place,) = (place for place in ranking.places if place.name == "vae")
        assert (place.letters, place.best, place.reason) == ("", False, why), quantity.name
        assert any(place.best for place in ranking.places)


@pytest.mark.parametrize(
    ("fd", "recall", "bits", "why"),
    [
        (3.0, 0.5, 1.5, ""),
        (39.0, 0.05, 1.5, ""),
        (41.0, 0.5, 1.5, "too far from the data"),  # over 10 times the least mean, of 4
        (3.0, 0.049, 1.5, "few kinds of samples"),
        (3.0, 0.5, 40.0, "its likelihood is broken"),
    ],
)
def test_a_run_has_collapsed_by_its_distance_its_recall_or_its_likelihood(
    tmp_path: Path, fd: float, recall: float, bits: float, why: str
) -> None:
    for seed in range(4):
        write(tmp_path, "glow", "flow", fd=4.0, seed=seed)
        write(tmp_path, "maf", "flow", fd=4.0 if seed else 4.1, seed=seed)
    record = write(tmp_path, "vae", "vae", fd=fd if fd > 4 else 4.2, value=bits)
    record.metrics["recall/digits-cnn"] = Metric(recall, "1", direction="higher")
    save(tmp_path, record)
    study = study_of(tmp_path)
    (run,) = study.of("vae")[0].runs
    assert (why in why_collapsed(study, run), bool(why_collapsed(study, run))) == (True, bool(why))


def test_what_the_ledger_counts_as_lost_by_its_recall_has_collapsed_here_too() -> None:
    compared = studies(collect([RESULTS / "claims/records.tar.xz"])[0])
    for study in compared:
        ours = {run.record.run_id for group in study.groups for run, _ in collapsed_runs(study, group)}
        theirs = [
            run for group in study.groups for run in lost_runs(study, Group(group.model, group.finished))
        ]
        judged = {
            run.record.run_id
            for run in theirs
            if study.quality is None or study.quality.of(run.record) is not None
        }
        assert judged <= ours
    assert any(run.record.model == "vae_hierarchical" for study in compared for run in study.runs)


def test_near_a_perfect_fit_no_model_counts_as_collapsed(tmp_path: Path) -> None:
    write(tmp_path, "ffjord", "continuous flow", fd=0.4)
    write(tmp_path, "maf", "flow", fd=9.0)  # over 10 times the best, within 20 times the floor of 0.5
    assert not collapsed(study_of(tmp_path))


@pytest.mark.parametrize(
    ("floor", "deviation", "far"),
    [(0.0003, None, 0), (0.0003, 0.0005, 0), (0.0003, 0.0001, 1), (-0.002, 0.0001, 0)],
    ids=["floor of unknown error", "floor within its error", "sure floor", "floor below 0"],
)
def test_a_distance_that_scatters_about_zero_is_judged_by_a_sure_floor_alone(
    tmp_path: Path, floor: float, deviation: float | None, far: int
) -> None:
    for model, distance in (("maf", -0.001), ("realnvp", 0.01)):
        record = write(tmp_path, model, "flow", data="moons", fd=None)
        details = {"floor": floor} | ({} if deviation is None else {"floor_deviation": deviation})
        record.metrics["energy_distance"] = Metric(distance, "data units", "estimate", details=details)
        save(tmp_path, record)
    found = collapsed(study_of(tmp_path))
    assert len(found) == far
    assert all("above 0.006" in why for why in found.values())


def test_the_interval_is_students() -> None:
    values = (1.0, 2.0, 4.0)
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert interval(values, logs=False) == pytest.approx(expected)
    logs = stats.t.interval(0.95, 2, loc=np.mean(np.log(values)), scale=stats.sem(np.log(values)))
    assert interval(values, logs=True) == pytest.approx(np.exp(logs))


def test_loss_is_smaller_where_a_value_is_better():
    assert loss(1.0, "lower") < loss(2.0, "lower")
    assert loss(2.0, "higher") < loss(1.0, "higher")
    assert loss(2.0, "one") == pytest.approx(loss(0.5, "one"))
    assert loss(1.1, "one") < loss(0.5, "one")
    assert math.isinf(loss(0.0, "one"))
