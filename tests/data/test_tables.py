"""Tests of users' tables: how they are read, and the errors for columns and rows without a density."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from zoo.data.columns import examine, grid
from zoo.data.dependence import dependent
from zoo.data.tables import Table, own_units
from zoo.errors import ZooError

RNG = np.random.default_rng(0)


def ready(**settings):
    data = Table(**settings | {"path": str(settings["path"])})
    data.setup()
    return data


def everything(data):
    return torch.cat([data.splits[split] for split in ("train", "val", "test")])


def original(data):
    """Return the rows in the table's units, sorted."""
    x = everything(data).double().numpy() * data.std + data.mean
    return x[np.lexsort(x.T[::-1])]


def ordered(x):
    return x[np.lexsort(np.asarray(x).T[::-1])]


def csv(path, x, header="", delimiter=","):
    lines = [delimiter.join(map(repr, row)) for row in x.tolist()]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")


@pytest.mark.parametrize("form", ["csv", "header", "semicolon", "tab", "bom", "npy", "npz", "float32"])
def test_a_table_is_split_and_standardised(tmp_path, form):
    x = RNG.normal(5, 3, (50, 3)) * [1, 10, 100]
    path = tmp_path / f"x.{form if form in ('npy', 'npz') else 'csv'}"
    if form == "npy":
        np.save(path, x)
    elif form == "npz":
        np.savez(path, data=x, other=x)
    elif form == "float32":
        path = tmp_path / "x.npy"
        np.save(path, x.astype(np.float32))
    else:
        delimiter = {"semicolon": ";", "tab": "\t"}.get(form, ",")
        csv(path, x, {"header": 'a,"b, c",3', "bom": "\ufeffa,b,3"}.get(form, ""), delimiter)
    data = ready(path=path)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 40, "val": 5, "test": 5}
    train = data.splits["train"].double()
    torch.testing.assert_close(train.mean(0), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)
    np.testing.assert_allclose(original(data), ordered(x), rtol=1e-4, atol=1e-4)
    about = data.describe().details
    assert about["standardised"]
    assert about["log_scale"] == pytest.approx(np.log(data.std).sum())
    assert about["columns"] == {"header": ["a", "b, c", "3"], "bom": ["a", "b", "3"]}.get(
        form, ["0", "1", "2"]
    )
    assert data.spec.to_dict() == {"shape": [3], "levels": None, "classes": None}


def test_the_splits_of_an_npz_of_columns_are_kept(tmp_path):
    x = RNG.normal(size=(30, 2))
    np.savez(tmp_path / "x.npz", train=x[:20], val=x[20:25], test=x[25:])
    data = ready(path=tmp_path / "x.npz")
    np.testing.assert_allclose(data.mean, x[:20].mean(0))
    np.testing.assert_allclose(everything(data) * data.std + data.mean, x, atol=1e-5)


SOME = np.random.default_rng(1).normal(size=(20, 2))
GOOD = "\n".join(f"{i * 0.37 % 1:.3f},{i * i}" for i in range(20))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("a,b\n", "holds 0 examples"),
        ("a,b\n1,2\n3,4\n", "holds 2 examples; give at least 10"),
        (f"a,b\n{GOOD}\n1,red\n", r"column 'b' has 1 value that .* \(row 21 is 'red'\)"),
        (f"{GOOD}\nred,2\n", r"column '0' has 1 value that .* \(row 21 is 'red'\)"),
        (f"a,b\n1,\n{GOOD}\n2,\n", r"column 'b' has 2 values that .* \(row 1 is missing\)"),
        (f"a,b\n{GOOD}\nnan,2\n", r"column 'a' .*row 21 is missing\); every value must be a finite number"),
        (f"a,b\n{GOOD}\n1,-inf\n", "column 'b' .*row 21 is -inf"),
        (f"a,b\n{GOOD}\n?,2\n1,\n", "column 'a' .*; column 'b' .*correct these rows or remove them"),
        (f"a,b\n{GOOD}\n1,2,3\n", "line 22 has 3 columns, not 2"),
        (f"a,b,c\n{GOOD}\n1,2,3\n", "line 22 has 3 columns, not 2"),
        ("a,b\n" + "\n".join(f"{i},0.1" for i in range(20)), "column 'b' has the same value"),
    ],
)
def test_an_invalid_csv_is_an_error(tmp_path, text, sentence):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ZooError, match=sentence):
        Table(path=str(tmp_path / "x.csv")).setup()


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"data": np.array([["a", "b"]] * 20)}, "<U1 values"),
        ({"data": np.zeros(20)}, "shape .20,.; a table is"),
        ({"data": np.zeros((20, 0))}, "a table is"),
        ({"data": np.zeros((20, 2), complex)}, "complex128"),
        ({"data": np.full((20, 2), np.nan)}, r"column '0' has 20 values .*\(row 1 is missing\)"),
        ({"train": np.eye(20), "val": np.full((2, 20), np.inf)}, r"column '0' .*row 1 of val is inf"),
        ({"train": np.eye(20), "test": np.eye(5)}, "differ in their number of columns"),
        ({"train": SOME[:0], "val": SOME[:5], "test": SOME[5:]}, "train split .* empty"),
        ({"train": SOME[:1], "test": SOME[1:]}, "leaves nothing to train on"),
    ],
)
def test_an_invalid_npz_is_an_error(tmp_path, arrays, sentence):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ZooError, match=sentence):
        Table(path=str(tmp_path / "x.npz")).setup()


