"""scripts/extractors.py reads all archived samples of packed runs, and says so if there are none."""

from __future__ import annotations

from pathlib import Path

import extractors
import numpy as np
import pytest

from zoo.comparison.archive import pack_runs
from zoo.comparison.collect import Run
from zoo.errors import ZooError
from zoo.record import Metric, Provenance, Record

KEY = "fd/digits-cnn"


def run(folder: Path, model: str, seed: int, level: int, distance: float, samples: int = 100) -> Run:
    """Return a run on digits whose archived samples have one gray level, from 0 to 16, in every pixel."""
    record = Record(
        run_id=f"{model}-{seed}",
        model=model,
        family="flow",
        data="digits",
        seed=seed,
        status="finished",
        metrics={KEY: Metric(distance, "1", "estimate", "lower", n=samples)},
        provenance=Provenance(config={}, config_hash_without_seed=model),
    )
    directory = folder / record.run_id
    record.write(directory)
    images = np.full((samples, 1, 8, 8), level, np.uint8)
    np.savez(directory / "samples.npz", samples=images, levels=17)
    return Run(record, directory)


def test_configurations_are_read_from_one_packed_file_with_all_their_samples(tmp_path):
    runs = [run(tmp_path, "maf", seed, level, 2.0 + seed) for seed, level in ((0, 0), (1, 16))]
    runs.append(run(tmp_path, "glow", 0, 8, 9.0))
    packed = tmp_path / "records.tar.xz"
    pack_runs(runs, packed)
    distances, samples = extractors.models("digits", KEY, 17, packed)
    assert distances == [2.5], "the mean over two seeds; glow has one seed and is left out"
    (pooled,) = samples
    assert pooled.shape == (200, 1, 8, 8)
    assert sorted(set(pooled.flatten().tolist())) == [0.0, 255.0]


def test_without_a_record_there_is_no_table_but_a_sentence(tmp_path, monkeypatch, capsys):
    runs = [run(tmp_path, "maf", 0, 0, 2.0), run(tmp_path, "glow", 0, 8, 9.0)]
    pack_runs(runs, tmp_path / "one-seed.tar.xz")
    with pytest.raises(ZooError, match=r"No two runs of one configuration on digits under .*one-seed"):
        extractors.models("digits", KEY, 17, tmp_path / "one-seed.tar.xz")
    monkeypatch.setitem(extractors.SETS, "digits", ("digits-cnn", tmp_path / "gone.tar.xz"))
    monkeypatch.setattr("sys.argv", ["extractors.py", "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        extractors.main()
    assert stopped.value.code == 2
    assert "gone.tar.xz" in capsys.readouterr().err
    assert not (tmp_path / "out/table.md").exists()


def test_the_committed_records_are_where_the_script_looks_for_them():
    _, place = extractors.SETS["digits"]
    assert place.is_file()
