"""Loggers without an account: TensorBoard's files, and Trackio, of which a stand-in records the calls."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import SMALL
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from zoo.cli import main
from zoo.record import Metric, Record, read, read_rows
from zoo.tracking.gallery import SLIDE, pictures, slide_row
from zoo.tracking.local import final_values

RUN = ["train", "model=realnvp", "data=digits", *SMALL[1:], "hydra.run.dir=runs/a"]


class FakeRun:
    def __init__(self, broken: bool = False, **settings: Any) -> None:
        self.settings, self.broken = settings, broken
        self.rows: list[tuple[int | None, dict[str, Any]]] = []
        self.finished = 0

    def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if self.broken:
            raise OSError("database is locked")
        self.rows.append((step, metrics))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def trackio(monkeypatch) -> types.ModuleType:
    module = types.ModuleType("trackio")
    module.runs = []  # type: ignore[attr-defined]
    module.broken = False  # type: ignore[attr-defined]

    def init(**settings: Any) -> FakeRun:
        run = FakeRun(module.broken, **settings)  # type: ignore[attr-defined]
        module.runs.append(run)  # type: ignore[attr-defined]
        return run

    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", module)
    return module


def test_tensorboard_has_the_curves_the_results_and_the_samples(workdir: Path) -> None:
    assert main([*RUN, "logger=tensorboard"]) == 0
    events = EventAccumulator("runs/a/tensorboard", {"images": 1})
    events.Reload()
    record, rows = read("runs/a"), read_rows("runs/a")
    losses = events.Scalars("val/loss")
    expected = [(row["updates"], row["val/loss"]) for row in rows if "val/loss" in row]
    assert [(event.step, event.value) for event in losses] == [
        (u, pytest.approx(v, rel=1e-5)) for u, v in expected
    ]
    (bits,) = events.Scalars("bits_per_dim")
    assert bits.value == pytest.approx(record.metrics["bits_per_dim"].value, rel=1e-6)
    assert events.Tags()["images"] == ["samples"]


def test_trackio_has_the_same_names_and_is_finished(workdir: Path, trackio) -> None:
    assert main([*RUN, "logger=trackio"]) == 0
    (run,) = trackio.runs
    record = read("runs/a")
    assert run.settings["name"] == record.run_id
    assert run.settings["resume"] == "allow"
    assert run.settings["config"]["training.updates"] == 12
    names = {name for _, row in run.rows for name in row}
    assert {"train/loss", "val/loss", "bits_per_dim", "cost/parameters", "sampling/latency_seconds"} <= names
    assert run.rows[-1][0] == 12
    assert run.finished == 1


def test_trouble_with_trackio_fails_no_run(workdir: Path, trackio, capsys) -> None:
    trackio.broken = True
    assert main([*RUN, "logger=trackio"]) == 0
    assert (
        capsys.readouterr().err.count("Trackio did not take a row, and gets no more (database is locked).")
        == 1
    )


def test_a_logger_that_is_not_installed_is_named_with_how_to_get_it(workdir, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    assert main([*RUN, "logger=trackio"]) == 2
    assert "logger=trackio needs Trackio: pip install '.[trackio]'" in capsys.readouterr().err


def test_final_values_are_the_numbers_of_the_record() -> None:
    record = Record("a", "glow", "flow", "digits", 0, "finished")
    record.metrics = {"fid": Metric(3.0, "1"), "nll": Metric(None, "nats", reason="none")}
    record.cost.parameters, record.sampling.compiled = 7, True
    assert final_values(record) == {"fid": 3.0, "cost/parameters": 7.0}


def test_the_row_of_the_slide_has_the_columns_of_its_table() -> None:
    record = Record("a", "glow", "flow", "digits", 3, "finished")
    record.metrics = {"bits_per_dim": Metric(2.0, "bits/dim", "exact")}
    row = dict(zip(SLIDE, slide_row(record), strict=True))
    assert (row["model"], row["seed"], row["likelihood"], row["kind"]) == ("glow", 3, 2.0, "exact")
    json.dumps(row)


def test_a_part_of_the_gallery_is_one_picture_with_a_row_for_each_value() -> None:
    arrays = {"steps": np.zeros((3, 2, 1, 8, 8), np.uint8), "likely": np.full((5, 3, 4, 4), 255, np.uint8)}
    images = pictures(arrays, 256)
    assert images["steps"].shape == (3 * 8 * 4, 2 * 8 * 4, 3)
    assert images["likely"].shape == (4 * 4, 5 * 4 * 4, 3)
    assert (images["likely"] == 255).all()
