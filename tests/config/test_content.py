"""What is in a user's files decides, not where they lie, what they are called or when they were touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from zoo.config import compose_run, content, identify
from zoo.config.content import content_hash
from zoo.config.identities import Identities
from zoo.errors import InvalidData


def identity(path, *more):
    return identify(compose_run(["data=table", f"data.path={path}", *more]))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    return path


def test_touched_copied_and_linked_files_are_the_same_data(table, tmp_path):
    before = identity(table)
    os.utime(table, (1, 1))
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(table, tmp_path / "elsewhere/table.csv")
    shutil.copy(table, tmp_path / "other.csv")
    (tmp_path / "link.csv").symlink_to(table)
    assert identity(table) == before == identity(tmp_path / "elsewhere/table.csv")
    for name in ("link.csv", "other.csv"):
        assert identity(tmp_path / name).config_hash == before.config_hash


def test_a_changed_value_is_other_data_even_at_equal_size_and_time_stamp(table):
    before, status = identity(table), table.stat()
    table.write_text("a,b\n1,3\n")
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identity(table).config_hash != before.config_hash


def test_the_path_is_not_in_the_settings_and_its_name_is_in_the_run_id(table):
    identity_now = identity(table, "seed=3")
    assert "path" not in identity_now.config["data"]
    assert identity_now.run_id.startswith("realnvp-table_table-s3-")


def test_the_content_of_a_folder_is_its_visible_files_with_their_places(tmp_path):
    def folder(name, files):
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return content_hash(tmp_path / name)

    base = folder("one", {"a/1.png": "x", "b/2.png": "y"})
    assert folder("two", {"a/1.png": "x", "b/2.png": "y", ".DS_Store": "z", "a/Thumbs.db": "z"}) == base
    others = [
        folder("moved", {"a/1.png": "x", "a/2.png": "y"}),
        folder("swapped", {"a/1.png": "y", "b/2.png": "x"}),
        folder("more", {"a/1.png": "x", "b/2.png": "y", "b/3.png": ""}),
        folder("shifted", {"a/1.png": "xy", "b/2.png": ""}),
    ]
    assert len({base, *others}) == 5
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/a").symlink_to(tmp_path / "one/a")
    shutil.copytree(tmp_path / "one/b", tmp_path / "linked/b")
    assert content_hash(tmp_path / "linked") == base
    assert content_hash(tmp_path / "nothing") is None


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with pytest.raises(InvalidData, match="dangling is a link to a file that does not exist"):
        content_hash(tmp_path)


def test_the_hash_of_much_data_is_computed_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "LARGE", 1000)
    monkeypatch.setattr(content, "SETTLED", -1.0)  # the files are as fresh as they are
    path = tmp_path / "big.npy"
    np.save(path, np.arange(1000))
    hash_now = content_hash(path)
    (kept,) = (tmp_path / "cache").rglob("*.json")
    assert list(json.loads(kept.read_text()).values()).count(hash_now) == 2  # of this place, and of a copy
    kept.write_text(kept.read_text().replace(hash_now, "0123456789abcdef"))
    content.hash_of_files.cache_clear()
    assert content_hash(path) == "0123456789abcdef", "the file is not read again"
    np.save(path, np.arange(1000)[::-1])
    assert content_hash(path) not in (hash_now, "0123456789abcdef")
    kept.write_text("[damaged")
    content.hash_of_files.cache_clear()
    assert content_hash(path) is not None


@pytest.fixture
def reads(tmp_path, monkeypatch):
    """Return the paths that are hashed as a whole; with a cache of its own, little data count as much."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "LARGE", 1000)
    monkeypatch.setattr(content, "SETTLED", -1.0)
    paths, computed = [], content.compute
    monkeypatch.setattr(
        content, "compute", lambda path, names: (paths.append(path), computed(path, names))[1]
    )
    content.hash_of_files.cache_clear()
    return paths


def test_a_copy_that_keeps_its_time_is_not_hashed_again(tmp_path, reads):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, np.arange(5000))
    hash_now = content_hash(folder)
    shutil.copytree(folder, tmp_path / "staged")  # as rsync -a and cp -p do, it keeps the time stamps
    assert content_hash(tmp_path / "staged") == hash_now
    assert len(reads) == 1
    os.utime(tmp_path / "staged/a.npy", (1, 1))
    assert content_hash(tmp_path / "staged") == hash_now
    assert len(reads) == 2, "another time stamp, so it might be other data"