def test_an_invalid_table_is_an_error(tmp_path):
    with pytest.raises(ZooError, match=r"data=table needs .* data\.path="):
        Table().setup()
    with pytest.raises(ZooError, match=r"nothere\.csv; give an existing data\.path="):
        Table(path="nothere.csv").setup()
    with pytest.raises(ZooError, match="is a folder"):
        Table(path=str(tmp_path)).setup()
    (tmp_path / "x.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ZooError, match="cannot be read as a csv"):
        Table(path=str(tmp_path / "x.csv")).setup()


# Ways to write the same table

X = np.random.default_rng(2).normal(3, 2, (40, 3)).round(6)


def text(separator=",", decimal=".", header="a,b,c"):
    lines = [separator.join(f"{v:.6f}".replace(".", decimal) for v in row) for row in X]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


TEXTS = {
    "bars": text("|", header="a|b|c"),
    "blanks": text("   ", header="a b c"),
    "blanks before and behind": "\n".join(f"  {line}  " for line in text(" ", header="a b c").splitlines()),
    "blank behind comma": text(", ", header="a, b, c"),
    "carriage returns": text().replace("\n", "\r\n"),
    "comment as header": text(" ", header="# a b c"),
    "comments before the header": "# made by hand\n#\n" + text(),
    "comment that looks like a header": "# x,y,z\n" + text(),
    "separator told as Excel does": "sep=;\n" + text(";", ",", header="a;b;c"),
    "decimal comma": text(";", ",", header="a;b;c"),
    "decimal comma and tabs": text("\t", ",", header="a\tb\tc"),
    "decimal comma and blanks": text(" ", ",", header="a b c"),
    "empty lines": "\n\n" + text().replace("\n", "\n\n"),
    "quotes": '"a","b","c"\n' + "\n".join(",".join(f'"{v:.6f}"' for v in row) for row in X),
    "separator behind each row": "a,b,c\n" + text(header="").replace("\n", ",\n"),
    "rows named as R does": "a b c\n"
    + "\n".join(f'"{i}" {line}' for i, line in enumerate(text(" ", header="").splitlines(), 1)),
    "index without a name": ",a,b,c\n"
    + "\n".join(f"{i},{line}" for i, line in enumerate(text(header="").splitlines())),
    "shuffled index": ",a,b,c\n"
    + "\n".join(f"{i * 7 % 40},{line}" for i, line in enumerate(text(header="").splitlines())),
    "two indices": "Unnamed: 0,Unnamed: 0.1,a,b,c\n"
    + "\n".join(f"{i},{i},{line}" for i, line in enumerate(text(header="").splitlines())),
}


@pytest.mark.parametrize("form", TEXTS)
def test_text_of_any_form_gives_the_same_table(tmp_path, form):
    (tmp_path / "x.txt").write_bytes(TEXTS[form].encode())
    data = ready(path=tmp_path / "x.txt")
    assert data.columns == ["a", "b", "c"]
    (tmp_path / "plain.csv").write_text(text())
    assert data.describe().fingerprint == ready(path=tmp_path / "plain.csv").describe().fingerprint
    indexed = "index" in form or "indices" in form or "named" in form
    assert any("unnamed first column" in note for note in data.notes) == indexed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_of_any_encoding_is_read(tmp_path, encoding):
    (tmp_path / "x.csv").write_bytes(text(header="Größe,b,c").encode(encoding))
    assert ready(path=tmp_path / "x.csv").columns == ["Größe", "b", "c"]


def _zip(content):
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inside.csv", content)
    return buffer.getvalue()


PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zip": _zip}


@pytest.mark.parametrize("suffix", PACK)
def test_compressed_text_is_read_under_any_file_name(tmp_path, suffix):
    for name in (f"x.csv.{suffix}", "x.csv"):
        (tmp_path / name).write_bytes(PACK[suffix](text().encode()))
        np.testing.assert_allclose(original(ready(path=tmp_path / name)), ordered(X), atol=1e-5)
    (tmp_path / "cut.csv").write_bytes(PACK[suffix](text().encode())[:200])
    with pytest.raises(ZooError, match=r"cut\.csv cannot be read"):
        ready(path=tmp_path / "cut.csv")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", ["parquet", "feather", "xlsx", "xlsx without header", "indexed parquet"])
def test_parquet_feather_and_excel_give_the_same_table(tmp_path, form):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    path = tmp_path / f"x.{form.split()[-1] if 'indexed' in form else form.split()[0]}"
    if form == "indexed parquet":
        frame.index = pd.Index([f"row {i}" for i in range(len(frame))], name="key")
    if "parquet" in form:
        frame.to_parquet(path)
    elif form == "feather":
        frame.to_feather(path)
    else:
        frame.to_excel(path, header="without" not in form, index=False)
    data = ready(path=path)
    assert data.columns == (["0", "1", "2"] if "without" in form else ["a", "b", "c"])
    np.testing.assert_allclose(original(data), ordered(X), atol=1e-5)
    assert any("index was left out" in note for note in data.notes) == ("indexed" in form)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ZooError, match="cannot be read as a"):
        ready(path=path)


