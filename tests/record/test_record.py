"""The record: strict JSON, written atomically, and a clear error for a damaged one."""

from __future__ import annotations

import json
import os
import signal
from functools import partial

import pytest
from forks import Fork

from zoo.errors import ZooError
from zoo.record import Cost, Metric, Record, Sampling, read, remove_unfinished, write_atomic


def example(**changes) -> Record:
    settings = {
        "run_id": "glow-digits-s0-abc",
        "model": "glow",
        "family": "flow",
        "data": "digits",
        "seed": 0,
        "status": "finished",
        "metrics": {"bits_per_dim": Metric(1.5, "bits/dim", "exact", standard_error=0.01, n=360)},
    }
    return Record(**(settings | changes))


def test_a_record_that_is_written_and_read_is_the_same(tmp_path):
    record = example()
    assert read(record.write(tmp_path)) == record
    assert read(tmp_path) == record
    raw = json.loads((tmp_path / "record.json").read_text())
    top = {"schema", "run_id", "model", "family", "data", "seed", "status", "metrics"}
    top |= {"sampling", "stability", "cost", "provenance"}
    assert top <= set(raw)


def test_numbers_that_are_not_finite_become_null_in_json(tmp_path):
    example(cost=Cost(train_seconds=float("nan")), sampling=Sampling(details={"list": [float("inf")]})).write(
        tmp_path
    )
    assert read(tmp_path).cost == Cost()
    assert read(tmp_path).sampling.details == {"list": [None]}


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write_atomic(target, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="space"):
        write_atomic(target, "new")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "checkpoints").mkdir()

    def killed(name):
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        write_atomic(tmp_path / name, "half")

    kept = ["record.json", ".lock", ".recordings", ".mine.record.json.x", "checkpoints/last.ckpt"]
    for name in [*kept, ".progress.json", "checkpoints/.last.ckpt", "checkpoints/.best.ckpt"]:
        (tmp_path / name).write_text("whole")
    for name in ("record.json", "samples.npz", "attempts.json"):
        assert Fork(partial(killed, name)).wait() == -signal.SIGKILL
        assert list(tmp_path.glob(f".{name}.*"))
    remove_unfinished(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)
    assert (tmp_path / "record.json").read_text() == "whole"


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read"), ("[]", "schema None"), ('{"schema": 99}', "schema 99"),
     ('{"schema": 1, "run_id": "x"}', "damaged"), ('{"schema": 1, "metrics": 3}', "damaged")],
)  # fmt: skip
def test_a_damaged_record_is_an_error_with_the_file(tmp_path, content, message):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(ZooError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(("key", "text"), [("seed", "0"), ("status", 1), ("family", None)])
def test_a_value_of_another_type_is_damage_and_not_converted(tmp_path, key, text):
    raw = json.loads(example().to_json()) | {key: text}
    (tmp_path / "record.json").write_text(json.dumps(raw))
    with pytest.raises(ZooError, match=rf"damaged \({key}: "):
        read(tmp_path)


def test_a_missing_record_is_an_error_with_the_file(tmp_path):
    with pytest.raises(ZooError, match="no record"):
        read(tmp_path)
