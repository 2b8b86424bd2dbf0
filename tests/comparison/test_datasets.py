"""Data sets of one name are told apart, and records of one id are never dropped without a word."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from fake_records import save, show, write

from zoo.comparison.claims import decide
from zoo.comparison.collect import Run, collect
from zoo.comparison.datasets import Dataset, labels
from zoo.comparison.figures.select import at_most
from zoo.comparison.paired import paired
from zoo.comparison.studies import nearest, studies, with_labels
from zoo.comparison.tables import build
from zoo.record import DataDescription, Metric

PHOTOS = {"sizes": {"train": 100, "test": 10}, "fingerprint": "0" * 16, "shape": [3, 8, 8], "levels": 256}
OTHERS = {
    "photos (3x4x4)": {"shape": [3, 4, 4]},
    "photos (4 levels)": {"levels": 4},
    "photos (continuous)": {"levels": None},
    "photos (train 50)": {"sizes": {"train": 50, "test": 10}},
    "photos (test 5)": {"sizes": {"train": 100, "test": 5}},
    "photos (no test)": {"sizes": {"train": 100}},
    "photos (fingerprint 11111111)": {"fingerprint": "1" * 16},
    "photos (no fingerprint)": {"fingerprint": None},
    "photos (fingerprint 0000000000000001)": {"fingerprint": "0" * 15 + "1"},
    "photos (3x4x4, 4 levels)": {"shape": [3, 4, 4], "levels": 4},
}


def on(root, model, about: dict[str, Any] | None, **settings):
    """Write a run on photographs that a record describes; return the run."""
    record = write(root, model, "flow", data="photos", **settings)
    record.provenance.data = None if about is None else DataDescription("photos", **about)
    return Run(record, save(root, record))


@pytest.mark.parametrize("label", OTHERS)
def test_what_differs_between_data_of_one_name_is_in_the_titles(tmp_path, label):
    first = on(tmp_path, "maf", PHOTOS, value=1.0)
    second = on(tmp_path, "glow", PHOTOS | OTHERS[label], value=2.0)
    tables = [table for table in build([first, second]) if not table.beside]
    titles = {row.name: table.title for table in tables for row in table.rows if "floor" not in row.name}
    assert len(tables) == 2
    assert titles["glow"] == label
    assert titles["maf"].startswith("photos (")
    assert titles["maf"] != label
    assert not any(cell.best for table in tables for row in table.rows for cell in row.cells)
    assert len(studies([first, second])) == 2
    assert paired(first, second) is None
    alike = with_labels([first, on(tmp_path, "maf", PHOTOS | OTHERS[label], key="-b")])
    assert len(at_most(alike, 1)) == 2, "a figure with room for one run has one of each data set"


def test_data_of_a_name_of_their_own_are_called_by_it(tmp_path):
    runs = [on(tmp_path, model, PHOTOS) for model in ("maf", "glow")]
    assert [table.title for table in build(runs) if not table.beside] == ["photos"]
    alone, twins = Dataset("moons", (2,)), [Dataset("rings", (2,)), Dataset("rings", (3,))]
    assert labels([alone, *twins, alone]) == {
        alone: "moons", twins[0]: "rings (2 dimensions)", twins[1]: "rings (3 dimensions)",
    }  # fmt: skip


def own(root, name, test, **settings):
    """Write a run on a table of a user's own; return the run."""
    record = write(root, "maf", "flow", data=name, **settings)
    record.provenance.config["data"] = {"content": "c" * 16}
    record.provenance.protocol_hash = "p"
    prints = {"train": "a" * 16, "val": "b" * 16, "test": test * 16}
    about = DataDescription(name, fingerprint=prints["train"], fingerprints=prints, shape=[2])
    record.provenance.data = about
    return Run(record, save(root, record))


def test_a_copy_of_a_users_table_under_another_name_is_the_same_data(tmp_path):
    runs = [own(tmp_path, name, "d", seed=seed) for seed, name in enumerate(("table:a", "table:b"))]
    (study,) = studies(runs)
    (group,) = study.groups
    assert [run.record.seed for run in group.runs] == [0, 1]


def test_tables_that_differ_in_the_test_split_alone_are_other_data(tmp_path):
    runs = [own(tmp_path, "table:a", test, key=f"-{test}") for test in "de"]
    assert len(studies(runs)) == 2
    names = {run.data for run in with_labels(runs)}
    assert len(names) == 2
    assert any("test dddddddd" in name for name in names)


MEANT = {
    "columns": ["a", "b"], "mean": [0.1, 2.0], "std": [1.0, 3.0], "classes": ["no", "yes"],
    "log_scale": 1.1, "path": "t.csv",
}  # fmt: skip
LABELS = {"train": "1" * 16, "test": "2" * 16}