def test_columns_of_any_numeric_type_are_numbers(tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1].astype(np.float32), "c": X[:, 2]})
    frame["c"] = frame["c"].astype("Float64")
    frame["d"] = pd.Series(RNG.permutation(1000)[:40], dtype="Int64")
    frame.to_parquet(tmp_path / "x.parquet")
    assert original(ready(path=tmp_path / "x.parquet")).shape == (40, 4)
    frame.loc[3, "d"] = None
    frame["when"] = pd.date_range("2020", periods=40)
    frame["kind"] = pd.Categorical(["u", "v"] * 20)
    frame.to_parquet(tmp_path / "y.parquet")
    with pytest.raises(ZooError) as error:
        ready(path=tmp_path / "y.parquet")
    assert "column 'd' has 1 value that is not a finite number (row 4 is missing)" in str(error.value)
    assert "column 'when' holds dates or times (row 1 is 2020-01-01" in str(error.value)
    assert "column 'kind' holds text or dates (row 1 is 'u')" in str(error.value)
    assert "data.drop=[d,when,kind]" in str(error.value)
    ready(path=tmp_path / "y.parquet", drop=["d", "when", "kind"])


# The header


@pytest.mark.parametrize(
    ("first", "taken"),
    [
        ("2019,2020,2021", True),  # whole numbers above fractions
        ("0,1,2", True),
        ("a,2020,2021", True),
        ("1.5,2.5,3.5", True),  # equal steps, fewer decimals
        ("3.512345,2.512346,3.9", False),
        ("1,1,2", False),  # names differ
        ("nan,1.5,2.5", False),
    ],
)
def test_a_header_of_numbers_is_recognised(tmp_path, first, taken):
    (tmp_path / "x.csv").write_text(text(header=first))
    data = Table(path=str(tmp_path / "x.csv"))
    if first.startswith("nan"):
        with pytest.raises(ZooError, match="row 1 is missing"):
            data.setup()
    else:
        data.setup()
        assert len(everything(data)) == 40 + (not taken)
        assert data.describe().details["header"] is taken
        assert f"data.header={'false' if taken else 'true'}" in data.notes[0]
        assert len(everything(ready(path=tmp_path / "x.csv", header=True))) == 40
    if first.startswith("2"):
        assert len(everything(ready(path=tmp_path / "x.csv", header=False))) == 41


def test_a_header_of_years_above_whole_numbers_is_recognised(tmp_path):
    x = RNG.permutation(3000)[:120].reshape(40, 3) // 10
    lines = "\n".join(",".join(map(str, row)) for row in x) + "\n"
    (tmp_path / "x.csv").write_text("2019,2030,2041\n" + lines)
    data = Table(path=str(tmp_path / "x.csv"), dequantise=["2019", "2030", "2041"])
    data.setup()
    assert len(everything(data)) == 40
    (tmp_path / "y.csv").write_text("17,130,241\n" + lines)
    data = Table(path=str(tmp_path / "y.csv"), dequantise=["0", "1", "2"])
    data.setup()
    assert len(everything(data)) == 41


