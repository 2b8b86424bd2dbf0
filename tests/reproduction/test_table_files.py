"""Tests of the tables' files: what they hold, and the sentence for each mistake in one."""

from __future__ import annotations

import pytest
import yaml

from zoo.errors import ZooError
from zoo.reproduction import load, names

SMALL = {
    "title": "Small",
    "paper": "Nobody 2026, table 1",
    "sources": {"note": {"grade": "C", "what": "a note"}, "mem": {"grade": "M", "what": "recalled"}},
    "columns": {"LL": {"metric": "nll", "factor": -1.0, "margin": 1.0, "margin_from": "a choice"}},
    "cells": [{"row": "Flow", "column": "LL", "value": 1.0, "source": "note", "grade": "C"}],
}


def written(tmp_path, **changes):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes))
    return str(path)


def cell(**changes):
    return [SMALL["cells"][0] | changes]


def test_every_shipped_table_is_sound():
    tables = [load(name) for name in names()]
    assert len(tables) > 20
    assert sum(len(table.cells) for table in tables) > 500
    for table in tables:
        for found in table.cells:
            assert found.recipe or found.closed_form or found.needs, found.name
            if found.error is not None and found.grade != "M" and found.usable_error is not None:
                assert found.error_kind != "unknown" or table.name in ("pacgan_table3", "tabular_flows")


def test_defaults_are_given_to_cells_that_say_nothing_else(tmp_path):
    bare = [
        {"row": "A", "column": "LL", "value": 1.0},
        {"row": "B", "column": "LL", "value": 2.0, "grade": "M"},
    ]
    table = load(written(tmp_path, defaults={"source": "note", "grade": "C"}, cells=bare))
    assert [(found.grade, found.source) for found in table.cells] == [("C", "note"), ("M", "note")]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cells": cell(row="a/b")}, "the row 'a/b' has a slash"),
        ({"cells": cell() * 2}, "the cell 'Flow/LL' stands there twice"),
        ({"cells": cell(column="KL")}, "names the column 'KL', which is not there"),
        ({"cells": cell(recipe="x")}, "names the recipe 'x', which is not there"),
        ({"cells": cell(source="mem")}, "has grade C, but its source is recalled"),
        ({"cells": cell(grade="Z")}, r"cells\[0\]\.grade: input should be .*; got 'Z'"),
        ({"cells": cell(verdict="replicated")}, r"cells\[0\]\.verdict is not a setting"),
        (
            {"columns": {"LL": {"metric": "nll", "margin": 0.0, "margin_from": "x"}}},
            r"columns\.LL\.margin: .*greater than 0; got 0",
        ),
        ({"columns": {"LL": {"metric": "nll"}}}, r"columns\.LL\.margin is missing"),
        ({"columns": {"LL": {"metric": "nll", "margin": 1.0}}}, r"columns\.LL\.margin_from is missing"),
        (
            {"suspects": [{"what": "steps", "finding": "open", "by": "nobody", "columns": ["KL"]}]},
            "the suspect 'steps' names the column 'KL', which is not there",
        ),
        ({"columns": {}}, "columns: .*at least 1"),
        ({"cells": cell(error=-1.0)}, r"cells\[0\]\.error: .*greater than or equal to 0; got -1"),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence_with_its_place(tmp_path, changes, sentence):
    with pytest.raises(ZooError, match=rf"In the table .*small\.yaml, .*{sentence}"):
        load(written(tmp_path, **changes))


def test_a_missing_setting_and_a_broken_file_are_explained(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in SMALL.items() if key != "paper"}))
    with pytest.raises(ZooError, match="paper is missing"):
        load(str(path))
    path.write_text("a: [")
    with pytest.raises(ZooError, match="is not valid YAML"):
        load(str(path))
    path.write_text("- a")
    with pytest.raises(ZooError, match="must be a mapping"):
        load(str(path))
    with pytest.raises(ZooError, match=r"There is no file .*none\.yaml"):
        load(str(tmp_path / "none.yaml"))
    with pytest.raises(
        ZooError, match="There is no table called 'maf_table2_mnits'; did you mean maf_table2_mnist"
    ):
        load("maf_table2_mnits")


def test_only_names_rows_columns_and_cells_by_their_beginning_in_any_case():
    table = load("maf_table2_mnist")
    assert {found.column for found in table.select("made")} == {"conditional", "unconditional"}
    assert {found.row for found in table.select("MADE")} == {"MADE"}
    assert len(table.select("/unc")) == 8
    assert [found.name for found in table.select("MAF (5)/cond")] == ["MAF (5)/conditional"]
    with pytest.raises(ZooError, match="no row of maf_table2_mnist called 'MAD'; did you mean MADE"):
        table.select("MAD")
    with pytest.raises(ZooError, match="no column of maf_table2_mnist called 'x'"):
        table.select("MADE/x")
    assert len(table.select(None)) == 16
    svae = load("svae_table1")
    assert {found.row for found in svae.select("N-VAE d=40")} == {"N-VAE d=40"}
    with pytest.raises(ZooError, match=r"no row of svae_table1 called 'N-VAE d=4'; did you mean N-VAE d=40"):
        svae.select("N-VAE d=4/LL")
    with pytest.raises(ZooError, match="names no column after the slash; the row is --only 'MADE'"):
        table.select("MADE/")
    with pytest.raises(ZooError, match="names no column after the slash; leave out --only for all cells"):
        table.select("/")
    sparse = load("tong_table2")
    with pytest.raises(ZooError, match="no cell 'FM/moons->8gaussians W2'"):
        sparse.select("FM/moons->8gaussians W2")


def test_a_recipe_is_judged_by_a_metric_that_zoo_has():
    from zoo.evaluation.metrics import definitions

    known = {"nll", "bits_per_dim", "fid", *(found.name for found in definitions())}
    columns = [
        (table.name, name, column.metric)
        for table in map(load, names())
        for name, column in table.columns.items()
        if any(found.recipe and found.column == name for found in table.cells)
    ]
    assert len(columns) > 20
    assert [entry for entry in columns if entry[2] not in known] == []


@pytest.mark.slow
def test_every_recipe_composes_with_the_settings_of_its_table():
    from zoo.config.identities import Identities
    from zoo.reproduction.runs import absent, data_of, overrides

    identities, count = Identities(), 0
    for table in map(load, names()):
        for recipe in table.recipes.values():
            assert not absent(recipe), recipe
            config = identities.of(overrides(recipe, recipe.seeds[0])).config
            assert config["seed"] == recipe.seeds[0]
            assert data_of(recipe) in (config["choices"]["data"], "")
            count += 1
    assert count > 100


def test_tables_name_the_data_whose_files_zoo_does_not_download(tmp_path, monkeypatch):
    from zoo.config import compose_run, to_dict
    from zoo.reproduction.runs import data_of
    from zoo.running.data import prepare_data

    monkeypatch.setenv("ZOO_NO_DOWNLOAD", "1")

    def by_hand(name):
        try:
            prepare_data(to_dict(compose_run([f"data={name}", f"data.root={tmp_path}"]).data))
        except ZooError as error:
            return "could not be downloaded" not in str(error)
        return False

    tables = [*map(load, names())]
    used = {table.name: {data_of(recipe) for recipe in table.recipes.values()} - {""} for table in tables}
    files = {name for name in set().union(*used.values()) if by_hand(name)}
    assert {"power", "dna", "mnist_static", "imagenet64"} < files
    assert not {"mnist", "cifar10", "moons_8gaussians"} & files
    for table in tables:
        assert set(table.files) == used[table.name] & files, table.name
