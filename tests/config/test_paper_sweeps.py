"""Sweeps of papers' tables, ``zoo sweep papers/NAME``: each row has the settings and size of its paper."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from recipe_tools import SPECS

from zoo.config import compose_run, to_dict
from zoo.errors import ZooError
from zoo.factory import instantiate
from zoo.sweep.definition import expand, find_sweep, read_sweep

MAF_IMAGES = expand(read_sweep(find_sweep("papers/maf_images")), [])


def made_size(dim: int, widths: list[int], per_dim: int) -> int:
    """Return the number of weights and biases of a MADE, masked ones included."""
    return sum((a + 1) * b for a, b in pairwise([dim, *widths, per_dim * dim]))


@pytest.mark.parametrize("overrides", MAF_IMAGES, ids=" ".join)
@pytest.mark.filterwarnings("ignore:MADE with")
def test_a_row_of_mafs_image_table_has_the_stated_settings_and_size(overrides):
    """Papamakarios et al. 2017, appendices B and D, and gpapamak/maf."""
    config = compose_run(overrides)
    model, training, data = config.model, config.training, config.data.name
    name = config.hydra.runtime.choices.model
    flow = name.startswith("maf")
    assert list(model.hidden) == [1024, 1024]
    assert (model.activation, model.log_scale_bound) == ("relu", None)
    assert model.order == ("reversed" if flow else "natural")
    assert model.pixels.alpha == {"mnist": 1e-6, "cifar10": 0.05}[data]
    assert model.degrees == {"mnist": "cyclic", "cifar10": "random"}[data]
    assert (training.batch_size, training.weight_decay, training.lr) == (100, 1e-6, 1e-4 if flow else 1e-3)
    spec = SPECS[data]
    with torch.device("meta"):
        size = sum(p.numel() for p in instantiate(to_dict(model), spec).parameters())
    widths = [1024, 1024]
    mixture = made_size(spec.dim, widths, 3 * 10) if name.endswith("mog") else 0
    if not flow:
        assert size == (mixture or made_size(spec.dim, widths, 2))
    else:
        assert model.batch_norm
        layer = made_size(spec.dim, widths, 2) + 2 * spec.dim  # weights of a batch normalisation
        assert size == model.layers * layer + mixture


def test_mafs_image_table_has_its_ten_rows():
    configs = [compose_run(overrides) for overrides in MAF_IMAGES]
    rows = [(c.hydra.runtime.choices.model, c.model.get("layers"), c.data.name) for c in configs]
    of_each = [("made", None), ("made_mog", None), ("maf", 5), ("maf", 10), ("maf_mog", 5)]
    assert set(rows) == {(*row, data) for row in of_each for data in ("mnist", "cifar10")}
    assert len(rows) == 10


def test_a_misspelt_paper_is_offered_the_nearest_one():
    with pytest.raises(ZooError, match="did you mean papers/maf_images"):
        find_sweep("papers/maf_image")
