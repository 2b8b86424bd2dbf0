"""What an archive of runs holds."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from fake_records import save, write, write_toy

from zoo.cli import main
from zoo.comparison import page
from zoo.comparison.archive import archive, pack_runs
from zoo.comparison.collect import collect
from zoo.comparison.packed import unpack
from zoo.comparison.page.runs import facts_of_runs
from zoo.comparison.page.shorten import Strings
from zoo.comparison.tables import build
from zoo.record import read


def test_an_archived_record_does_not_hold_where_the_data_lie(tmp_path):
    record = write(tmp_path, "maf", "flow")
    record.provenance.overrides = ["model=maf", "data.root='/a place/data'", "seed=0"]
    record.provenance.command = "zoo train model=maf 'data.root='\"'\"'/a place/data'\"'\"'' seed=0"
    save(tmp_path, record)
    archive(collect([tmp_path])[0], tmp_path / "out")
    (kept,) = (tmp_path / "out").rglob("record.json")
    assert "a place" not in kept.read_text(encoding="utf-8")
    assert read(kept.parent).provenance.command == "zoo train model=maf seed=0"
    assert read(kept.parent).provenance.overrides == ["model=maf", "seed=0"]
    runs, warnings = collect([tmp_path])
    assert (len(runs), warnings) == (1, []), "the run and its archived copy are one"


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar.xz", "tar"])
def test_many_runs_are_one_file_which_stands_for_them(tmp_path, capsys, ending):
    for seed in range(3):
        write(tmp_path / "runs", "maf", "flow", seed=seed)
    file, again = tmp_path / f"all.{ending}", tmp_path / f"again.{ending}"
    assert main(["compare", str(tmp_path / "runs"), "--pack", str(file)]) == 0
    assert main(["compare", str(file), "--pack", str(again)]) == 0
    assert "packed: 3 runs" in capsys.readouterr().out
    runs, packed = collect([tmp_path / "runs"])[0], collect([file])[0]
    assert [run.record for run in packed] == [run.record for run in runs]
    assert packed[0].curves() == runs[0].curves()
    assert file.read_bytes() == again.read_bytes()
    with tarfile.open(file, f"r:{'' if ending == 'tar' else ending[-2:]}") as content:  # as its ending says
        assert len({name.partition("/")[0] for name in content.getnames()}) == 3
    file.write_bytes(file.read_bytes()[:200])
    cut = file.rename(tmp_path / f"cut.{ending}")
    assert main(["compare", str(cut)]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "runs"), "--pack", "all.zip"]) == 2


@pytest.mark.parametrize(("ending", "method"), [("tar.xz", zipfile.ZIP_STORED), ("tar.gz", zipfile.ZIP_LZMA)])
def test_arrays_are_compressed_once_with_those_of_other_runs_where_that_is_smaller(tmp_path, ending, method):
    record = write_toy(tmp_path / "runs", "maf", 0.1, data="moons")
    pack_runs(collect([tmp_path / "runs"])[0], tmp_path / f"all.{ending}")
    name = f"{record.run_id}/density.npz"
    with tarfile.open(tmp_path / f"all.{ending}") as packed:
        arrays = packed.extractfile(name).read()
    assert {entry.compress_type for entry in zipfile.ZipFile(io.BytesIO(arrays)).infolist()} == {method}
    original = np.load(tmp_path / "runs" / name)["density"]
    np.testing.assert_array_equal(np.load(io.BytesIO(arrays))["density"], original)


def test_a_packed_file_is_named_in_place_of_the_directory_it_was_unpacked_to(tmp_path):
    for seed in range(2):
        record = write(tmp_path / "runs", "maf", "flow", seed=seed)
        record.provenance.checkpoint = "checkpoints/last.ckpt"
        save(tmp_path / "runs", record)
    file = tmp_path / "all.tar.gz"
    pack_runs(collect([tmp_path / "runs"])[0], file)
    pages = []
    for _ in range(2):  # as two processes unpack it
        unpack.cache_clear()
        runs = collect([file])[0]
        pages.append(page.build(runs, build(runs), {}))
    assert pages[0] == pages[1], "the same bytes"
    strings = Strings()
    facts = facts_of_runs(runs, strings)
    assert facts["directory"] == [f"all.tar.gz: {run_id}" for run_id in facts["id"]]
    assert strings[facts["checkpoint"][0]] == "checkpoints/last.ckpt (not kept with this record)"
    (tmp_path / "runs" / facts["id"][0] / "record.json").write_text("{}", encoding="utf-8")
    with tarfile.open(file, "w:gz") as target:
        target.add(tmp_path / "runs", arcname="")
    unpack.cache_clear()
    (warning,) = collect([file])[1]
    assert f"all.tar.gz: {facts['id'][0]}/record.json" in warning
    assert "zoo-packed-" not in warning