# Columns and rows without a density


def written(folder, **columns):
    path = folder / "x.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


N = 400
A, B, C = np.random.default_rng(3).normal(size=(3, N))
FLAWS = {
    "flag": ({"flag": RNG.integers(0, 2, N)}, "'flag' has only 2 distinct values", "dequantise=[flag]"),
    "truth": ({"t": RNG.integers(0, 2, N) > 0}, "'t' has only 2 distinct values", "dequantise=[t]"),
    "rare": ({"rare": np.arange(N) < 4}, "'rare' has only 2 distinct values", "dequantise=[rare]"),
    "age": ({"age": RNG.integers(18, 90, N)}, "'age' has only", "dequantise=[age]"),
    "tenths": ({"t": A.round(1)}, "'t' has only", "dequantise=[t]"),
    "few odd values": ({"o": RNG.choice([0, 1, 2**0.5], N)}, "'o' has only 3 distinct values", "drop=[o]"),
    "rain": ({"rain": np.maximum(np.roll(A, 1), 0)}, "'rain' is 0 in", "drop=[rain]"),
    "constant": ({"k": 7}, "'k' has the same value in every row", "drop=[k]"),
    "copy": ({"b": A}, "'b' is a copy of 'a'", "drop=[b]"),
    "other unit": ({"b": 1.8 * A + 32}, "'b' is a linear function of 'a'", "drop=[b]"),
    "sum": ({"b": B, "c": A - 2 * B}, "'c' is a linear function of 'a', 'b'", "drop=[c]"),
    "counter": ({"id": np.arange(1, N + 1)}, "'id' counts the rows", "drop=[id]"),
    "name": ({"name": ["x", "y"] * (N // 2)}, "'name' holds text or dates (row 1 is 'x')", "drop=[name]"),
    "odd name": ({"a, b": 7}, "'a, b' has the same", "'data.drop=[\"a, b\"]'"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_column_without_density_is_an_error_with_its_name_and_the_remedy(tmp_path, flaw):
    columns, problem, advice = FLAWS[flaw]
    path = written(tmp_path, a=A, **columns)
    with pytest.raises(ZooError) as error:
        ready(path=path)
    assert f"column {problem}" in str(error.value)
    assert advice in str(error.value)
    setting = "dequantise" if "dequantise" in advice else "drop"
    bad = [next(reversed(columns))]
    data = ready(path=path, **{setting: bad})
    assert "a" in data.columns
    assert data.describe().details["left_out" if setting == "drop" else "dequantised"]


def test_continuous_columns_of_many_kinds_are_accepted(tmp_path):
    counts = RNG.integers(0, 20 * N, N)
    ready(path=written(tmp_path, a=A, b=np.exp(B), c=C.round(4), n=counts, near=A + 1e-3 * B))


def test_all_problems_are_in_one_error(tmp_path):
    path = written(tmp_path, a=A, flag=A > 0, k=1, b=A)
    with pytest.raises(ZooError) as error:
        ready(path=path)
    for part in ("'flag'", "'k'", "'b'", "data.drop=[k,b]", "data.dequantise=[flag]"):
        assert part in str(error.value)
    assert str(error.value).count(". ") == 0, "one sentence"


def test_repeated_rows_are_counted_and_may_be_left_out(tmp_path):
    twice = np.concatenate([np.arange(N), [5, 6, 6]])
    path = written(tmp_path, a=A[twice], b=B[twice])
    with pytest.raises(ZooError, match=r"3 of 403 rows are copies .*data\.drop_repeats=true"):
        ready(path=path)
    data = ready(path=path, drop_repeats=True)
    assert len(everything(data)) == N
    assert data.describe().details["repeated_rows_left_out"] == 3
    doubled = np.repeat(np.arange(N), 2)
    with pytest.raises(ZooError) as error:  # not columns of few values, but rows that repeat
        ready(path=written(tmp_path, a=A[doubled], b=B[doubled]))
    assert "distinct" not in str(error.value)


@pytest.mark.parametrize("values", [np.arange(2), np.arange(0, 40, 5), np.arange(7) / 10 - 0.3])
def test_dequantised_columns_are_uniform_above_their_grid(tmp_path, values):
    n = 4000
    values = values.astype(np.float32)
    x = RNG.choice(values, n)
    np.save(tmp_path / "x.npy", np.stack([RNG.normal(size=n).astype(np.float32), x], 1))
    settings = {"path": tmp_path / "x.npy", "dequantise": [1]}
    data = ready(**settings)
    step = float(values[1] - values[0])
    noisy = everything(data)[:, 1].double().numpy() * data.std[1] + data.mean[1]
    share = (noisy - values[0]) / step
    assert share.min() > -1e-4
    assert share.max() < len(values) + 1e-4
    part = share % 1
    assert abs(part.mean() - 0.5) < 4 / np.sqrt(12 * n)
    assert abs(part.std() - 12**-0.5) < 0.01
    assert data.describe().fingerprint == ready(**settings).describe().fingerprint
    assert data.describe().fingerprint != ready(**settings, split_seed=1).describe().fingerprint
    back = own_units(everything(data).numpy(), json.loads(json.dumps(data.describe().details)))
    counts = [(np.abs(back["1"] - v) < 1e-5).sum() for v in values]
    assert sum(counts) >= n - 1
    assert np.allclose(counts, [(x == v).sum() for v in values], atol=1)


def test_the_grid_of_a_column_is_found():
    assert grid(np.array([3.0, 1, 5, 5])) == grid(np.array([1.0, 3, 5]))
    assert grid(np.array([1.0, 3, 5])).step == 2
    assert grid(np.array([0, 1, 2**0.5])) is None
    assert grid(np.zeros(3)) is None


def test_linear_functions_are_found_to_rounding_and_not_beyond():
    x = RNG.normal(size=(500, 4)) * [1, 1e-6, 1e6, 1]
    assert dependent(x) == {}
    total = x[:, 0] + 1e6 * x[:, 1]
    assert dependent(np.column_stack([x, total])) == {4: [0, 1]}
    assert dependent(np.column_stack([x, total + 1e-3 * RNG.normal(size=500)])) == {}
    assert dependent(RNG.normal(size=(10, 20))) == {}
    assert examine(x, list("abcd")).problems == []


# Choice of columns, labels and original units


def test_columns_are_chosen_by_name(tmp_path):
    path = written(tmp_path, a=A, b=B, c=C)
    assert ready(path=path, drop=["b"]).columns == ["a", "c"]
    with pytest.raises(ZooError, match=r"no column of x\.csv called 'bb'; did you mean b"):
        ready(path=path, drop=["bb"])
    with pytest.raises(ZooError, match="'b' is named twice"):
        ready(path=path, drop=["b"], dequantise=["b"])
    with pytest.raises(ZooError, match="no column left"):
        ready(path=path, drop=["a", "b", "c"])
    with pytest.raises(ZooError, match="no values at equal steps"):
        ready(path=path, dequantise=["c"])
    for wrong in ({"drop": "a"}, {"dequantise": 3}, {"header": "yes"}, {"drop_repeats": "yes"}):
        with pytest.raises(ZooError, match=f"data.{next(iter(wrong))} must be"):
            Table(path=str(path), **wrong)


def test_a_label_column_gives_classes(tmp_path):
    kind = RNG.choice(["red", "green", "blue"], N)
    a = A + 100 * (kind == "red")
    path = written(tmp_path, a=a, kind=kind, b=B)
    data = ready(path=path, label="kind")
    assert data.spec.to_dict() == {"shape": [2], "levels": None, "classes": 3}
    assert data.describe().details["classes"] == ["blue", "green", "red"]
    for split, x in data.splits.items():
        assert torch.equal(data.labels[split] == 2, x[:, 0] > 0.5)
    unlabelled = pd.read_csv(path)
    unlabelled.loc[3, "kind"] = None
    unlabelled.to_csv(path, index=False)
    with pytest.raises(ZooError, match="1 rows have no label in column 'kind'"):
        ready(path=path, label="kind")


def test_samples_are_mapped_back_to_the_tables_units(tmp_path):
    data = ready(path=written(tmp_path, height=170 + 10 * A, mass=70 + B))
    details = json.loads(json.dumps(data.describe().details))
    frame = own_units(everything(data).numpy(), details)
    assert list(frame.columns) == ["height", "mass"]
    np.testing.assert_allclose(np.sort(frame["height"]), np.sort(170 + 10 * A), rtol=1e-6)
    assert details["mean"][0] == pytest.approx(170, abs=2)
    assert details["std"][0] == pytest.approx(10, abs=2)
    for key in ("mean", "std", "columns"):
        with pytest.raises(ZooError, match="does not say mean and deviation"):
            own_units(everything(data).numpy(), {k: v for k, v in details.items() if k != key})
