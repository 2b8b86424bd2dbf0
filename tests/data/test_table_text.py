"""Tests of marks and kinds of text: decimal commas, groups of digits, encodings, files that are no table."""

from __future__ import annotations

import io
import tarfile
import zipfile

import numpy as np
import pytest

from zoo.data.frames import read_frame
from zoo.data.tables import Table
from zoo.errors import InvalidData

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(60, 2)) * [5000, 1]).round(3)


def written(value, decimal, mark):
    return f"{value:,.3f}".replace(",", "G").replace(".", decimal).replace("G", mark)


@pytest.mark.parametrize(
    ("separator", "decimal", "mark", "quote"),
    [
        (";", ",", ".", ""),
        (";", ",", "", ""),
        (";", ",", " ", ""),
        ("\t", ".", ",", ""),
        (",", ".", ",", '"'),
        (",", ",", ".", '"'),
        (",", ",", "", '"'),
        (";", ".", "'", ""),
    ],
)
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("width", [1, 2])
def test_decimal_commas_and_groups_of_digits_are_read(
    tmp_path, separator, decimal, mark, quote, header, width
):
    x = X[:, :width]
    lines = [
        separator.join(quote + written(value, decimal, mark) + quote for value in row) for row in x.tolist()
    ]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([*([separator.join("ab"[:width])] if header else []), *lines]) + "\n")
    frame = read_frame(path)
    assert frame.header is header
    np.testing.assert_allclose(frame.body.to_numpy(float), x)
    assert any("decimal mark is a comma" in note for note in frame.notes) == (decimal == ",")
    assert any("digits are grouped" in note for note in frame.notes) == bool(mark)


def test_one_column_of_small_decimal_commas_is_no_two_columns(tmp_path):
    path = tmp_path / "x.csv"
    for lines in (["a"], []):
        path.write_text("\n".join([*lines, *(f"{v:.5f}".replace(".", ",") for v in X[:, 1] / 5)]) + "\n")
        np.testing.assert_allclose(read_frame(path).body.to_numpy(float)[:, 0], (X[:, 1] / 5).round(5))


def test_three_decimals_behind_a_comma_are_no_groups(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a;b\n" + "\n".join(f"1,{i:03};2,{900 - i:03}" for i in range(1, 40)) + "\n")
    np.testing.assert_allclose(read_frame(path).body["a"], 1 + np.arange(1, 40) / 1000)


POPULATION = (10 ** RNG.uniform(1, 6, (300, 2))).astype(int)


@pytest.mark.parametrize("mark", [",", "."])
@pytest.mark.parametrize("ends", ["{};{}", '"{}","{}"', "{}\t{}"])
def test_digits_grouped_once_are_whole_numbers(tmp_path, mark, ends):
    path = tmp_path / "pop.csv"
    lines = [ends.format(*(f"{v:,}".replace(",", mark) for v in row)) for row in POPULATION.tolist()]
    path.write_text("\n".join([ends.format("pop", "area"), *lines]))
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.body.to_numpy(), POPULATION)
    assert f"Its digits are grouped by '{mark}'" in frame.notes


def test_cells_that_may_be_grouped_digits_or_decimals_are_decided_by_the_setting(tmp_path):
    path = tmp_path / "pop.csv"
    path.write_text("pop;area\n1,325;900\n2,866;1,284\n492;1,887\n")
    with pytest.raises(InvalidData, match=r"1,325 may be 1325 .* data.decimal=point or data.decimal=comma"):
        read_frame(path)
    assert read_frame(path, decimal=".").body["pop"].tolist() == [1325, 2866, 492]
    assert read_frame(path, decimal=",").body["pop"].tolist() == [1.325, 2.866, 492]


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(
    "column",
    [
        [f"{v:.3f}" for v in np.abs(X[:, 0]) / 100 + 1],
        [f"{v:.3f}" for v in X[:, 1]],
        [*(f"{v + 2:.3f}" for v in np.abs(X[:, 1])), "0"],
        [f"{v:g}" for v in (np.abs(X[:, 0]) + 1).round(2)],
        ["900", "42.125", "3.5", "1.250"],
        ["2020", "1.325", "1.750", "17"],
        ["900", "0.125", "2.375", "1.250"],
    ],
)
def test_decimals_of_three_digits_stay_decimals(tmp_path, decimal, column):
    path = tmp_path / "x.csv"
    path.write_text("a;b\n" + "\n".join(f"{v.replace('.', decimal)};7" for v in column))
    np.testing.assert_array_equal(read_frame(path).body["a"], [float(v) for v in column])


@pytest.mark.parametrize("decimal", [".", ","])
def test_the_minus_of_typeset_text_is_a_minus(tmp_path, decimal):
    lines = [";".join(f"{v:.3f}".replace("-", "\u2212").replace(".", decimal) for v in row) for row in X]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["a;b\u22122", *lines]), encoding="utf-8")
    frame = read_frame(path)
    np.testing.assert_allclose(frame.body.to_numpy(float), X)
    assert list(frame.body) == ["a", "b\u22122"]
    assert any("U+2212" in note for note in frame.notes)
    path.write_text("\n".join(["a;b\u22122", *lines]).replace("\u2212", "-"), encoding="utf-8")
    assert not any("U+2212" in note for note in read_frame(path).notes)


