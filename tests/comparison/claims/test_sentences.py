"""The claims: one file each, found by its name, in the order of the lecture, and explained to the reader."""

from __future__ import annotations

from pathlib import Path

from zoo.comparison.claims.sentences import all_claims


def test_claims_are_found_by_their_files_in_the_order_of_the_lecture():
    files = Path(__file__).parents[3] / "zoo/comparison/claims/sentences"
    names = {file.stem.replace("_", "-") for file in files.glob("*.py")} - {"--init--"}
    claims = all_claims()
    assert {one.key for one in claims} == names
    assert [one.order for one in claims] == sorted({one.order for one in claims}), "no two have one place"
    assert claims[0].sentence.startswith("Autoregressive generation")


def test_every_claim_is_explained_in_the_documentation():
    text = (Path(__file__).parents[3] / "docs/claims.md").read_text()
    for one in all_claims():
        assert f"## {one.sentence}" in text
