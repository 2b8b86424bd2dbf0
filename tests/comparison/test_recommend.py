"""The decision helper, on invented records and on the committed ones."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
from fake_records import nine, save, write, write_toy
from scipy import stats

from zoo.comparison.collect import collect, fingerprint
from zoo.comparison.groups import rankings
from zoo.comparison.guards import broken, key_of
from zoo.comparison.metrics import kind_of
from zoo.comparison.quantities import BITS_PER_DIM
from zoo.comparison.recommend import Answer, Constraints, recommend
from zoo.comparison.recommend.chance import draws, normals, seed_of
from zoo.comparison.recommend.lost import lost_of
from zoo.comparison.recommend.numbers import number_texts
from zoo.comparison.recommend.shipped import SHIPPED
from zoo.comparison.studies import Study, studies
from zoo.comparison.tables.main import main_tables
from zoo.config import compose_run, identify, options
from zoo.config.declared import data_kinds
from zoo.config.identity import to_dict
from zoo.data.binary_tables import SIZES as BINARY
from zoo.data.density_tables import SIZES as CONTINUOUS
from zoo.errors import ZooError
from zoo.evaluation.protocol import protocol_hash
from zoo.kinds import DataKind
from zoo.record import PROTOCOL_VERSION, DataDescription, Metric
from zoo.record.provenance import Protocol
from zoo.running.data import prepare_data
from zoo.sweep import plan_sweep
from zoo.sweep.check import check_jobs

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def quickstart() -> list[Study]:
    return studies(collect([RESULTS / "quickstart/records"])[0])


@pytest.fixture(scope="module")
def claims() -> list[Study]:
    """Return the studies of the claims, without two sweeps that have another number of updates."""
    runs, _ = collect([RESULTS / "claims/records.tar.xz"])
    others = ("claims_factorial", "claims_second_stage")
    return studies(
        [run for run in runs if not any(sweep in (run.record.provenance.command or "") for sweep in others)]
    )


def names(answer: Answer) -> list[str]:
    return [card.name for card in answer.cards]


def latency(quickstart: list[Study], model: str) -> float:
    (run,) = (run for run in quickstart[0].runs if run.record.model == model)
    return run.record.sampling.latency_seconds


def reasons(answer: Answer, name: str) -> str:
    return "; ".join(r.text for one in answer.excluded if one.name == name for r in one.reasons)


def certainty(answer: Answer) -> str:
    (block,) = answer.blocks
    return block.certainty


def seeds(root: Path, model: str, family: str = "flow", fd: float = 3.0, **settings) -> None:
    for seed in range(5):
        write(root, model, family, fd=fd * (1 + 0.01 * seed), seed=seed, **settings)


@pytest.mark.parametrize(
    ("constraints", "first", "among"),
    [
        (Constraints(likelihood="exact", latency=0.010), ["maf"], ["maf", "glow", "realnvp"]),
        (Constraints(latency=0.001), ["gan"], ["gan", "vae"]),
        (Constraints(likelihood="bound", latency=0.001), ["vae"], ["vae"]),
        (Constraints(), ["gan"], ["flow_matching", "diffusion", "gan", "maf"]),
    ],
)
def test_ten_models_on_digits_give_the_answers_that_a_reader_would(
    quickstart: list[Study], constraints: Constraints, first: list[str], among: list[str]
) -> None:
    """One seed each: who is near enough to the first to be named changes when the runs are made anew."""
    answer = names(recommend(quickstart, constraints))
    assert answer[:1] == first
    assert set(answer) <= set(among)


@pytest.mark.parametrize("constraints", [Constraints(), Constraints(latency=0.002), Constraints(density=1.0)])
def test_the_letters_of_a_number_are_those_of_the_table(claims: list[Study], constraints) -> None:
    study = next(study for study in claims if study.data == "digits")
    answer = recommend([study], constraints)
    table = main_tables("digits", study)[0]
    names = {study.name(group): row for group, row in zip(study.ordered, table.rows, strict=False)}
    for card in answer.cards:
        if constraints.density:
            assert card.letters == "", "two criteria have no letters in common"
            continue
        assert card.letters == names[card.name].cells[table.columns.index("fd/digits-cnn")].letters
    if not constraints.density:
        assert {bool(card.letters) for card in answer.cards} == {True, False}, "some are not ranked there"


def test_every_other_model_is_out_for_a_reason_with_its_numbers(quickstart: list[Study]) -> None:
    answer = recommend(quickstart, Constraints(likelihood="exact", latency=0.010))
    assert len(answer.cards) + len(answer.excluded) == 10
    assert reasons(answer, "gan") == "it defines no likelihood"
    milliseconds = 1000 * latency(quickstart, "pixelcnn")
    assert reasons(answer, "pixelcnn") == f"one sample takes {milliseconds:.3g} ms > 10 ms"


def test_a_model_that_another_is_better_than_in_all_is_out(quickstart: list[Study]) -> None:
    answer = recommend(quickstart, Constraints(likelihood="exact"))
    fd = {run.record.model: run.record.metrics["fd/digits-cnn"].value for run in quickstart[0].runs}
    better, worse = f"{fd['maf']:.3g}", f"{fd['iresnet']:.3g}"
    said = (
        f"maf has the better numbers (one seed, not tested): fd/digits-cnn {better} against {worse}, latency"
    )
    assert said in reasons(answer, "iresnet")


def test_one_seed_has_no_rank_and_a_sentence_explains_it(quickstart: list[Study]) -> None:
    answer = recommend(quickstart, Constraints(latency=0.001))
    assert certainty(answer) == "One training seed each: no ranks."
    assert not any(card.ranked or "tied" in card.why or "best in" in card.why for card in answer.cards)
    assert "one seed, which has no rank in fd/digits-cnn" in {card.why for card in answer.cards}
    (command,) = [command for what, command in answer.unmeasured if what == "gan: fewer than 3 seeds"]
    overrides = shlex.split(command)[3:]
    assert command == f"zoo train -m {' '.join(overrides)}"
    assert overrides[-1] == "seed=0,1,2"
    (gan,) = (run.record for run in quickstart[0].runs if run.record.model == "gan")
    again = identify(compose_run([*overrides[:-1], f"seed={gan.seed}"]))
    assert again.config_hash == gan.provenance.config_hash, "it adds seeds to this configuration"


def test_one_seed_without_an_error_is_not_called_sure() -> None:
    toys = collect([RESULTS / "toys/records.tar.xz"])[0]
    answer = recommend(toys, Constraints(latency=0.010, data="8gaussians", fidelity=1, density=0))
    (card, *_) = answer.cards
    assert (card.seeds, card.error_known, card.why.endswith("whose error is not known")) == (1, False, True)
    assert certainty(answer).startswith("Not at all: ")


def test_a_likelihood_that_some_seeds_break_is_no_answer(tmp_path: Path) -> None:
    seeds(tmp_path, "glow")
    for seed in range(5):
        record = write(tmp_path, "maf", "flow", "exact", 1.9 if seed else 60.0, seed, fd=2.9 + 0.01 * seed)
        save(tmp_path, record)
    study = studies(collect([tmp_path])[0])[0]
    answer = recommend([study], Constraints(density=1.0, fidelity=0.0))
    assert names(answer) == ["glow"]
    assert reasons(answer, "maf").startswith("1 of 5 runs (95 % interval 1 to 72 %) collapsed; seed 0: its ")
    assert "its likelihood is broken: 41.6 nats per dimension" in reasons(answer, "maf")
    assert list(broken(study)) == [key_of(group) for group in study.of("maf")]
    (ranking,) = [one for one in rankings(study, BITS_PER_DIM) if "maf" in {p.name for p in one.places}]
    assert [(place.name, bool(place.reason)) for place in ranking.places] == [("glow", False), ("maf", True)]


def test_a_best_that_the_tests_tell_apart_is_no_tie(claims: list[Study]) -> None:
    answer = recommend(claims)
    assert names(answer)[0] == "stylegan"
    assert len(names(answer)) > 1
    assert not any("not told apart" in card.why for card in answer.cards)
    assert "cannot tell" not in certainty(answer)


def test_what_the_tests_cannot_tell_apart_is_a_tie(claims: list[Study]) -> None:
    answer = recommend(claims, Constraints(latency=0.001))
    assert set(names(answer)) == {"wgan_gp", "vae"}
    assert reasons(answer, "gan").startswith("wgan_gp "), "a wide spread alone makes gan no answer"
    assert all("not told apart" in card.why for card in answer.cards)
    assert "The tests cannot tell the first 2 apart." in certainty(answer)


def test_collapsed_gans_are_never_the_fastest_answer(claims: list[Study]) -> None:
    answer = recommend(claims, Constraints(latency=0.001))
    assert set(names(answer)) == {"wgan_gp", "vae"}
    dead = [one for one in answer.excluded if any(r.constraint == "collapsed" for r in one.reasons)]
    assert len(dead) >= 9
    assert {one.family for one in dead} == {"gan", "continuous flow", "vae"}
    one_of_five = reasons(answer, "vae_hierarchical")
    assert "1 of 5 runs (95 % interval 1 to 72 %) collapsed; seed 12" in one_of_five


def test_an_interval_of_a_hopeless_distance_is_still_a_number(tmp_path: Path) -> None:
    record = write(tmp_path, "maf", "flow", fd=1e6, seed=0)
    record.metrics["fd/digits-cnn"].standard_error = 1e10
    save(tmp_path, record)
    (card,) = recommend(studies(collect([tmp_path])[0])).cards
    distance = card.numbers["fd/digits-cnn"]
    assert 0 < distance.low < 1e6 < distance.high < math.inf
    assert number_texts(card.numbers)["fd/digits-cnn"].endswith("e+304)")


def test_the_tuning_effort_stands_on_the_card(claims: list[Study]) -> None:
    card = recommend(claims).cards[0]
    assert (card.model, card.tried) == ("stylegan", (1, 19))


def test_the_nearest_constraint_to_relax_lets_its_model_in(quickstart: list[Study]) -> None:
    asked = Constraints(likelihood="estimate", latency=0.05)
    relaxed = {r.constraint: r for r in recommend(quickstart, asked).relaxations}
    assert {constraint: r.name for constraint, r in relaxed.items()} == {
        "likelihood": "gan",
        "latency": "flow_matching",
    }
    value = relaxed["latency"].value
    assert value is not None
    assert value > latency(quickstart, "flow_matching")
    assert "flow_matching" in names(recommend(quickstart, dataclasses.replace(asked, latency=value)))


def test_the_likelihood_is_relaxed_by_the_least_step_first(tmp_path: Path) -> None:
    nine(tmp_path)
    for seed in range(3):
        write(tmp_path, "wgan", "gan", "none", None, seed, fd=2.0)
        write(tmp_path, "hvae", "vae", "lower bound", 1.9, seed, fd=5.0)
        write(tmp_path, "cnf", "continuous flow", "estimate", 1.9, seed, fd=6.0)
    runs = collect([tmp_path])[0]
    bound = ("bound", "If a bound of the likelihood is enough, hvae comes in (fd/digits-cnn 5).")
    estimate = (
        "estimate",
        "If an estimate of the likelihood is enough, flow_matching comes in (fd/digits-cnn 4.1).",
    )
    free = ("any", "Without any likelihood wgan comes in (fd/digits-cnn 2).")
    steps = [bound, estimate, free]
    for place, asked in enumerate(("exact", "bound", "estimate")):
        answer = recommend(runs, Constraints(likelihood=asked))
        assert [(one.value, one.text) for one in answer.relaxations] == steps[place:]
        relaxed = recommend(runs, Constraints(likelihood=answer.relaxations[0].value))
        assert answer.relaxations[0].name in names(relaxed)


def test_a_further_step_of_the_likelihood_is_told_only_if_it_admits_a_better_one(tmp_path: Path) -> None:
    seeds(tmp_path, "glow", fd=6.0)
    seeds(tmp_path, "cnf", kind="estimate", fd=4.0)
    seeds(tmp_path, "gan", "gan", kind="none", value=None, fd=5.0)
    (relaxed,) = recommend(collect([tmp_path])[0], Constraints(likelihood="exact")).relaxations
    assert (relaxed.value, relaxed.name) == ("estimate", "cnf")


def test_a_lack_that_has_two_consequences_is_said_once_and_is_no_constraint_to_relax(
    quickstart: list[Study],
) -> None:
    for weights in ({"fidelity": 0.0, "density": 1.0}, {"fidelity": 1.0, "density": 0.5}):
        answer = recommend(quickstart, Constraints(likelihood="exact", **weights))
        assert reasons(answer, "gan") == "it defines no likelihood"
        assert "gan" not in [one.name for one in answer.relaxations]


def test_likelihoods_of_different_kinds_are_never_ranked_against_each_other(quickstart: list[Study]) -> None:
    answer = recommend(quickstart, Constraints(fidelity=0, density=1))
    assert [block.kind for block in answer.blocks] == ["exact", "exact†", "lower bound", "estimate"]
    for block in answer.blocks:
        assert {card.numbers["bits_per_dim"].kind for card in block.cards} == {block.kind}
        assert sum(card.on_top for card in block.cards) == pytest.approx(1, abs=0.05)
    assert [card.name for card in answer.blocks[2].cards] == ["vae", "diffusion"]
    assert reasons(answer, "gan") == "it defines no likelihood"
    for one in answer.excluded:  # nobody is out because of a model of another kind
        kinds = {run.record.model: kind_of(run.record.metrics["bits_per_dim"]) for run in quickstart[0].runs}
        better = next((r.text.split()[0] for r in one.reasons if r.constraint == "dominated"), one.model)
        assert kinds[better] == kinds[one.model]


def test_a_relaxed_limit_is_told_of_each_kind_that_has_no_answer_yet(tmp_path: Path) -> None:
    for model, kind, latency in (("maf", "exact", 0.01), ("vae", "lower bound", 0.1), ("glow", "exact", 0.1)):
        for seed in range(3):
            write(tmp_path, model, "flow", kind, 1.9 + 0.01 * seed, seed, latency=latency)
    (relaxed,) = recommend(
        collect([tmp_path])[0], Constraints(fidelity=0, density=1, latency=0.02)
    ).relaxations
    assert relaxed.name == "vae", "glow would come in behind maf, which is of its kind"
    assert relaxed.text == (
        "At 100 ms vae would add an answer of its kind of likelihood (bits/dim ≤ 1.91); "
        "kinds are never compared."
    )


def test_a_newcomer_leads_only_within_its_kind(tmp_path: Path) -> None:
    for model, kind, latency, value in (
        ("maf", "exact", 0.01, 1.9), ("glow", "exact", 0.1, 1.7), ("vae", "lower bound", 0.01, 1.5),
    ):  # fmt: skip
        for seed in range(3):
            write(tmp_path, model, "flow", kind, value + 0.01 * seed, seed, latency=latency)
    answer = recommend(collect([tmp_path])[0], Constraints(fidelity=0, density=1, latency=0.02))
    assert [one.text for one in answer.relaxations] == [
        "At 100 ms glow comes in and leads its kind of likelihood (bits/dim 1.71)."
    ]
    for block in answer.blocks:
        (card,) = block.cards
        assert (card.why, card.ranked) == ("the only one", False)
        assert block.certainty == f"{card.name} is the only one of its kind that fulfils the constraints."


def test_reasons_name_quantities_as_the_tables_do(tmp_path: Path) -> None:
    for model, value in (("glow", 1.7), ("maf", 2.9)):
        for seed in range(3):
            latency = 0.01 if model == "glow" else 0.1
            write(tmp_path, model, "flow", "exact", value + 0.01 * seed, seed, latency=latency)
    answer = recommend(collect([tmp_path])[0], Constraints(fidelity=0, density=1))
    assert reasons(answer, "maf").startswith("glow is better: bits/dim 1.71 against 2.91")


@pytest.mark.parametrize(
    ("constraints", "decides"),
    [
        (Constraints(), "KL"),
        (Constraints(fidelity=1, density=0), "energy dist."),
        (Constraints(fidelity=0, density=1), "KL"),
    ],
)
def test_known_densities_decide_by_the_divergence_unless_asked_otherwise(constraints, decides) -> None:
    toys = collect([RESULTS / "toys/records.tar.xz"])[0]
    answer = recommend(toys, dataclasses.replace(constraints, data="moons"))
    assert answer.criteria == decides
    kinds = [block.kind for block in answer.blocks]
    assert kinds == (["exact", "estimate"] if decides == "KL" else [""])
    said = "The density of moons is known: what decides is the divergence from it (kl)"
    assert any(note.startswith(said) for note in answer.notes) == (constraints == Constraints())


def test_the_rate_that_old_records_call_kl_is_no_divergence(tmp_path: Path) -> None:
    write_toy(tmp_path, "vae", 5.0, direction="none")
    assert recommend(collect([tmp_path])[0]).criteria == "energy dist."


@pytest.mark.parametrize(
    ("constraints", "out", "text"),
    [
        ({"throughput": 1000.0}, "slow", "it makes 8 samples/s < 1,000 samples/s"),
        ({"latency": 0.5}, "slow", "one sample takes 1 s > 500 ms"),
        ({"training": 10.0}, "slow", "training takes 20 s > 10 s"),
        ({"parameters": 1e5}, "slow", "it has 125,088 parameters > 100,000 parameters"),
        ({"memory": 1e9}, "slow", "its memory was not measured"),
        ({"invertible": True}, "slow", "no inverse of its latents was measured"),
        ({"conditional": True}, "slow", "it was trained without labels"),
        ({"checkpoint": True}, "slow", "no trained weights lie beside its records"),
        (
            {"dimension": 64, "data": "digits"},
            "slow",
            "its records do not say how many dimensions the data have",
        ),
        ({"lost": 0.1}, "lossy", "lost 1 of its 6 runs (1 diverged)"),
    ],
)
def test_each_constraint_excludes_with_its_reason(
    tmp_path: Path, constraints: dict, out: str, text: str
) -> None:
    seeds(tmp_path, "slow", latency=1.0)
    seeds(tmp_path, "lossy", fd=4.0)
    write(tmp_path, "lossy", "flow", status="diverged", seed=9)
    assert text in reasons(recommend(studies(collect([tmp_path])[0]), Constraints(**constraints)), out)


def test_a_better_but_much_slower_model_does_not_dominate(tmp_path: Path) -> None:
    seeds(tmp_path, "slow", fd=2.0, latency=0.100)
    seeds(tmp_path, "fast", fd=3.0, latency=0.050)
    seeds(tmp_path, "worse", fd=4.0, latency=0.045)  # a tenth faster, within the thickness of the front
    answer = recommend(collect([tmp_path])[0])
    assert names(answer) == ["slow", "fast"]
    assert reasons(answer, "worse") == "fast is better: fd/digits-cnn 3.06 against 4.08"


def elsewhere(root: Path, device: str, **settings) -> None:
    """Write a run of the model ``away``, timed on a device other than that of the other runs."""
    record = write(root, "away", "flow", seed=7, **settings)
    record.sampling.device = device
    save(root, record)


def test_times_of_two_devices_are_never_compared(tmp_path: Path) -> None:
    seeds(tmp_path, "slow", fd=3.0, latency=0.100)
    seeds(tmp_path, "fast", fd=4.0, latency=0.010)
    seeds(tmp_path, "good", fd=2.0, latency=0.200)
    elsewhere(tmp_path, "NVIDIA H200", fd=5.0, latency=0.001)
    runs = collect([tmp_path])[0]
    answer = recommend(runs)
    assert names(answer) == ["good", "slow", "fast"], "away is faster on another device only"
    assert reasons(answer, "away") == (
        "good has the better number (one seed, not tested): fd/digits-cnn 2.04 against 5"
    )
    assert [(card.device, card.elsewhere) for card in answer.cards] == [("cpu", False)] * 3
    limited = recommend(runs, Constraints(latency=0.050, throughput=10.0, training=30.0))
    assert reasons(limited, "away").split("; ") == [
        "its latency on cpu is unknown (timed on NVIDIA H200: 1 ms)",
        "its throughput on cpu is unknown (timed on NVIDIA H200: 8,000 samples/s)",
        "its training on cpu is unknown (timed on NVIDIA H200: 20 s)",
    ]
    (relaxed,) = recommend(runs, Constraints(latency=0.050)).relaxations
    assert (relaxed.name, relaxed.value) == ("slow", 0.1)
    elsewhere(tmp_path, "NVIDIA H200", fd=1.0, latency=0.500)
    answer = recommend(collect([tmp_path])[0])
    assert names(answer) == ["good", "away", "slow", "fast"], (
        "away may be slower than each of them on their device"
    )
    assert answer.cards[1].elsewhere
    assert answer.cards[2].why.endswith("is as fast, of those that were timed on one device")


def test_only_seeds_of_one_device_are_averaged(tmp_path: Path) -> None:
    seeds(tmp_path, "away", latency=0.010)
    elsewhere(tmp_path, "NVIDIA H200", latency=0.001)
    (card,) = recommend(collect([tmp_path])[0]).cards
    assert (card.numbers["latency"].mean, card.numbers["latency"].n, card.seeds) == (0.010, 5, 6)


def test_a_reason_says_is_better_only_where_a_test_does(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path, "gan", "gan", fd=2.0 + 0.01 * seed, seed=seed, latency=0.0010)
        write(tmp_path, "vae", "vae", fd=9.0 + 0.01 * seed, seed=seed, latency=0.0012)
        record = write(tmp_path, "gan", "gan", fd=(3.0, 4.0, 6.4)[seed], seed=seed, key="-b", latency=0.0010)
        record.provenance.config = {"seed": seed, "training": {"lr": 0.01}}
        save(tmp_path, record)
    write(tmp_path, "glow", "flow", fd=7.0, seed=0, latency=0.0020)
    answer = recommend(collect([tmp_path])[0])
    (best,) = names(answer)
    said = reasons(answer, "vae")
    assert said == f"{best} is better: fd/digits-cnn 2.01 against 9.01", "20 % slower counts as equally fast"
    (noisy,) = (one.name for one in answer.excluded if one.name.startswith("gan"))
    assert reasons(answer, noisy) == (
        f"{best} has the better mean (the test does not tell them apart): fd/digits-cnn 2.01 against 4.47"
    )
    assert reasons(answer, "glow") == (
        f"{best} has the better numbers (one seed, not tested): fd/digits-cnn 2.01 against 7, "
        "latency 1 ms against 2 ms"
    )


def test_a_reason_names_an_answer(claims: list[Study]) -> None:
    for constraints in (Constraints(), Constraints(latency=0.005)):
        answer = recommend(claims, constraints)
        cards = names(answer)
        beaten = [r.text for one in answer.excluded for r in one.reasons if r.constraint == "dominated"]
        assert len(beaten) > 5
        for text in beaten:
            assert any(text.startswith((f"{name} is", f"{name} has")) for name in cards), text


def test_the_interval_of_a_positive_distance_is_positive(tmp_path: Path) -> None:
    for seed, fd in enumerate((2.0, 5.0, 17.0)):
        write(tmp_path, "gan", "gan", fd=fd, seed=seed)
    (card,) = recommend(collect([tmp_path])[0]).cards
    number = card.numbers["fd/digits-cnn"]
    logs = np.log([2.0, 5.0, 17.0])
    low, high = np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs)))
    assert (number.low, number.high) == pytest.approx((low, high))
    assert number_texts(card.numbers)["fd/digits-cnn"] == f"8 ({low:.2g} to {high:.0f})"
    assert number_texts(card.numbers)["bits/dim"] == "1.5"


def test_answers_that_are_as_likely_stand_by_their_numbers() -> None:
    toys = collect([RESULTS / "toys/records.tar.xz"])[0]
    exact = recommend(toys, Constraints(data="8gaussians")).blocks[0]
    assert [card.name for card in exact.cards] == ["nsf_coupling", "maf_mog", "made_mog"]


@pytest.mark.parametrize("share", [5.0, -0.1])
def test_a_share_of_lost_runs_is_at_most_one(tmp_path: Path, share: float) -> None:
    write(tmp_path, "glow", "flow")
    with pytest.raises(ZooError, match=rf"between 0 and 1 \(0\.05 is 5 %\); got {share:g}"):
        recommend(collect([tmp_path])[0], Constraints(lost=share))


def test_bounds_that_are_proven_better_are_told_where_likelihoods_rank(tmp_path: Path) -> None:
    for seed in range(5):
        noise = 0.008 * (seed - 2)
        write(tmp_path, "maf", "flow", "exact", 2.0061 + noise, seed)
        write(tmp_path, "far", "flow", "exact", 2.3 + noise, seed)
        write(tmp_path, "vae", "vae", "lower bound", 1.9994 - noise, seed)
    runs = collect([tmp_path])[0]
    assert recommend(runs).notes == ()
    assert recommend(runs, Constraints(fidelity=0, density=1)).notes == (
        "vae (≤ 1.999 ± 0.013 [5]) is better than the exact values of far: a one-sided test of each bound "
        "against each exact value, by Holm at 5 %.",
    )


def test_nothing_is_extrapolated_to_other_dimensions(tmp_path: Path) -> None:
    record = write(tmp_path, "glow", "flow")
    record.provenance.data = DataDescription(name="digits", shape=[1, 8, 8])
    save(tmp_path, record)
    answer = recommend(
        collect([tmp_path])[0], Constraints(dimension=3072), models={"glow": "any", "iaf": "any"}
    )
    (note,) = answer.notes
    assert note.startswith("Nothing was measured near 3,072 dimensions: the nearest is digits with 64, more")
    assert not answer.cards
    assert reasons(answer, "glow") == "it was measured at 64 dimensions, not near 3,072"
    assert [one.text for one in answer.relaxations] == [
        "At 64 dimensions (digits) glow comes in (fd/digits-cnn 3)."
    ]
    assert answer.unmeasured == (
        (
            "no data of 3,072 dimensions, which cifar10 has; its files are downloaded into data.root= or "
            "ZOO_DATA if they are missing",
            "zoo sweep families data=cifar10 seed=0,1,2",
        ),
    )


@pytest.mark.parametrize("asked", [2, 64, 500, 3072])
def test_the_sweep_of_shipped_data_can_be_planned(tmp_path: Path, asked: int) -> None:
    record = write(tmp_path, "glow", "flow")
    record.provenance.data = DataDescription(name="own", shape=[7, 7])
    save(tmp_path, record)
    answer = recommend(collect([tmp_path])[0], Constraints(dimension=asked), data_kinds())
    name, *overrides = shlex.split(answer.unmeasured[0][1])[2:]
    plan = plan_sweep(name, [*overrides[:-1], "seed=0"], None)
    assert len(plan.jobs) > 10
    check_jobs(plan, [job.overrides for job in plan.jobs])
    data = {tuple(text for text in job.overrides if text.startswith("data=")) for job in plan.jobs}
    assert data == {(f"data={SHIPPED[asked].name}",)}
    if asked == 500:
        assert not any("model=pixelcnn_pp" in job.overrides for job in plan.jobs), (
            "it is made for pictures alone"
        )


def test_the_dimensions_of_shipped_data_are_those_of_the_data() -> None:
    named = set(options("data"))
    for size, one in SHIPPED.items():
        assert one.name in named
        assert size == math.prod(one.shape)
        if not one.files:
            source = prepare_data(to_dict(compose_run([f"data={one.name}"]))["data"])
            assert (source.spec.shape, source.spec.levels) == (one.shape, one.levels)
        elif one.name in (*BINARY, *CONTINUOUS):
            assert {**BINARY, **CONTINUOUS}[one.name][1] == size


def test_where_no_shipped_data_have_the_dimension_the_own_are_explained(tmp_path: Path) -> None:
    record = write(tmp_path, "glow", "flow")
    record.provenance.data = DataDescription(name="digits", shape=[1, 8, 8])
    save(tmp_path, record)
    ((what, command),) = recommend(collect([tmp_path])[0], Constraints(dimension=1000)).unmeasured
    assert what == (
        "no data of 1,000 dimensions; zoo ships none, so NAME stands for your own: images data.path=FOLDER "
        "data.size=SIDE for pictures, or table data.path=FILE"
    )
    for own in ("images data.path=pictures data.size=8", "table data.path=table.csv"):
        target = compose_run(shlex.split(command.replace("NAME", own))[3:-1]).data
        assert target.path == own.partition("path=")[2].partition(" ")[0]


@pytest.mark.parametrize(("asked", "chosen"), [(2, "rings"), (3, "rings"), (30, "digits"), (128, "digits")])
def test_the_nearest_dimension_answers_if_it_is_near(tmp_path: Path, asked: int, chosen: str) -> None:
    measured = (("glow", "digits", [1, 8, 8]), ("glow", "rings", [2]), ("glow", "moons", [2]))
    for model, data, shape in (*measured, ("maf", "rings", [2])):
        record = write(tmp_path, model, "flow", data=data)
        record.provenance.data = DataDescription(name=data, shape=shape)
        save(tmp_path, record)
    answer = recommend(collect([tmp_path])[0], Constraints(dimension=asked))
    size = {"rings": 2, "digits": 64}[chosen]
    assert answer.data == chosen
    near = max(asked, size) <= 2 * min(asked, size)
    assert bool(answer.cards) == near
    said = f"Nothing was measured at {asked} dimensions; the nearest is {chosen} with {size}, and its numbers"
    assert any(note.startswith(said) for note in answer.notes) == (near and asked != size)
    alike = "Of rings alone; moons also have 2 dimensions."
    assert (alike in answer.notes) == (chosen == "rings" and near)
    assert any(what.startswith("no data of") for what, _ in answer.unmeasured) == (asked != size)


def test_lost_runs_are_counted_by_how_they_were_lost(tmp_path: Path) -> None:
    seeds(tmp_path, "glow")
    seeds(tmp_path, "maf")
    write(tmp_path, "glow", "flow", fd=500.0, seed=5)
    record = write(tmp_path, "glow", "flow", seed=6)
    record.metrics["recall/digits-cnn"] = Metric(0.01, "1", direction="higher")
    save(tmp_path, record)
    record = write(tmp_path, "glow", "flow", seed=7)
    record.metrics["fd/digits-cnn"].value = None
    record.metrics["fd/digits-cnn"].reason = "All samples are the same."
    save(tmp_path, record)
    write(tmp_path, "glow", "flow", status="diverged", seed=8)
    write(tmp_path, "glow", "flow", status="failed", seed=9)
    (study,) = studies(collect([tmp_path])[0])
    lost = lost_of(study, *study.of("glow"))
    assert (lost.diverged, lost.failed, lost.collapsed, lost.runs) == (1, 2, 2, 10)
    assert lost.text == "lost 5 of 10 runs (1 diverged, 2 failed, 2 collapsed), 95 % interval 19 to 81 %"


def test_weights_at_hand_are_those_that_lie_beside_the_record(tmp_path: Path) -> None:
    seeds(tmp_path, "glow")
    seeds(tmp_path, "maf")
    for run in collect([tmp_path])[0]:
        run.record.provenance.checkpoint = "checkpoints/best.ckpt"
        directory = save(tmp_path, run.record)
        if run.record.model == "maf" and run.record.seed == 3:
            (directory / "checkpoints").mkdir()
            (directory / "checkpoints/best.ckpt").touch()
    runs = collect([tmp_path])[0]
    answer = recommend(runs, Constraints(checkpoint=True))
    assert [(card.name, card.checkpoint) for card in answer.cards] == [("maf", "checkpoints/best.ckpt")]
    assert reasons(answer, "glow") == "no trained weights lie beside its records"
    before = fingerprint(runs)
    (run,) = [run for run in runs if run.checkpoint]
    (run.directory / run.checkpoint).unlink()
    assert fingerprint(runs) != before, "a page that says otherwise is made again"


def test_only_models_that_can_be_made_for_the_data_are_called_unmeasured(quickstart: list[Study]) -> None:
    kinds: dict[str, DataKind] = {"bits": "binary", "pictures": "integer images", "all": "any"}
    (absent, command), *_ = recommend(quickstart, models=kinds).unmeasured
    assert absent == "pictures, all: no finished run on digits"
    assert command == (
        "zoo sweep families data=digits evaluation.time_limit_seconds=1 model=pictures,all seed=0,1,2"
    )


@pytest.mark.parametrize(
    ("shape", "levels", "absent"),
    [
        ([1, 28, 28], 2, "bits, pictures, all"),
        ([9], 2, "bits, all"),
        ([2], None, "all"),
        (None, None, "all"),
    ],
)
def test_the_kind_of_data_is_that_of_the_records(tmp_path: Path, shape, levels, absent: str) -> None:
    record = write(tmp_path, "glow", "flow")
    record.provenance.data = DataDescription(name="digits", shape=shape, levels=levels)
    save(tmp_path, record)
    kinds: dict[str, DataKind] = {"bits": "binary", "pictures": "integer images", "all": "any"}
    assert recommend(collect([tmp_path])[0], models=kinds).unmeasured[0][0].startswith(f"{absent}: no")


def test_the_suggested_sweep_names_the_data_as_the_runs_did(tmp_path: Path) -> None:
    record = write(tmp_path, "glow", "flow", data="digits:16")
    record.provenance.overrides = ["data=digits", "data.side=16", "model=glow"]
    save(tmp_path, record)
    (_, command), *_ = recommend(collect([tmp_path])[0], models={"iaf": "any"}).unmeasured
    assert command == "zoo sweep families data=digits data.side=16 model=iaf seed=0,1,2"


@pytest.mark.parametrize(
    "change", [{}, {"throughput_batches": [16], "samples": 40, "extractor": "random-conv"}]
)
def test_the_suggested_sweep_is_judged_by_the_protocol_of_the_study(tmp_path: Path, change: dict) -> None:
    for run in collect([RESULTS / "quickstart/records"])[0]:
        source = run.record.provenance
        source.protocol = Protocol(PROTOCOL_VERSION, source.protocol.settings | change)
        source.protocol_hash = protocol_hash(source.protocol.settings)
        settings = {name: str(value).replace("'", "") for name, value in change.items()}
        source.overrides += [f"evaluation.{name}={value}" for name, value in settings.items()]
        save(tmp_path, run.record)
    (study,) = studies(collect([tmp_path])[0])
    (what, command), *_ = recommend([study], models={"iaf": "any"}).unmeasured
    assert what == "iaf: no finished run on digits"
    (job,) = plan_sweep("families", [*shlex.split(command)[3:-1], "seed=0"], None).jobs
    assert protocol_hash(to_dict(compose_run(job.overrides))["evaluation"]) == study.protocol


def test_a_study_of_an_older_protocol_has_to_be_run_again(tmp_path: Path, quickstart: list[Study]) -> None:
    assert not any("run again" in what for what, _ in recommend(quickstart, models=data_kinds()).unmeasured)
    record = write(tmp_path, "glow", "flow")
    record.provenance.protocol = Protocol(PROTOCOL_VERSION - 1, {"time_limit_seconds": 1.0, "forgotten": 3})
    record.provenance.overrides = ["data=digits", "evaluation.time_limit_seconds=1", "model=glow"]
    save(tmp_path, record)
    (absent, command), (seeds_of, _) = recommend(collect([tmp_path])[0], models={"iaf": "any"}).unmeasured
    assert absent == (
        f"iaf: no finished run on digits (the study was judged by version {PROTOCOL_VERSION - 1} of the "
        f"protocol, and today's is version {PROTOCOL_VERSION}: to compare them, the whole study has to be "
        "run again)"
    )
    assert command == "zoo sweep families data=digits evaluation.time_limit_seconds=1 model=iaf seed=0,1,2"
    assert seeds_of.startswith("glow: fewer than 3 seeds (the study was judged by version")


def test_the_suggested_sweep_passes_its_own_checks(quickstart: list[Study]) -> None:
    (_, command), *_ = recommend(quickstart, models=data_kinds()).unmeasured
    name, *overrides = shlex.split(command)[2:]
    plan = plan_sweep(name, [*overrides[:-1], "seed=0"], None)
    assert len(plan.jobs) > 10
    check_jobs(plan, [job.overrides for job in plan.jobs])


def test_an_answer_is_json(tmp_path: Path) -> None:
    answer = recommend(collect([nine(tmp_path)])[0], Constraints(latency=0.01))
    assert json.loads(json.dumps(answer.to_dict(), allow_nan=False))["constraints"]["latency"] == 0.01


def test_mistakes_are_named(tmp_path: Path) -> None:
    runs = collect([nine(tmp_path)])[0]
    sweep = "zoo sweep families data=mnist seed=0,1,2"
    with pytest.raises(
        ZooError, match=rf"No run is .* 'mnist'; the records have digits\. To measure it: {sweep}"
    ):
        recommend(runs, Constraints(data="mnist"))
    with pytest.raises(ZooError, match=r"No run is on the data set 'nowhere'; the records have digits\.$"):
        recommend(runs, Constraints(data="nowhere"))
    with pytest.raises(ZooError, match="weights"):
        recommend(runs, Constraints(fidelity=0))
    with pytest.raises(ZooError, match="at least one dimension; got 0"):
        recommend(runs, Constraints(dimension=0))
    with pytest.raises(ZooError, match="likelihood is one of"):
        recommend(runs, Constraints(likelihood="some"))  # type: ignore[arg-type]


def test_a_weight_on_an_unmeasured_quantity_is_ignored_with_a_note(tmp_path: Path) -> None:
    answer = recommend(collect([nine(tmp_path)])[0], Constraints(coverage=1.0))
    assert answer.notes == ("No record of digits measures coverage, so its weight counts for nothing.",)


def test_a_distance_below_zero_is_the_best_not_the_worst(tmp_path: Path) -> None:
    seeds(tmp_path, "realnvp", fd=-0.01)  # an unbiased distance has no logarithm there
    seeds(tmp_path, "maf", fd=0.5)
    assert names(recommend(studies(collect([tmp_path])[0]), Constraints()))[0] == "realnvp"


def test_a_card_does_not_call_a_tie_what_was_not_tested(tmp_path):
    seeds(tmp_path, "glow", fd=3.0)
    for key, shift in (("", 0.0), ("-wide", 0.01)):  # one of them stands for its model in the tests
        for seed in range(3):
            record = write(tmp_path, "maf", "flow", fd=2.98 + shift + 0.1 * seed, seed=seed, key=key)
            record.provenance.config = {"seed": seed, "training": {"lr": 0.01 + len(key)}}
            save(tmp_path, record)
    answer = recommend(collect([tmp_path])[0])
    why = {card.name: card.why for card in answer.cards}
    (other,) = [name for name, words in why.items() if "not tested" in words]
    assert why[other].endswith("not tested (another configuration of maf is)")
    assert certainty(answer).endswith(f"Not tested, since another configuration of the model is: {other}.")
    assert sum("not told apart" in words for words in why.values()) == 2
    assert "cannot tell the first 2 apart" in certainty(answer)


def test_draws_of_a_mean_follow_students_t():
    for n in (2, 3, 5):
        values = (1.0, 2.0, 4.0, 4.5, 6.0)[:n]
        drawn = draws(values, 20_000, seed_of(f"glow {n}"), logs=False)
        law = stats.t(n - 1, loc=np.mean(values), scale=stats.sem(values))
        assert stats.kstest(drawn, law.cdf).pvalue > 0.01
    single = draws((3.0,), 20_000, 7, logs=True, error=0.3)
    assert (single.mean(), single.std()) == pytest.approx((np.log(3.0), 0.1), rel=0.05)
    assert draws((3.0,), 2, 7, logs=False).tolist() == [3.0, 3.0]


def test_draws_of_two_names_are_independent():
    one, other = (normals(seed_of(f"{name} latency"), 20_000) for name in ("maf~1", "maf~2"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.02
