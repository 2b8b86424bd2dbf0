"""The table of the stages of matching against likelihood is that of the committed records."""

from __future__ import annotations

import matching_stages

from zoo.comparison.collect import collect


def test_the_committed_table_has_each_stage_and_all_seeds():
    first, second = (collect([place])[0] for place in (matching_stages.FIRST, matching_stages.SECOND))
    made = matching_stages.table(first, second)
    assert (matching_stages.RESULTS / "studies/matching_stages.md").read_text(encoding="utf-8") == made
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in made.splitlines()[2:]]
    for data, machine in (("digits", 20), ("8gaussians", 11)):
        counts = [int(row[2]) for row in rows if row[0] == data]
        assert counts == [5, machine - 5, 5, machine, machine + 5]
    heavy = {(row[0], row[1]) for row in rows if row[-1] == "yes"}
    assert heavy == {("8gaussians", "first stage, seeds 10 to 14")}
