"""Every value of a record has a type; a damaged value is an error with the name of the file."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from zoo.comparison.packed import unpacked
from zoo.errors import ZooError
from zoo.record import Record, read
from zoo.record.curves import best_validation, curves, read_rows

RECORDS = Path(__file__).parents[2] / "results"
OLD = sorted(
    file
    for place in (Path(__file__).parent / "old", RECORDS)
    for file in place.glob("*/records/*/record.json")
) + sorted(
    file
    for name in ("claims", "ffjord_vs_matching", "toys")
    for file in unpacked(RECORDS / name / "records.tar.xz").glob("*/record.json")
)
WRONG: tuple[Any, ...] = (None, "text", float("nan"), [], {}, True, -1, 10**400, 1e308, "")


def committed(pattern: str) -> dict[str, Any]:
    """Return the content of the oldest committed record whose run has this name."""
    raws = [json.loads(file.read_text()) for file in OLD if pattern in str(file)]
    return min(raws, key=lambda raw: raw["schema"])


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value of a JSON document, inner nodes included."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(below for key, value in items for below in leaves(value, (*path, key)))]


def edited(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a copy of the document with the value at one path replaced."""
    changed = copy.deepcopy(document)
    node: Any = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    "name", ["quickstart/records/maf", "quickstart/records/gan", "quickstart/records/ffjord"]
)
def test_a_record_with_a_replaced_value_is_read_or_an_error_names_its_file(name, tmp_path):
    document = committed(name)
    file = tmp_path / "record.json"
    edits = [(path, value) for path in leaves(document)[1:] for value in WRONG]
    refusals = []
    for path, value in random.Random(0).sample(edits, 700):
        file.write_text(json.dumps(edited(document, path, value)))
        try:
            read(file).to_json()
        except ZooError as error:
            refusals.append(str(error))
    assert len(refusals) > 200
    assert all(str(file) in sentence and "\n" not in sentence for sentence in refusals)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights_sha256", 5),
        ("blur_sigma", "wide"),
        ("by_test_half", [1.0, "far"]),
        ("by_other_extractor", {"random-conv": "far"}),
        ("calibration", [0.5, 1.0]),
        ("calibration", {"sigma": [0.5]}),
        ("calibration", {"sigma": [0.5], "value": ["sharp"]}),
    ],
)
def test_a_detail_that_a_comparison_reads_has_a_type(name, value, tmp_path):
    document = committed("quickstart/records/vae")
    details = document["metrics"]["sharpness"]["details"]
    added = {"weights_sha256", "by_test_half", "by_other_extractor"}  # other metrics have these
    assert name in details or name in added, "the record has this detail"
    file = tmp_path / "record.json"
    file.write_text(json.dumps(document))
    assert read(file).metrics["sharpness"].details == details
    details[name] = value
    file.write_text(json.dumps(document))
    with pytest.raises(ZooError, match=rf"metrics\.sharpness\.details.*{name}"):
        read(file)


def test_the_session_of_zoo_time_is_a_field_of_the_record(tmp_path):
    record = read(OLD[0])
    assert record.sampling.session is None
    record.sampling.session = "a1"
    record.write(tmp_path)
    assert read(tmp_path).sampling.session == "a1"
    document = json.loads((tmp_path / "record.json").read_text())
    document["sampling"]["session"] = 3
    (tmp_path / "record.json").write_text(json.dumps(document))
    with pytest.raises(ZooError, match="session"):
        read(tmp_path)


def test_every_committed_record_of_either_schema_is_read():
    assert len(OLD) > 300
    for file in OLD:
        record = read(file)
        assert record.schema == 2
        assert (record.sampling.order is None) == (record.sampling.device is None)


def test_reading_an_old_record_keeps_all_its_numbers():
    raw = committed("old/claims/records/flow_matching")
    file = next(file for file in OLD if "old/claims/records/flow_matching" in str(file))
    record = read(file)
    assert raw["schema"] == 1, "this test is about records of schema 1"
    for name, metric in raw["metrics"].items():
        assert dataclasses.asdict(record.metrics[name]) == metric
    for part in ("cost", "stability"):
        assert {k: getattr(getattr(record, part), k) for k in raw[part]} == raw[part]
    moved = {"solver", "atol", "rtol"}
    assert {k: record.sampling.details[k] for k in moved} == {k: raw["sampling"][k] for k in moved}
    rest = {k: v for k, v in raw["sampling"].items() if k not in moved}
    assert {k: getattr(record.sampling, k) for k in rest} == rest
    assert record.sampling.order == "solver"
    assert record.provenance.data is not None
    assert record.provenance.data.shape == raw["provenance"]["data"]["shape"]