def meaning_that(root, key, labels=LABELS, seed=0, **changes):
    """Write a run on a labelled table of a user's own, with changes of what it stands for; return the run."""
    run = own(root, "table:a", "d", key=f"-{key}", seed=seed)
    run.record.provenance.data.details, run.record.provenance.data.labels = MEANT | changes, labels
    return Run(run.record, save(root, run.record))


@pytest.mark.parametrize(
    ("other", "title"),
    [
        ({"columns": ["a", "c"]}, "columns a, c"),
        ({"mean": [0.1, 2.5]}, "units"),
        ({"mean": [0.2, 4.0], "std": [2.0, 6.0]}, "units"),
        ({"classes": ["yes", "no"]}, "classes yes, no"),
        ({"classes": ["no", "yes", "perhaps"]}, "classes no, yes, perhaps"),
        ({"labels": LABELS | {"train": "3" * 16}}, "labels"),
        ({"labels": {}}, ""),
    ],
)
def test_equal_values_that_stand_for_something_else_are_other_data(tmp_path, other, title):
    first, second = meaning_that(tmp_path, "first"), meaning_that(tmp_path, "second", **other)
    assert len(studies([first, second])) == 2
    assert paired(first, second) is None
    names = [run.data for run in with_labels([first, second])]
    assert len({*names}) == 2
    assert title in names[1]
    assert "fingerprint" not in names[1]


def test_rounding_and_the_place_of_the_file_make_no_other_data(tmp_path):
    same = {"mean": [0.1 + 1e-12, 2.0], "std": [1.0, 3.0 - 1e-12], "path": "elsewhere.parquet", "new": 1}
    (study,) = studies([meaning_that(tmp_path, "it"), meaning_that(tmp_path, "it", seed=1, **same)])
    assert [len(group.runs) for group in study.groups] == [2]


@pytest.mark.parametrize("value", [None, "x", 1, [None, 1.0], [0.0, 0.0], [1e400, 1.0], {"a": 1}])
@pytest.mark.parametrize("name", ["mean", "std", "columns", "classes"])
def test_a_damaged_meaning_is_compared_without_an_error(tmp_path, name, value):
    runs = [meaning_that(tmp_path, "first"), meaning_that(tmp_path, "second", **{name: value})]
    assert len(studies(runs)) == 2


def test_three_data_sets_of_one_name_have_three_labels():
    three = [
        Dataset("photos", (3, 8, 8), 256, (), "a"),
        Dataset("photos", (3, 8, 8), 256, (), "b"),
        Dataset("photos", (1, 8, 8), 256, (), "a"),
    ]
    assert list(labels(three).values()) == [
        "photos (3x8x8, fingerprint a)", "photos (3x8x8, fingerprint b)", "photos (1x8x8, fingerprint a)",
    ]  # fmt: skip


def test_a_run_that_failed_early_joins_the_runs_of_its_configuration(tmp_path):
    small, large = {"size": 4}, {"size": 8}
    for model, size, about in (("maf", small, PHOTOS | {"shape": [3, 4, 4]}), ("glow", large, PHOTOS)):
        run = on(tmp_path, model, about)
        run.record.provenance.config["data"] = size
        save(tmp_path, run.record)
    for model, size in (("vae", small), ("made", {"size": 3})):
        run = on(tmp_path, model, None, status="failed")
        run.record.provenance.config["data"] = size
        run.record.provenance.protocol_hash = None
        save(tmp_path, run.record)
    models = {
        study.label: sorted(r.record.model for r in study.runs) for study in studies(collect([tmp_path])[0])
    }
    assert models == {
        "photos (3x4x4)": ["maf", "vae"], "photos (3x8x8)": ["glow"], "photos (data not recorded)": ["made"],
    }  # fmt: skip


def test_numbers_of_an_unknown_protocol_join_no_other(tmp_path):
    on(tmp_path, "maf", PHOTOS)
    run = on(tmp_path, "glow", PHOTOS)
    run.record.provenance.protocol_hash = None
    save(tmp_path, run.record)
    titles = {study.title for study in studies(collect([tmp_path])[0])}
    assert titles == {"photos (protocol p-photos)", "photos (protocol unknown)"}


def test_a_divergence_is_of_one_data_set(tmp_path):
    for key, about, divergence in (("", PHOTOS, 0.1), ("-b", PHOTOS | {"fingerprint": "1"}, 0.2)):
        run = on(tmp_path, "maf", about, key=key)
        run.record.metrics["kl"] = Metric(divergence, "nats", "exact")
        save(tmp_path, run.record)
    other = write(tmp_path, "maf", "flow", data="rings")
    other.metrics["kl"] = Metric(0.3, "nats", "exact")
    save(tmp_path, other)
    runs = collect([tmp_path])[0]
    overview = build(runs)[0]
    assert overview.columns == ["photos (fingerprint 00000000)", "photos (fingerprint 1)", "rings", "status"]
    assert [cell.value for cell in overview.rows[0].cells[:-1]] == [0.1, 0.2, 0.3]
    assert {run.data for run in with_labels(runs)} == set(overview.columns[:-1])
    assert nearest([run for run in runs if run.record.data == "photos"])[0].record.metrics["kl"].value == 0.1