@pytest.mark.parametrize("before", [[], [["Made in May"], ["by hand"]], [["version", 2]]])
def test_the_first_sheet_with_data_is_read(tmp_path, before):
    import pandas as pd

    table = pd.DataFrame(X, columns=["a", "b"])
    with pd.ExcelWriter(tmp_path / "x.xlsx") as book:
        pd.DataFrame(before).to_excel(book, sheet_name="Readme", index=False, header=False)
        table.to_excel(book, sheet_name="Data", index=False)
        (table + 1).to_excel(book, sheet_name="More", index=False)
    frame = read_frame(tmp_path / "x.xlsx")
    np.testing.assert_allclose(frame.body.to_numpy(float), X)
    assert "Of its sheets only 'Data' was read" in frame.notes


def test_text_with_decimal_commas_in_a_column_of_a_workbook_is_numbers():
    import pandas as pd

    from zoo.data.sheets import with_points

    assert with_points(pd.Series(["-1,5", "2,25", 3.5, "4"])).tolist() == [-1.5, 2.25, 3.5, 4]
    for other in (["1,320", "900", "12,811", "42"], ["a, b", "1,5"], ["1.5", "2"], [1.5, 2.5]):
        assert with_points(pd.Series(other)).tolist() == other


def test_two_columns_of_whole_numbers_stay_two(tmp_path):
    path = tmp_path / "x.csv"
    for header in ("a,b\n", "", "Counts of 2020\na,b\n"):
        path.write_text(header + "\n".join(f"{i * 7 % 40},{i * i}" for i in range(40)) + "\n")
        assert read_frame(path).body.shape == (40, 2)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_text_in_utf_16_is_read_with_and_without_its_mark(tmp_path, encoding):
    text = "a,b\n" + "\n".join(",".join(map(str, row)) for row in X.tolist())
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    np.testing.assert_allclose(read_frame(tmp_path / "x.csv").body.to_numpy(), X)


def archive(kind):
    buffer, content = io.BytesIO(), b"a,b\n1,2\n"
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("a.csv", content)
            file.writestr("b.csv", content)
    else:
        with tarfile.open(fileobj=buffer, mode=kind) as file:
            entry = tarfile.TarInfo("a.csv")
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.json", b'[{"a": 1.5, "b": 2}]', "holds JSON; save the table as csv"),
        ("x.csv", b'{"a":1.5}\n{"a":2.5}\n', "holds JSON; save"),
        ("x.json", b"[[1, 2], [3, 4]]", "holds JSON; save"),
        ("x.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "Git LFS pointer"),
        ("x.tar.gz", archive("w:gz"), "is a tar archive; unpack it"),
        ("x.csv", archive("w"), "is a tar archive; unpack it"),
        ("x.zip", archive("zip"), "holds 2 files; a table is one file, so unpack it"),
        ("x.csv", b"<!DOCTYPE html>\n<html>404</html>\n" * 20, "is a web page"),
        ("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "is an HDF5 file; save the table as"),
        ("x.pkl", b"\x80\x04\x95" + bytes(50), "is a Python pickle; save"),
        ("x.csv", b"a,b\n\0\0\0\n" * 20, "is no text"),
        ("x.csv", b"\x89PNG\r\n\x1a\n" + bytes(50), "is a picture; give a folder of pictures to data=images"),
        ("x.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(50), "compressed by zstandard; unpack it"),
        ("x.arff", b"@relation x\n@attribute a numeric\n@data\n1\n", "is an ARFF file"),
        ("x.csv", b"some words\nof a text\nwithout numbers\n" * 9, ""),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_what_it_is(tmp_path, name, content, sentence):
    from zoo.data.tables import Table

    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=sentence or "holds no numbers") as error:
        Table(path=str(tmp_path / name)).setup()
    assert "data.drop" not in str(error.value)


def test_a_table_is_read_by_its_content_under_another_suffix(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(X, columns=["a", "b"])
    frame.to_parquet(tmp_path / "x.csv")
    frame.to_feather(tmp_path / "y.parquet")
    frame.to_csv(tmp_path / "z.xls", index=False, sep="\t")
    for name in ("x.csv", "y.parquet", "z.xls"):
        np.testing.assert_allclose(read_frame(tmp_path / name).body.to_numpy(), X)


def test_a_line_of_totals_is_to_be_removed_and_not_every_column(tmp_path):
    rows = "".join(f"{a},{b}\n" for a, b in X)
    (tmp_path / "x.csv").write_text(f"a,b\n{rows}Total,\n")
    with pytest.raises(InvalidData, match=r"row 61 is 'Total'.*remove them from the file") as refusal:
        Table(path=tmp_path / "x.csv").setup()
    assert "data.drop" not in str(refusal.value)