@pytest.mark.parametrize("time", [0, 1, 315_532_800, 499_162_500, 1_700_000_040])
def test_files_with_time_stamps_such_as_archives_set_are_not_taken_for_copies(time, tmp_path, reads):
    """The time stamps are 1970, 1980 (zip), 1985 (npm) and a whole minute."""
    values = np.arange(500_000)
    np.save(tmp_path / "one.npy", values)
    values[2500] = -1  # a value outside the blocks that are compared
    np.save(tmp_path / "two.npy", values)
    for name in ("one.npy", "two.npy"):
        os.utime(tmp_path / name, (time, time))
    assert content_hash(tmp_path / "one.npy") != content_hash(tmp_path / "two.npy")
    assert content_hash(tmp_path / "one.npy") is not None
    assert len(reads) == 2


def test_an_edit_with_the_old_time_is_found_where_the_file_was_known(tmp_path, reads):
    path = tmp_path / "big.npy"
    np.save(path, np.arange(500_000))
    before, status = content_hash(path), path.stat()
    with path.open("r+b") as stream:  # between the blocks that are compared
        stream.seek(20_000)
        stream.write(b"\xff")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_hash(path) != before
    assert len(reads) == 2


def test_a_copy_of_other_bytes_is_hashed(tmp_path, reads):
    (tmp_path / "one.bin").write_bytes(bytes(100_000))
    content_hash(tmp_path / "one.bin")
    (tmp_path / "two.bin").write_bytes(bytes(99_999) + b"x")
    (tmp_path / "three.bin").write_bytes(b"x" + bytes(99_999))
    for name in ("two.bin", "three.bin"):
        shutil.copystat(tmp_path / "one.bin", tmp_path / name)
        assert content_hash(tmp_path / name) != content_hash(tmp_path / "one.bin")


def test_of_several_processes_one_hashes_and_the_others_wait(tmp_path):
    path = tmp_path / "big.npy"
    np.save(path, np.arange(3_000_000))
    os.utime(path, (1, 1))
    code = (
        "import sys, time; from zoo.config import content; computed = content.compute;"
        "content.SETTLED = -1.0;"
        "content.compute = lambda *given: (print('read'), time.sleep(1), computed(*given))[2];"
        "print(content.content_hash(content.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(path)]
    own = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    started = [subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].split() for process in started]
    assert sorted(len(words) for words in said) == [1, 2], said
    assert len({words[-1] for words in said}) == 1


def test_data_changed_just_now_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "LARGE", 10)
    np.save(tmp_path / "fresh.npy", np.arange(1000))
    content_hash(tmp_path / "fresh.npy")
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_where_and_in_how_many_processes_a_run_is_made_is_not_part_of_it():
    def who(*overrides):
        return identify(compose_run(["model=maf", *overrides])).config_hash

    places = [
        ["trainer=cpu"],
        ["trainer=ddp", "trainer.devices=8", "trainer.num_nodes=2", "trainer.timeout_min=9"],
        ["evaluation.inception_weights=/somewhere"],
        ["data.root=/somewhere"],
    ]
    assert {who(), *(who(*place) for place in places)} == {who()}
    counted = ["trainer.precision=bf16-mixed", "training.accumulate=2", "+trainer.deterministic=true"]
    assert len({who(), *map(who, counted)}) == 4
    identities = Identities()
    for overrides in [["model=maf", "trainer.devices=4"], ["model=maf", "trainer.precision=bf16-mixed"]]:
        assert identities.of(overrides) == identify(compose_run(overrides))


def test_spellings_of_one_number_are_one_run():
    def who(*overrides):
        return identify(compose_run(list(overrides))).config_hash

    assert who("training.updates=1000", "training.lr=1") == who("training.updates=1e3", "training.lr=1.0")
    spelt = ["32", "32.0", "'32'", "null", "32-true"]
    assert (
        {who(f"trainer.precision={precision}") for precision in spelt}
        == {who()}
        == {who("~trainer.precision")}
    )
    for precision in spelt:
        overrides = ["model=maf", f"trainer.precision={precision}"]
        assert (
            Identities().of(overrides)
            == identify(compose_run(overrides))
            == identify(compose_run(["model=maf"]))
        )
    assert who("training.compile=true") != who("training.compile=1")
