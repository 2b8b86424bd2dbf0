"""Tests of what the first rows of a table are taken for: title, names, units or data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zoo.data.frames import read_frame
from zoo.data.header import has_header
from zoo.data.tables import Table
from zoo.errors import InvalidData

RNG = np.random.default_rng(0)
SHARES = RNG.random((200, 6)).round(4)
COUNTS = RNG.integers(0, 100, (200, 6))
LEVELS = RNG.normal(20, 10, (200, 6)).round(1)


@pytest.mark.parametrize(
    ("first", "below", "taken"),
    [
        ("400.5 401.0 401.5", SHARES, True),  # wavelengths
        ("5 10 15", SHARES, True),  # depths
        ("0 1 2", SHARES, True),  # names by default
        ("0 1", SHARES, True),
        ("1 2 3", COUNTS, True),
        ("2019 2020 2021", COUNTS, True),
        ("2010 2015 2019", COUNTS, True),
        ("62.5 125 250 500", LEVELS, True),
        ("4012 3991 5123", LEVELS, True),  # stations
        ("0.05 0.5 0.95", SHARES.round(2), None),
        ("0.01 0.05 0.5", SHARES, None),
        ("5000 -700 999", COUNTS, None),
        ("3 7 1", SHARES * 10, None),
        ("2019 2020 2021", COUNTS * 2 + 1950, None),
        ("0.1 0.7 0.2", SHARES.round(2), False),
        ("3 70 1", COUNTS, False),
        ("1 1 2", SHARES, False),
        ("3.5 7 1", LEVELS, False),
    ],
)
def test_numbers_above_numbers_are_names_data_or_undecided(first, below, taken):
    heads = first.split()
    rows = [[repr(value) for value in row] for row in below[:, : len(heads)].tolist()]
    assert has_header([heads, *rows]) is taken


@pytest.mark.parametrize("places", [0, 1, 2, 4])
@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_the_first_of_rows_of_one_kind_is_hardly_ever_undecided_or_names(places, width):
    answers = []
    for _ in range(30):
        rows = [
            [f"{value:.{places}f}" for value in row]
            for row in RNG.normal(50, 20, (60, width)).round(places).tolist()
        ]
        answers.append(has_header(rows))
    assert answers.count(False) >= 29


def test_text_that_occurs_below_is_data_and_a_number_above_text_a_name():
    rows = [[f"{value:.3f}", "yes" if value > 0 else "no"] for value in RNG.normal(size=50)]
    assert has_header([["3", "yes"], *rows]) is False
    assert has_header([["1", "2"], *rows]) is True


def test_an_undecided_first_row_is_an_error_that_names_the_setting(tmp_path):
    path = tmp_path / "x.csv"
    lines = "\n".join(",".join(map(str, row)) for row in COUNTS.tolist())
    path.write_text("5000,-700,999,9001,-5100,6000\n" + lines + "\n")
    with pytest.raises(InvalidData, match=r"first row \(5000, .*data.header=true or data.header=false"):
        read_frame(path)
    assert len(read_frame(path, header=True).body) == 200
    assert len(read_frame(path, header=False).body) == 201


@pytest.mark.parametrize("names", [[2019, 2020, 2021], [400.5, 401.0, 401.5], [0, 1, 2], ["a", "b", "c"]])
@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_a_header_in_a_workbook_is_taken_as_in_text(tmp_path, names, suffix):
    frame = pd.DataFrame(RNG.normal(size=(100, 3)).round(5), columns=names)
    path = tmp_path / f"x.{suffix}"
    frame.to_excel(path, index=False) if suffix == "xlsx" else frame.to_csv(path, index=False)
    read = read_frame(path)
    assert read.header is True
    assert [float(name) if name not in "abc" else name for name in read.body.columns] == names
    np.testing.assert_allclose(read.body.to_numpy(float), frame.to_numpy())


@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_a_title_and_a_row_of_units_are_left_out_and_said(tmp_path, suffix):
    values = RNG.normal(size=(50, 3)).round(5)
    rows = [["Measured in 2020", None, None], [None] * 3, ["a", "b", "c"], ["m", "s", None], *values.tolist()]
    path, frame = tmp_path / f"x.{suffix}", pd.DataFrame(rows)
    if suffix == "xlsx":
        frame.to_excel(path, index=False, header=False)
    else:
        frame.to_csv(path, index=False, header=False)
        path.write_text(path.read_text().replace("\n,,\n", "\n\n").replace("2020,,", "2020"))
    data = Table(path=str(path))
    data.setup()
    assert data.columns == ["a", "b", "c"]
    assert sum(len(x) for x in data.splits.values()) == 50
    assert any("title 'Measured in 2020' was left out" in note for note in data.notes)
    assert any("row of units (m, s" in note for note in data.notes)


def test_a_header_of_another_width_is_an_error(tmp_path):
    lines = "\n".join(",".join(map(str, row)) for row in RNG.normal(size=(50, 3)).tolist())
    for header in ("a,b", "a,b,c,d"):
        (tmp_path / "x.csv").write_text(f"{header}\n{lines}\n")
        with pytest.raises(InvalidData, match=r"names \d columns and has 3; name every column"):
            read_frame(tmp_path / "x.csv")
