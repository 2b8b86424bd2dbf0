"""S-VAE's table 1: what other estimates of the log-likelihood and other stopping rules explain."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import svae_start
import svae_stopping
import svae_suspects
import torch

from zoo.comparison.collect import collect
from zoo.config import compose_run, to_dict
from zoo.data.spec import DataSpec
from zoo.models.vae_dense import DenseVAE
from zoo.reproduction import load
from zoo.sweep.definition import expand, find_sweep, read_sweep

FOLDER = Path("results/papers/svae_table1")
UPDATES = 781  # of an epoch
MARGIN = 0.5  # of the column, in nats


@pytest.fixture(scope="module")
def distances() -> dict[str, dict[str, float]]:
    """From ELBO to log-likelihood by row: as published, and ours by each estimate, in nats."""
    cells = {cell.name: cell for cell in load("svae_table1").cells}
    found = {}
    for row, part in json.loads((FOLDER / "suspects.json").read_text(encoding="utf-8")).items():
        bound = part["by_samples"]["1"]["mean"]
        found[row] = {
            "published": cells[f"{row}/LL"].value - cells[f"{row}/ELBO"].value,
            **{number: value["mean"] - bound for number, value in part["by_samples"].items()},
            **{
                f"{number} authors": value["mean"] - bound
                for number, value in part["by_one_reconstruction"].items()
            },
        }
    return found


def test_no_one_number_of_importance_samples_gives_the_published_likelihoods(distances):
    alike = {}
    for row, found in of_gaussian_rows(distances).items():
        ours = {number: found[number] for number in ("1", "10", "50", "100", "500")}
        assert [*ours.values()] == sorted(ours.values()), "more samples, a tighter bound"
        alike[row] = [number for number, value in ours.items() if abs(value - found["published"]) < MARGIN]
        if not alike[row]:
            assert ours["1"] < found["published"] < ours["10"]
    assert alike == {
        "N-VAE d=2": [],
        "N-VAE d=5": ["10"],
        "N-VAE d=10": ["50", "100"],
        "N-VAE d=20": ["500"],
        "N-VAE d=40": ["500"],
    }, "the table's suspect says so"


def test_the_authors_estimate_gives_the_published_distances_where_the_divergences_are_alike(distances):
    rows = of_gaussian_rows(distances)

    def beyond(estimate: str) -> list[float]:
        return [round(found[estimate] - found["published"], 1) for found in rows.values()]

    assert [*rows] == [f"N-VAE d={dim}" for dim in (2, 5, 10, 20, 40)]
    assert beyond("500") == [2.4, 1.8, 0.5, -0.5, -0.2]
    assert beyond("500 authors") == [-0.1, -0.2, -0.3, 0.2, 0.7]
    spheres = {row: found for row, found in distances.items() if row.startswith("S-VAE")}
    by_500 = {row: round(found["500"] - found["published"], 1) for row, found in spheres.items()}
    authors = {row: round(found["500 authors"] - found["published"], 1) for row, found in spheres.items()}
    assert by_500 == {"S-VAE d=2": 2.1, "S-VAE d=5": 1.3}
    assert authors == {"S-VAE d=2": 0.0, "S-VAE d=5": -0.2}


def test_both_rows_of_five_dimensions_have_a_bound_half_a_nat_below_the_published_one():
    ours = json.loads((FOLDER / "suspects.json").read_text(encoding="utf-8"))
    cells = {cell.name: cell for cell in load("svae_table1").cells}
    for row in ("N-VAE d=5", "S-VAE d=5"):
        below = cells[f"{row}/ELBO"].value - ours[row]["by_samples"]["1"]["mean"]
        assert below == pytest.approx(0.5, abs=0.07), "the table's suspect says so"


def test_the_authors_estimate_is_reconstruction_and_log_mean_weight(monkeypatch):
    """With q(z | x) = p(z) for every x all weights are one, and the reconstruction is left."""
    model = DenseVAE(DataSpec((1, 4, 4), levels=2), latent_dim=2, encoder=[4], decoder=[4]).double()
    with torch.no_grad():
        model.encoder[-1].weight.zero_()
        model.encoder[-1].bias.copy_(torch.tensor([0.0, 0.0, math.log(math.e - 1), math.log(math.e - 1)]))
    monkeypatch.setattr(svae_suspects.zoo, "load", lambda directory: model)
    images = torch.randint(0, 2, (3, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    run = SimpleNamespace(directory=None)
    found = svae_suspects.by_one_reconstruction(run, images)
    reconstruction = float(model.bound_parts(images)[0].mean())
    assert found == pytest.approx(dict.fromkeys(("10", "100", "500"), reconstruction))


def test_a_mean_weight_is_the_mean_of_the_weights():
    weights = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    torch.testing.assert_close(svae_suspects.mean_weight(weights.log()).exp(), torch.tensor([2.0, 4.0]))


def test_the_replayed_rule_chooses_the_epoch_that_each_run_was_tested_at():
    for run in collect([FOLDER / "records.tar.xz"])[0]:
        rule = svae_stopping.RULES[svae_stopping.OURS]
        epoch, _ = svae_stopping.chosen(svae_stopping.bounds_of(run), *rule)
        assert epoch * UPDATES == run.record.provenance.checkpoint_updates, run.directory


def test_no_start_of_the_look_ahead_changes_a_run_and_a_shorter_one_is_worse_in_every_row():
    for name, changes in stopping().items():
        assert changes[svae_stopping.OURS] == changes["50 from the first epoch"] == 0, name
        shorter = [value for rule, value in changes.items() if rule.startswith(("10", "20", "30"))]
        assert len(shorter) == 3
        assert max(shorter) < 0, name


def test_with_300_epochs_at_most_the_widest_rows_lose_what_one_of_them_is_above():
    cells = {cell.name: cell for cell in load("svae_table1").cells}
    ours = json.loads((FOLDER / "suspects.json").read_text(encoding="utf-8"))
    rows = of_gaussian_rows(stopping())
    lost = {row: -changes["50, at most 300 epochs"] for row, changes in rows.items()}
    above = ours["N-VAE d=20"]["by_samples"]["1"]["mean"] - cells["N-VAE d=20/ELBO"].value
    assert lost["N-VAE d=20"] == pytest.approx(above, abs=0.05)
    assert lost["N-VAE d=40"] == pytest.approx(lost["N-VAE d=20"], abs=0.05)
    assert lost["N-VAE d=10"] < 0.2
    assert max(lost["N-VAE d=2"], lost["N-VAE d=5"]) < 0.02
    by_500 = {row: -changes["50, at most 500 epochs"] for row, changes in rows.items()}
    assert 0 < max(by_500.pop("N-VAE d=20"), by_500.pop("N-VAE d=40")) < 0.1
    assert set(by_500.values()) == {0}


def test_the_start_of_glorot_and_bengio_has_their_bounds():
    torch.manual_seed(0)
    model = svae_start.GlorotVAE(DataSpec((1, 28, 28), levels=2), latent_dim=5)
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == 6
    for layer in layers:
        bound = math.sqrt(6 / sum(layer.weight.shape))
        assert 0.97 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()


def test_the_sweep_of_starts_has_the_tables_recipe_but_for_start_and_look_ahead():
    jobs = expand(read_sweep(find_sweep("papers/svae_start")), [])
    assert len(jobs) == 6
    for overrides in jobs:
        config = compose_run(overrides)
        row = f"d{config.model.latent_dim}"
        table = compose_run(
            [f"{name}={value}" for name, value in load("svae_table1").recipes[row].overrides.items()]
        )
        ours, theirs = to_dict(config), to_dict(table)
        assert ours["model"].pop("_target_") == "svae_start.GlorotVAE"
        assert theirs["model"].pop("_target_") == "zoo.models.vae_dense.DenseVAE"
        assert (ours["training"].pop("patience"), theirs["training"].pop("patience")) == (100, 50)
        for part in ("model", "data", "training", "evaluation"):
            assert ours[part] == theirs[part]


def test_bounds_are_those_at_the_epochs_that_the_look_ahead_chooses():
    falling = [0.0] * svae_start.WARMUP
    curves = [[*falling, 1.0, *[0.5] * 60, 2.0, *[0.0] * 100], [*falling, 3.0, *[0.0] * 200]]
    assert svae_start.bounds(curves, 50) == pytest.approx({"mean": 2.0, "deviation": math.sqrt(2)})
    assert svae_start.bounds(curves, 100) == pytest.approx({"mean": 2.5, "deviation": math.sqrt(0.5)})


def test_the_starts_bounds_are_those_of_the_packed_runs():
    content = svae_start.compared(collect([FOLDER / "start.tar.xz"])[0])
    assert content == json.loads((FOLDER / "start.json").read_text(encoding="utf-8"))
    assert svae_start.markdown(content) == (FOLDER / "start.md").read_text(encoding="utf-8")


def test_another_start_and_a_longer_look_ahead_change_the_bounds_as_the_suspects_say():
    content = json.loads((FOLDER / "start.json").read_text(encoding="utf-8"))
    assert {row: (part["torch_seeds"], part["glorot_seeds"]) for row, part in content.items()} == {
        "N-VAE d=2": (5, 3),
        "N-VAE d=5": (5, 3),
    }
    two, five = content["N-VAE d=2"], content["N-VAE d=5"]
    lower = two["torch"]["mean"] - two["glorot"]["50"]["mean"]
    error = math.hypot(two["torch"]["deviation"] / 5**0.5, two["glorot"]["50"]["deviation"] / 3**0.5)
    assert (round(lower, 1), round(error, 1)) == (0.7, 0.4)
    assert two["glorot"]["50"]["deviation"] > 2 * two["torch"]["deviation"]
    assert abs(five["torch"]["mean"] - five["glorot"]["50"]["mean"]) < 0.1
    longer = [part["glorot"]["100"]["mean"] - part["glorot"]["50"]["mean"] for part in (two, five)]
    assert [round(value, 1) for value in longer] == [0.5, 0.3]
    cells = {cell.name: cell for cell in load("svae_table1").cells}
    ours = json.loads((FOLDER / "suspects.json").read_text(encoding="utf-8"))["N-VAE d=2"]
    above = ours["by_samples"]["1"]["mean"] - cells["N-VAE d=2/ELBO"].value
    assert lower > above / 2


def stopping() -> dict[str, dict[str, float]]:
    """The change of the validation bound by stopping rule, in nats, of each row."""
    rows = json.loads((FOLDER / "stopping.json").read_text(encoding="utf-8"))
    return {
        row: {rule: value["change"] for rule, value in part["rules"].items()} for row, part in rows.items()
    }


def of_gaussian_rows(rows: dict[str, dict]) -> dict[str, dict]:
    """Those of rows N-VAE."""
    found = {row: part for row, part in rows.items() if row.startswith("N-VAE")}
    assert found
    return found