@pytest.mark.parametrize(
    ("pattern", "order"),
    [("maf", "sequential"), ("pixelcnn", "sequential"), ("realnvp", "parallel"), ("gan", "parallel"),
     ("vae", "parallel"), ("ffjord", "solver"), ("diffusion", "solver"), ("iresnet", "solver")],
)  # fmt: skip
def test_an_old_record_gets_the_sampling_order_of_its_model(pattern, order):
    of_model = (file for file in OLD if file.parent.name.startswith(f"{pattern}-"))
    file = next(file for file in of_model if json.loads(file.read_text())["schema"] == 1)
    assert read(file).sampling.order == order


def test_a_record_of_this_schema_is_unchanged_by_writing_and_reading(tmp_path):
    record = read(OLD[0])
    record.write(tmp_path)
    assert read(tmp_path) == record


def test_every_part_of_a_record_is_a_dataclass_with_a_described_field():
    parts: list[Any] = [Record]
    grouped = {"sampling", "stability", "cost", "provenance", "schema"}  # described by their own classes
    for part in parts:
        names = {field.name for field in dataclasses.fields(part)} - (grouped if part is Record else set())
        missing = [name for name in names if f"{name}:" not in (part.__doc__ or "")]
        assert not missing, f"{part.__name__} does not explain {missing}"
        for hint in get_type_hints(part).values():
            candidates = [hint, *getattr(hint, "__args__", ())]
            parts += [c for c in candidates if dataclasses.is_dataclass(c) and c not in parts]
    names = {part.__name__ for part in parts}
    assert {"Metric", "Sampling", "Load", "Stability", "Cost", "Provenance", "Hardware", "Protocol"} <= names


def test_records_are_read_without_torch():
    code = "import sys, zoo.record; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_curves_are_read_by_axis_and_a_damaged_file_has_none(tmp_path):
    file = tmp_path / "curves.csv"
    file.write_text("updates,images_seen,train/loss,val/loss\n1,8,0.5,\n2,16,0.25,0.75\n3,24,,nan\n")
    assert read_rows(tmp_path)[0] == {"updates": 1, "images_seen": 8, "train/loss": 0.5}
    assert curves(tmp_path)["train/loss"] == [(1, 0.5), (2, 0.25)]
    assert curves(tmp_path, "images_seen")["val/loss"][0] == (16, 0.75)
    assert best_validation(tmp_path) == 0.75
    for damage in ("updates,val/loss\n1,word\n", "a,b\n1,2,3\n", "\x00\n"):
        file.write_text(damage)
        assert curves(tmp_path) == {}
        assert best_validation(tmp_path) is None
    assert read_rows(tmp_path / "nowhere") == []


@pytest.mark.parametrize("path", [("latency",), ("sampling", "latncy"), ("provenance", "hardware", "gpu")])
def test_a_field_that_a_record_does_not_have_is_refused(path, tmp_path):
    file = read(OLD[0]).write(tmp_path)
    document = json.loads(file.read_text())
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = 1
    file.write_text(json.dumps(document))
    with pytest.raises(ZooError, match=path[-1]):
        read(file)


def test_an_old_record_gets_the_command_of_its_overrides():
    record = read(next(file for file in OLD if "quickstart/records/maf-" in str(file)))
    assert record.provenance.command is not None
    assert record.provenance.command.startswith("zoo train ")
    assert "model=maf" in record.provenance.command


@pytest.mark.parametrize("value", [1e101, -1e300, float("nan")])
@pytest.mark.parametrize(
    "path",
    [
        ("metrics", "bits_per_dim", "value"),
        ("metrics", "bits_per_dim", "details", "own"),
        ("sampling", "details", "own"),
        ("stability", "oscillations", "val/loss"),
        ("cost", "train_seconds"),
    ],
    ids=".".join,
)
def test_a_number_beyond_the_bound_of_every_measurement_is_refused(path, value, tmp_path):
    document = json.loads(
        json.dumps(dataclasses.asdict(read(next(f for f in OLD if "quickstart/records/vae" in str(f)))))
    )
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = {"nested": [value]} if path[-1] == "own" else value
    file = tmp_path / "record.json"
    file.write_text(json.dumps(document))
    with pytest.raises(ZooError, match=r"record\.json (is damaged|cannot be read)"):
        read(file)
    node[path[-1]] = {"nested": [1e99]} if path[-1] == "own" else 1e99
    file.write_text(json.dumps(document))
    read(file)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"schema": 1, "seed": NaN}', '{"schema": 1, "seed": 1', "\xff"]
)
def test_a_file_that_is_not_json_is_an_error_of_one_sentence(text, tmp_path):
    file = tmp_path / "record.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ZooError, match=r"record\.json cannot be read"):
        read(file)
