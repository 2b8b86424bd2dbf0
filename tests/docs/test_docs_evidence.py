"""The documentation's site has every page and figure of results/ that its pages link or show."""

from __future__ import annotations

from pathlib import Path

from docs_evidence import ADDED, on_files
from mkdocs.config import load_config
from mkdocs.structure.files import Files, set_exclusions

ROOT = Path(__file__).resolve().parents[2]


def test_what_the_hook_adds_is_copied_to_the_site(tmp_path):
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    files = on_files(Files([]), config)
    set_exclusions(files, config)  # as mkdocs does after the hook
    files.copy_static_files()
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*")} == {*ADDED.values()}
    for place, name in ADDED.items():
        assert (tmp_path / name).read_bytes() == (ROOT / place).read_bytes()


def test_every_table_that_was_run_has_its_page_on_the_site():
    run = {str(page.relative_to(ROOT)) for page in (ROOT / "results/papers").glob("*/index.html")}
    assert len(run) > 3
    assert run == {place for place in ADDED if place.startswith("results/papers")}
