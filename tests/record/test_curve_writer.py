"""curves.csv as training writes it: a resumed run keeps the rows up to its checkpoint."""

from __future__ import annotations

from zoo.record import CURVES, CurveWriter, read_rows

COLUMNS = ["updates", "train/loss"]


def test_rows_are_read_back_as_they_were_written(tmp_path):
    writer = CurveWriter(tmp_path, COLUMNS)
    writer.append({"updates": 10, "train/loss": 0.123456789, "unknown": 1.0})
    writer.append({"updates": 20}, to_disk=True)
    assert read_rows(tmp_path) == [{"updates": 10, "train/loss": 0.12345679}, {"updates": 20}]


def test_a_new_run_starts_a_new_file(tmp_path):
    CurveWriter(tmp_path, COLUMNS).append({"updates": 10, "train/loss": 1.0})
    CurveWriter(tmp_path, COLUMNS)
    assert (tmp_path / CURVES).read_text() == "updates,train/loss\n"


def test_a_resumed_run_drops_rows_past_its_checkpoint(tmp_path):
    (tmp_path / CURVES).write_text("updates,train/loss\n10,1.5\n20,1.25\n30,1\n3")  # 31, cut off
    CurveWriter(tmp_path, COLUMNS, keep=25).append({"updates": 26, "train/loss": 1.125})
    assert (tmp_path / CURVES).read_text() == "updates,train/loss\n10,1.5\n20,1.25\n26,1.125\n"
    (tmp_path / CURVES).write_text("updates,train/loss\n10,1.5\n2")
    CurveWriter(tmp_path, COLUMNS, keep=20)
    assert (tmp_path / CURVES).read_text() == "updates,train/loss\n10,1.5\n", "2 was to become 20"
