"""The file of the curves survives a crash in the middle of a row."""

from __future__ import annotations

import zoo
from zoo.training.callbacks import Curves
from zoo.training.likelihood import MaximumLikelihood


def test_a_resumed_run_drops_a_row_that_was_cut_off(tmp_path):
    curves = Curves(tmp_path)
    module = MaximumLikelihood(zoo.build("maf", zoo.DataSpec((2,))), updates=50, batch_size=4)
    module.updates = 20

    class Trainer:
        is_global_zero = True

    curves.file.write_text("updates,train/loss\n10,1.5\n20,1.25\n3")  # the last row was to be 30,...
    curves.on_fit_start(Trainer(), module)
    lines = curves.file.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["updates", "10", "20"]
