"""The measured slide, on invented records with known verdicts and on the committed ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fake_records import save, write
from scipy import stats

from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.collect import collect
from zoo.comparison.slide import EVIDENCE, ROWS, Slide, markdown, slide
from zoo.comparison.slide.questions import QUESTIONS, Cell
from zoo.comparison.statistics import MARGIN
from zoo.record import DataDescription, Metric

RESULTS = Path(__file__).parents[2] / "results"


def add(
    root: Path, model: str, family: str, distances=(3.0, 3.1, 2.9), sharpness=(1.0, 1.01, 0.99), **settings
):
    for seed, (fd, sharp) in enumerate(zip(distances, sharpness, strict=False)):
        record = write(root, model, family, fd=fd, seed=seed, **settings)
        record.metrics["sharpness"] = Metric(sharp, "1", direction="one")
        record.provenance.data = DataDescription(name="digits", shape=[1, 8, 8])
        save(root, record)


def measured(root: Path) -> Slide:
    measured = slide(collect([root])[0])
    assert measured is not None
    return measured


def cell(root: Path, question: str) -> Cell:
    return measured(root).rows[0].cells[question]  # type: ignore[index]


def test_each_family_of_the_slide_has_a_row_and_an_answer_to_each_question() -> None:
    measured = slide(collect([RESULTS / "claims/records.tar.xz"])[0])
    assert measured is not None
    assert tuple(row.family for row in measured.rows) == ROWS
    assert not measured.absent
    for row in measured.rows:
        assert tuple(row.cells) == QUESTIONS
        assert all(c.verdict != "not measured" and c.runs for c in row.cells.values())
    verdicts = {row.family: [c.verdict for c in row.cells.values()] for row in measured.rows}
    assert verdicts["autoregressive"] == ["no", "yes", "yes", "yes"]
    assert verdicts["coupling flow"] == ["yes", "yes", "yes", "yes"]
    assert verdicts["vae"][:3] == ["yes", "no", "undecided"]
    (vae,) = (row for row in measured.rows if row.family == "vae")
    assert vae.cells["stable"].short.startswith("1 of 10 collapsed; else 1.")
    assert vae.cells["stable"].high < 1.5, "the collapsed seed is in no spread"
    assert verdicts["gan"][3] == "no"
    (gan,) = (row.cells["stable"] for row in measured.rows if row.family == "gan")
    models, _, rates = gan.counted.partition(": ")
    assert set(models.split(", ")) == {"gan", "sngan", "stylegan", "wgan", "wgan_gp"}
    assert rates == "300 updates, lr 0.0003 to 0.001"
    assert "another GAN: one without its tricks" in gan.apart
    assert not vae.cells["stable"].apart, "no claim, so none that asks something else"
    parallel = {row.family: row.cells["parallel"] for row in measured.rows}
    assert {family for family, one in parallel.items() if "from D = 16 to 1,024" in one.text} == {
        "autoregressive", "vae", "gan", "coupling flow", "autoregressive flow",
    }  # fmt: skip
    assert parallel["diffusion"].verdict == parallel["residual flow"].verdict == "solver"
    json.dumps(measured.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("order", "evaluations", "verdict"),
    [("parallel", 100, "yes"), ("sequential", 2, "no"), ("solver", 3, "solver"), ("solver", 300, "solver")],
)
def test_at_one_size_the_declared_order_decides_and_no_count(
    tmp_path: Path, order, evaluations: int, verdict: str
) -> None:
    add(tmp_path, "maf", "flow", order=order, evaluations=evaluations)
    answer = cell(tmp_path, "parallel")
    assert answer.verdict == verdict
    assert answer.text.startswith(f"{evaluations} steps for 64 dimensions; ")
    assert ("measured at one size only" in answer.text) == (order != "solver")


@pytest.mark.parametrize(
    ("order", "own", "counts", "verdict", "said"),
    [
        ("parallel", 8, (8, 8, 8), "yes", "grow as D^0.00 from D = 16 to 256"),
        ("sequential", 64, (16, 64, 256), "no", "grow as D^1.00 from D = 16 to 256"),
        ("sequential", 8, (8, 8, 8), "yes", "grow as D^0.00 from D = 16 to 256"),
        ("parallel", 64, (16, 64, 256), "no", "grow as D^1.00 from D = 16 to 256"),
        ("parallel", 11, (8, 11, 9), "undecided", "from D = 16 to 256"),
        ("parallel", 8, (8, 8), "yes", "measured at one size only"),
        ("parallel", 8, (16, 64, 256), "yes", "measured at one size only"),  # those are of another sampler
        ("solver", 64, (16, 64, 256), "solver", "set by its solver"),
    ],
)
def test_at_several_sizes_the_growth_with_the_dimensions_decides(
    tmp_path: Path, order, own: int, counts: tuple[int, ...], verdict: str, said: str
) -> None:
    add(tmp_path, "maf", "flow", order=order, evaluations=own)
    for side, evaluations in zip((4, 8, 16), counts, strict=False):
        record = write(tmp_path, "maf", "flow", data=f"digits-{side}", order=order, evaluations=evaluations)
        record.provenance.config = {"data": {"side": side, "name": f"digits:{side}"}, "model": "maf"}
        record.provenance.data = DataDescription(name=f"digits:{side}", shape=[1, side, side])
        record.provenance.protocol_hash = "p-scaling"
        save(tmp_path, record)
    answer = slide(collect([tmp_path])[0], "digits").rows[0].cells["parallel"]  # type: ignore[union-attr]
    assert (answer.verdict, said in answer.text) == (verdict, True), answer.text
    assert answer.short == f"{own}/64"


def test_on_the_plane_counts_of_steps_contradict_no_declared_order() -> None:
    measured = slide(collect([RESULTS / "toys/records.tar.xz"])[0], "8gaussians")
    assert measured is not None
    verdicts = {row.family: row.cells["parallel"].verdict for row in measured.rows}
    assert verdicts["autoregressive flow"] == "no"
    assert verdicts["coupling flow"] == "yes"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((1.0, 1.02, 0.98), "yes"),
        ((0.7, 0.71, 0.69), "no"),
        ((1.5, 1.51, 1.49), "no"),
        ((1.0, 1.4, 0.7), "undecided"),
        ((1.0, 1.01), "undecided"),
    ],
)
def test_sharp_is_an_equivalence_within_a_quarter(tmp_path: Path, values, verdict: str) -> None:
    add(tmp_path, "vae", "vae", sharpness=values)
    assert cell(tmp_path, "sharp").verdict == verdict


@pytest.mark.parametrize(("distance", "verdict"), [(25.0, "yes"), (25.1, "undecided"), (300.0, "undecided")])
def test_samples_over_fifty_floors_from_the_data_are_not_sharp(tmp_path: Path, distance, verdict) -> None:
    add(tmp_path, "vae", "vae", distances=(distance,) * 3)  # the floor is 0.5
    assert cell(tmp_path, "sharp").verdict == verdict


@pytest.mark.parametrize(
    ("distances", "verdict"),
    [
        ((3.0, 3.01, 3.02, 2.99, 3.0), "yes"),
        ((3.0, 4.5, 2.0, 7.0, 1.2), "no"),
        ((3.0, 3.5, 2.8, 3.9, 3.2), "undecided"),
    ],
)
def test_stable_is_the_spread_over_seeds(tmp_path: Path, distances, verdict: str) -> None:
    add(tmp_path, "gan", "gan", distances=distances, sharpness=(1.0,) * 5)
    stability = cell(tmp_path, "stable")
    spread = np.log(distances).std(ddof=1)
    ends = spread * np.sqrt(4 / stats.chi2.ppf([0.975, 0.025], 4))
    assert stability.value == pytest.approx(math.exp(spread))
    assert (stability.low, stability.high) == pytest.approx(tuple(np.exp(ends)))
    assert stability.verdict == verdict


@pytest.mark.parametrize(("lost", "verdict"), [(1, "undecided"), (2, "undecided"), (3, "no")])
def test_a_row_is_unstable_if_surely_over_one_run_in_twenty_diverged(tmp_path: Path, lost, verdict) -> None:
    add(tmp_path, "gan", "gan", distances=(1.0, 1.001, 0.999, 1.002, 1.0), sharpness=(1.0,) * 5)
    for seed in range(lost):
        write(tmp_path, "gan", "gan", status="failed" if seed == 1 else "diverged", seed=7 + seed)
    stability = cell(tmp_path, "stable")
    assert stability.high < MARGIN, "the spread alone is that of a stable row"
    assert stability.verdict == verdict
    assert stability.text.startswith(f"{lost} of {5 + lost} runs (95 % interval ")
    how = {1: "1 diverged", 2: "1 diverged, 1 failed", 3: "2 diverged, 1 failed"}[lost]
    assert f" %) lost: {how}; a factor 1.00" in stability.text


def test_a_seed_that_went_astray_is_a_run_lost(tmp_path: Path) -> None:
    add(tmp_path, "gan", "gan", distances=(1.0, 1.001, 0.999, 50.0), sharpness=(1.0,) * 4)
    stability = cell(tmp_path, "stable")
    assert stability.text.startswith("1 of 4 runs (95 % interval 1 to 81 %) lost: 1 astray; a factor 1.00")
    assert stability.high < MARGIN, "the factor is that of the others"


@pytest.mark.parametrize(
    ("others", "verdict"), [((3.0, 3.01, 2.99, 3.02), "undecided"), ((3.0, 5.0, 2.0, 7.0), "no")]
)
def test_a_collapsed_run_is_an_outcome_of_its_own_and_no_spread(tmp_path: Path, others, verdict: str) -> None:
    add(tmp_path, "vae", "vae", distances=(3.0, 3.05, 2.95, 3.02, 3.0), sharpness=(1.0,) * 5)
    add(tmp_path, "vae_deep", "vae", distances=(*others, 90.0), sharpness=(1.0,) * 5)
    record = write(tmp_path, "vae_deep", "vae", fd=90.0, seed=4)
    record.metrics["recall/digits-cnn"] = Metric(0.0, "1", direction="higher")
    save(tmp_path, record)
    stability = cell(tmp_path, "stable")
    logs = [np.log([3.0, 3.05, 2.95, 3.02, 3.0]), np.log(others)]
    pooled = math.sqrt(sum((len(one) - 1) * one.var(ddof=1) for one in logs) / 7)
    assert stability.value == pytest.approx(math.exp(pooled))
    assert (stability.verdict, stability.n) == (verdict, 10)
    assert stability.text.startswith("1 of 10 runs (95 % interval 0 to 45 %) lost: 1 collapsed; a factor")
    assert stability.short == f"1 of 10 collapsed; else {stability.low:.2f}–{stability.high:.2f}"


def test_the_spread_is_pooled_over_the_models_of_a_row(tmp_path: Path) -> None:
    add(tmp_path, "realnvp", "flow", distances=(3.0, 3.3, 2.7))
    add(tmp_path, "glow", "flow", distances=(4.0, 4.1, 3.9))
    pooled = math.sqrt((np.log([3.0, 3.3, 2.7]).var(ddof=1) + np.log([4.0, 4.1, 3.9]).var(ddof=1)) / 2)
    stability = cell(tmp_path, "stable")
    assert (stability.value, stability.n) == (pytest.approx(math.exp(pooled)), 6)


@pytest.mark.parametrize(
    ("kind", "value", "verdict", "text"),
    [
        ("exact", 1.5, "yes", "1.50 [1.50, 1.50] bits/dim"),
        ("lower bound", 1.5, "bound", "≤ 1.50"),
        ("estimate", 1.5, "estimate", "≈ 1.50"),
        ("none", None, "no", "none"),
    ],
)
def test_density_is_the_kind_of_likelihood(tmp_path: Path, kind, value, verdict: str, text: str) -> None:
    add(tmp_path, "vae", "vae", kind=kind, value=value)
    stability = cell(tmp_path, "density")
    assert stability.verdict == verdict
    assert text in stability.text


def test_stability_says_how_few_seeds_there_are(tmp_path: Path) -> None:
    add(tmp_path, "glow", "flow", distances=(3.0,))
    alone = cell(tmp_path, "stable")
    assert (alone.verdict, alone.text) == ("not measured", "one seed")
    add(tmp_path, "glow", "flow", distances=(3.0, 3.1))
    assert cell(tmp_path, "stable").text == "at most 2 seeds a model"


def test_flows_have_rows_by_the_order_in_which_they_sample(tmp_path: Path) -> None:
    add(tmp_path, "realnvp", "flow")
    add(tmp_path, "maf", "flow", order="sequential", evaluations=320)
    add(tmp_path, "iresnet", "flow", order="solver", evaluations=30)
    rows = {row.model: row.family for row in measured(tmp_path).rows}
    assert rows == {"realnvp": "coupling flow", "maf": "autoregressive flow", "iresnet": "residual flow"}
    assert measured(tmp_path).absent == ("autoregressive", "vae", "gan", "continuous flow", "diffusion")


def test_the_table_links_each_verdict_to_its_evidence(tmp_path: Path) -> None:
    add(tmp_path, "vae", "vae", (3.0, 3.1, 2.9))
    text = markdown(measured(tmp_path), lambda _, c: f"claims.md#{c.claim}" if c.claim else None)
    (row,) = measured(tmp_path).rows
    assert {question: one.claim for question, one in row.cells.items()} == {
        "parallel": "autoregressive", "sharp": "vae-blurry", "stable": "", "density": "likelihood-quality",
    }  # fmt: skip
    assert "| family | parallel? | sharp? | stable? | density? |" in text
    linked = "[**yes**](claims.md#autoregressive) 8/64 | [**yes**](claims.md#vae-blurry) 0.98–1.03"
    assert f"| vae | {linked} | **yes** 1.02–" in text


def test_a_cell_links_to_a_claim_about_its_family_or_to_none() -> None:
    sentences = {claim.key: claim.sentence for claim in all_claims()}
    assert {claim for rows in EVIDENCE.values() for claim in rows.values()} <= set(sentences)
    assert all(set(rows) <= set(ROWS) for rows in EVIDENCE.values())
    blurry = {row for row, claim in EVIDENCE["sharp"].items() if claim == "vae-blurry"}
    assert blurry == {"vae", "gan"}, "the ledger compares these two"
    assert EVIDENCE["sharp"]["coupling flow"] == "flows-parallel-sharp"


def test_one_seed_has_the_error_of_its_evaluation_and_no_test(tmp_path: Path) -> None:
    record = write(tmp_path, "vae", "vae", kind="lower bound", value=1.92)
    record.metrics["sharpness"] = Metric(0.8, "1", direction="one", standard_error=0.04)
    save(tmp_path, record)
    sharp, density = cell(tmp_path, "sharp"), cell(tmp_path, "density")
    assert (sharp.verdict, sharp.text) == ("undecided", "0.800 ± 0.040 times real images; one seed: no test")
    assert sharp.short == "0.800 ± 0.040"
    assert (density.text, density.short) == ("≤ 1.920 ± 0.012 bits/dim", "1.920 ± 0.012")
    two = write(tmp_path, "vae", "vae", kind="lower bound", value=1.94, seed=1)
    two.metrics["sharpness"] = Metric(0.81, "1", direction="one", standard_error=0.04)
    save(tmp_path, two)
    assert cell(tmp_path, "sharp").text.endswith("] times real images; 2 seeds: no test")


def test_each_cell_of_the_committed_slide_has_a_link() -> None:
    lines = (RESULTS / "readme/slide.md").read_text(encoding="utf-8").splitlines()[2:]
    cells = [cell.strip() for line in lines for cell in line.strip("|").split("|")[1:]]
    assert len(cells) == 4 * len(ROWS)
    assert [cell for cell in cells if not cell.startswith("[**")] == []


def test_records_without_a_finished_run_have_no_slide(tmp_path: Path) -> None:
    write(tmp_path, "vae", "vae", status="failed")
    assert slide(collect([tmp_path])[0]) is None
