"""What judges the models of a data set is the same for the decision helper, the page and the figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from fake_records import save, write, write_toy

from zoo.comparison.collect import collect
from zoo.comparison.criterion import criterion_of
from zoo.comparison.figures import speed_vs_quality
from zoo.comparison.figures.paper import RULES, WIDTHS
from zoo.comparison.figures.paper.pareto import draw as pareto
from zoo.comparison.figures.paper.pareto import front_of, points
from zoo.comparison.figures.paper.tuning import draw as tuning
from zoo.comparison.page.payload import facts
from zoo.comparison.recommend import Constraints
from zoo.comparison.recommend.question import Question
from zoo.comparison.studies import Study, studies
from zoo.comparison.tuning import efforts

RESULTS = Path(__file__).parents[2] / "results"


def only(root: Path) -> Study:
    """Return the one study of some runs."""
    (study,) = studies(collect([root])[0])
    return study


def toys(root: Path) -> Study:
    """Write models whose samples and densities are good in opposite order; return their study."""
    for place, (model, kl, distance) in enumerate(
        [
            ("realnvp", 0.5, 0.001),
            ("maf", 0.1, 0.003),
            ("nsf_coupling", 0.02, 0.004),
            ("ffjord", 0.01, -0.002),
        ]
    ):
        record = write_toy(root, model, kl, latency=0.001 * (1 + place))
        record.metrics["energy_distance"].value = distance
        judged = record.metrics["kl"]
        kind = "estimate" if model == "ffjord" else "exact"
        record.metrics["kl"] = dataclasses.replace(judged, kind=kind, standard_error=0.1 * kl)
        save(root, record)
    return only(root)


def drawn(draw: Any, study: Study, width: str = "page") -> Any:
    """Return the axes of a figure of one study."""
    with matplotlib.rc_context(RULES):
        figure = draw([study], WIDTHS[width])
        figure.draw_without_rendering()
    return figure.axes[0]


def test_one_quantity_judges_toys_in_the_helper_on_the_page_and_in_the_figures(tmp_path: Path) -> None:
    study = toys(tmp_path)
    assert criterion_of(study) == Question(study, Constraints()).main_criterion
    assert facts(study.runs)["studies"][0]["criterion"] == "kl"
    assert drawn(pareto, study).get_ylabel() == "KL (nats), lower is better"
    assert speed_vs_quality(study.runs).axes[0].get_ylabel() == "KL (nats), lower is better"


def test_a_distance_judges_data_of_unknown_density(tmp_path: Path) -> None:
    for model in ("maf", "glow"):
        write(tmp_path, model, "flow", fd=4.0)
    study = only(tmp_path)
    assert criterion_of(study) == study.quality == Question(study, Constraints()).main_criterion
    assert facts(study.runs)["studies"][0]["criterion"] == "fd/digits-cnn"
    assert (
        " ".join(drawn(pareto, study).get_ylabel().split())
        == "Fréchet distance (digits-cnn), lower is better"
    )


def test_each_kind_of_divergence_has_its_front_and_one_seed_the_interval_of_its_evaluation(
    tmp_path: Path,
) -> None:
    study = toys(tmp_path)
    best = front_of(points(study))
    assert [(point.name, point.kind) for point in best if point.kind != "exact"] == [("ffjord", "estimate")]
    assert {point.name for point in best} == {"realnvp", "maf", "nsf_coupling", "ffjord"}
    (maf,) = (point for point in best if point.name == "maf")
    assert maf.y_ends == pytest.approx((0.1 - 0.0196, 0.1 + 0.0196), abs=1e-4)


def test_a_configuration_that_was_timed_elsewhere_is_not_on_the_front(tmp_path: Path) -> None:
    for model in ("maf", "glow", "realnvp"):
        record = write(tmp_path, model, "flow", fd=4.0, latency=0.001 if model == "glow" else 0.01)
        record.sampling.device = "cuda" if model == "glow" else "cpu"
        save(tmp_path, record)
    study = only(tmp_path)
    assert {point.name for point in points(study)} == {"maf", "realnvp"}
    assert drawn(pareto, study).get_title(loc="left") == "digits; 1 timed on another device left out"


@pytest.mark.parametrize("error", [0.01, 0.2])
def test_no_axis_is_logarithmic_where_an_interval_reaches_zero(tmp_path: Path, error: float) -> None:
    for model in ("maf", "glow"):
        record = write_toy(tmp_path, model, 0.1)
        record.metrics["kl"].standard_error = error
        save(tmp_path, record)
    axis = drawn(pareto, only(tmp_path), "column")
    assert axis.get_yscale() == ("log" if error < 0.05 else "linear")
    low, high = axis.get_ylim()
    assert low < 0.1 - 1.96 * error < 0.1 + 1.96 * error < high


def test_the_best_of_k_is_of_the_divergence_within_a_kind(tmp_path: Path) -> None:
    values = [0.1, 0.2, 0.3, 0.6]
    for place, value in enumerate(values):
        for model, kind, factor in (("maf", "exact", 1), ("iresnet", "estimate", 10)):
            record = write_toy(tmp_path, model, factor * value, key=f"-{place}")
            record.metrics["kl"] = dataclasses.replace(record.metrics["kl"], kind=kind)
            save(tmp_path, record)
    write(tmp_path, "iresnet", "flow", data="rings", status="diverged", key="-lost")
    study = only(tmp_path)
    exact, estimate = sorted(efforts(study), key=lambda effort: effort.n)
    assert (exact.kind, exact.n, exact.expected[0]) == ("exact", 4, pytest.approx(np.mean(values)))
    assert (estimate.kind, estimate.n) == ("estimate", 5)
    assert estimate.expected[0] == pytest.approx(10 * np.mean([*values, 0.6])), "the lost one is the worst"
    axis = drawn(tuning, study)
    assert axis.get_ylabel() == "KL (nats), expected"
    assert exact.low[0] < 0
    assert axis.get_yscale() == "linear"
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["flow ≈, n = 5", "flow, n = 4"]
    assert axis.get_title(loc="left").endswith("≈ estimate")


def test_the_best_of_k_keeps_distances_that_fall_below_zero(tmp_path: Path) -> None:
    for place, distance in enumerate([-0.001, 0.002, 0.003, 0.004]):
        record = write(tmp_path, "maf", "flow", data="own", key=f"-{place}")
        record.metrics["energy_distance"].value = distance
        save(tmp_path, record)
    (effort,) = efforts(only(tmp_path))
    assert effort.n == 4
    assert effort.expected[0] == pytest.approx(0.002)


def test_the_committed_toys_have_the_best_density_on_the_front() -> None:
    runs = collect([RESULTS / "toys/records.tar.xz"])[0]
    (rings,) = (study for study in studies(runs) if study.data == "rings")
    names = {point.name for point in front_of(points(rings)) if point.kind == "exact"}
    assert "nsf_coupling" in names
    assert "maf_mog" not in names
