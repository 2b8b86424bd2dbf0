"""The values that a run logs to W&B, read from its offline files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from offline_wandb import QUICK, begin, make_record, of_kind, rows, summary, written
from small_runs import SMALL

from zoo.config import compose_run, identify
from zoo.errors import ZooError
from zoo.record import AXES, DENSITY, SAMPLES, Cost, Provenance, read
from zoo.running.run import run
from zoo.tracking.final import density_picture, histograms
from zoo.tracking.logger import check_logger, finish, log_curves, log_family
from zoo.tracking.names import BEST_LOSS


def test_a_run_of_images_logs_configuration_metrics_pictures_and_artifacts(workdir):
    overrides = ["model=vae", "data=digits", "sweep=mine", "logger=wandb", *SMALL[1:], *QUICK]
    directory = workdir / identify(compose_run(overrides)).run_id
    run(compose_run(overrides), directory)
    record = json.loads((directory / "record.json").read_text())
    records = written(directory)
    (about,) = of_kind(records, "run")[:1]
    assert about["run_id"] == about["display_name"] == directory.name
    assert about["run_group"] == "mine"
    assert about["job_type"] == "vae-digits"
    tags = of_kind(records, "run")[-1]["tags"]
    assert record["family"] == "vae"
    assert sorted(tags) == sorted(["digits", "vae", f"protocol-{record['provenance']['protocol_hash']}"])
    config = about["config"]["update"]
    assert config["training"]["updates"] == 12
    assert config["config_hash"] == record["provenance"]["config_hash"]
    final = summary(records)
    assert final["status"] == "finished"
    assert final["bits_per_dim"] == record["metrics"]["bits_per_dim"]["value"]
    assert final["bits_per_dim/kind"] == "lower bound"
    last = rows(records)[-1]
    for axis in AXES:
        assert last[axis] == record["cost"][axis]
    assert last["samples._type"] == "image-file"
    assert last["histogram/samples.bins"] == last["histogram/real.bins"]
    assert sum(last["histogram/samples.values"]) == 40 * 64
    artifacts = of_kind(records, "artifact")
    assert {a["name"]: a["type"] for a in artifacts if a["type"] != "run_table"} == {
        f"{directory.name}-record": "record",
        f"{directory.name}-checkpoint": "model",
    }
    tables = [name for name in last if name.endswith("._type") and last[name] == "table-file"]
    assert tables == ["gallery/nearest._type", "slide._type"]
    for part in ("temperature", "interpolation", "likely", "unlikely"):
        assert last[f"gallery/{part}._type"] == "image-file"
    assert of_kind(records, "exit")[0].get("exit_code", 0) == 0


def test_the_rows_are_those_of_the_curves_and_the_last_has_the_results(finished):
    assert read(finished).status == "finished"
    records = written(finished)
    with (finished / "curves.csv").open() as stream:
        curves = list(csv.DictReader(stream))
    logged = rows(records)
    assert [row["updates"] for row in logged] == [2, 4, 6, 8, 10, 12] == [int(c["updates"]) for c in curves]
    for row, curve in zip(logged, curves, strict=True):
        assert row["_step"] == row["updates"]
        assert row["images_seen"] == 32 * row["updates"]
        assert row["device_seconds"] == pytest.approx(float(curve["device_seconds"]), abs=1.0)
        assert row["train/loss"] == pytest.approx(float(curve["train/loss"]), rel=1e-6)
        assert "trainer/global_step" not in row
    assert logged[-1]["density._type"] == "image-file"
    assert logged[-1][BEST_LOSS] == min(float(c["val/loss"]) for c in curves if c["val/loss"])
    assert sum(logged[-1]["histogram/nll.values"]) == 40, "the scored test examples"
    # the histogram contains every logged gradient norm
    assert sum(logged[-1]["histogram/gradient_norm.values"]) == len(curves)
    glob = next(m for m in of_kind(records, "metric") if m.get("glob_name") == "*")
    assert glob["step_metric"] == "updates"
    record, checkpoint = (a for a in of_kind(records, "artifact") if a["type"] != "run_table")
    assert {entry["path"] for entry in record["manifest"]["contents"]} == {"record.json", "curves.csv"}
    (entry,) = checkpoint["manifest"]["contents"]
    assert entry["ref"] == (finished / read(finished).provenance.checkpoint).resolve().as_uri()


def test_another_axis_and_an_uploaded_checkpoint_can_be_chosen(workdir):
    (workdir / "best.ckpt").write_bytes(b"weights")
    (workdir / "curves.csv").write_text("updates,images_seen,device_seconds,val/loss\n5,50,1.5,0.25\n")
    loggers = begin([], workdir, x_axis="images_seen", upload_checkpoint=True, entity="me")
    log_family(loggers, "flow")
    log_curves(loggers, workdir)
    record = make_record("finished", cost=Cost(updates=5), provenance=Provenance(checkpoint="best.ckpt"))
    finish(loggers, record, workdir)
    records = written(workdir)
    glob = next(m for m in of_kind(records, "metric") if m.get("glob_name") == "*")
    assert glob["step_metric"] == "images_seen"
    (artifact,) = (a for a in of_kind(records, "artifact") if a["type"] == "model")
    (entry,) = artifact["manifest"]["contents"]
    assert "ref" not in entry
    assert entry["path"] == "best.ckpt"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"x_axis": "_step"}, "logger.x_axis must be updates, images_seen or device_seconds; got '_step'."),
        ({"upload_checkpoint": "yes"}, "logger.upload_checkpoint must be true or false; got 'yes'."),
        ({"projekt": "mine"}, "did you mean project?"),
        ({"name": "mlflow"}, "logger= takes wandb, tensorboard, trackio, csv or none; got 'mlflow'."),
    ],
)
def test_a_wrong_setting_of_the_logger_is_refused(settings, sentence):
    with pytest.raises(ZooError) as error:
        check_logger({"name": "wandb"} | settings)
    assert sentence in str(error.value)


def test_densities_are_drawn_with_y_upwards_and_each_level_has_a_bin(tmp_path):
    data = np.zeros((96, 96), np.float16)
    data[0, 0] = data[95, 50] = 1
    np.savez(tmp_path / DENSITY, data=data, density=np.full((96, 96), np.inf, np.float16))
    picture = density_picture(tmp_path / DENSITY)
    assert picture.shape == (288, 2 * 288 + 6, 3)
    low, high = picture[0, 0], picture[-1, 0]
    assert (high != low).any(), "rows go from the lowest y up, a picture's from the top down"
    assert (picture[:, 294:] == high).all(), "an infinite peak gets the colour of the top"
    samples = np.array([0, 16, 16], np.uint8).reshape(3, 1, 1, 1)
    np.savez(tmp_path / SAMPLES, samples=samples, real=samples[:1], levels=17)
    counts, edges = histograms(tmp_path / SAMPLES)["samples"]
    assert counts.tolist() == [1, *[0] * 15, 2], "one bin for each level"
    assert edges[0] == -0.5
