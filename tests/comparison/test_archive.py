"""What an archive of runs holds."""

from fake_records import save, write

from zoo.comparison.archive import archive
from zoo.comparison.collect import collect
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