def test_a_claim_is_about_one_data_set(tmp_path):
    for seed in range(3):
        for model, family, fingerprint in (
            ("vae", "vae", "a"),
            ("gan", "gan", "b"),
            ("realnvp", "flow", "b"),
        ):
            record = write(tmp_path, model, family, data="photos", seed=seed)
            record.metrics["sharpness"] = Metric(0.5 + 0.01 * seed + (model != "vae"), "1")
            record.provenance.data = DataDescription("photos", **PHOTOS | {"fingerprint": fingerprint})
            save(tmp_path, record)
    decisions = [one for one in decide(collect([tmp_path])[0]) if one.claim.key == "vae-blurry"]
    assert [(one.data, one.verdict) for one in decisions] == [("photos (fingerprint a)", "undecided")]
    assert "sharpness of a GAN" in " ".join(missing.needs for missing in decisions[0].missing)


def test_copies_of_a_record_count_once_without_a_word(tmp_path):
    write(tmp_path / "a", "maf", "flow")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    runs, warnings = collect([tmp_path / "a", tmp_path / "b", tmp_path / "a", tmp_path / "link"])
    assert [run.directory.parent.name for run in runs] == ["a"]
    assert not warnings
    (tmp_path / "a/broken").mkdir()
    (tmp_path / "a/broken/record.json").write_text("{")
    assert len(collect([tmp_path / "a", tmp_path / "a"])[1]) == 1


def test_of_two_records_of_one_id_the_later_one_counts_with_a_warning(tmp_path):
    write(tmp_path / "a", "maf", "flow", value=1.5)
    record = write(tmp_path / "b", "maf", "flow", value=2.5)
    record.provenance.protocol_hash = "another"
    save(tmp_path / "b", record)
    paths = [tmp_path / "a", tmp_path / "b"]
    (run,), (sentence,) = collect(paths)
    assert run.directory.parent.name == "a"
    files = [path / record.run_id / "record.json" for path in paths]
    assert sentence.startswith(f"The record {files[1]} is left out: {files[0]} has the same run id")
    assert "was found first, and they were judged by different protocols." in sentence
    assert sentence in show(paths).replace("\n", "")
    record.provenance.finished_at = "2026-11-29T10:00:00+00:00"
    save(tmp_path / "b", record)
    for order in (paths, paths[::-1]):
        (run,), (sentence,) = collect(order)
        assert run.directory.parent.name == "b"
        assert sentence.startswith(f"The record {files[0]} is left out: {files[1]} has the same run id")
        assert "finished later" in sentence


def test_a_run_that_is_made_again_under_another_name_counts_as_one_seed(tmp_path):
    """``zoo train`` of two files of the same bytes gives one configuration and two ids."""
    for name, changes in (
        ("one", {}),
        ("two", {"finished_at": "2026-11-29T10:00:00+00:00"}),
        ("other-seed", {"seed": 1}),
        ("other-data", {"fingerprint": "another"}),
        ("other-configuration", {"config_hash": "another"}),
        ("unknown", {"config_hash": None}),
        ("unknown-too", {"config_hash": None}),
    ):
        about = PHOTOS | {"fingerprint": changes.pop("fingerprint", "a")}
        record = on(tmp_path / name, "maf", about).record
        shutil.rmtree(tmp_path / name)
        record.run_id, record.data = f"maf-{name}", f"image_folder:{name}"
        record.seed = changes.pop("seed", 0)
        for name, value in changes.items():
            setattr(record.provenance, name, value)
        save(tmp_path, record)
    runs, (sentence,) = collect([tmp_path])
    assert {path.name for path in tmp_path.iterdir()} - {run.record.run_id for run in runs} == {"maf-one"}
    files = [tmp_path / f"maf-{name}" / "record.json" for name in ("one", "two")]
    assert sentence.startswith(f"The record {files[0]} is left out: {files[1]} is the same run")
    assert sentence in show([tmp_path]).replace("\n", "")


def test_a_warning_names_the_difference_of_two_records_of_one_id(tmp_path):
    on(tmp_path / "a", "maf", PHOTOS)
    for name, about, value, difference in (
        ("b", PHOTOS | {"levels": 4}, 1.5, "they are of different data"),
        ("c", PHOTOS, 2.5, "they differ in metrics."),
    ):
        on(tmp_path / name, "maf", about, value=value)
        assert difference in collect([tmp_path / "a", tmp_path / name])[1][0]
