"""The data sets that zoo ships, by their number of dimensions, and the sweep that measures models on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from zoo.kinds import DataKind, suits

FETCHED = "its files are downloaded into data.root= or ZOO_DATA if they are missing"
GIVEN = "its files have to be in data.root= or ZOO_DATA: zoo doctor says which, and where to get them"


@dataclass(frozen=True)
class Shipped:
    """A data set that zoo ships.

    Attributes:
        name: after ``data=``.
        shape: of an example.
        levels: number of values of an integer pixel; None for continuous data.
        files: what files it needs, in words; empty if it needs none.
    """

    name: str
    shape: tuple[int, ...]
    levels: int | None = None
    files: str = ""

    @property
    def dimension(self) -> int:
        """The number of dimensions of an example."""
        return math.prod(self.shape)

    def sweep(self, models: Mapping[str, DataKind]) -> str:
        """Return the command that measures every family on it.

        Args:
            models: the kind of data of each model, by its name. On points and tables those that need other
                data are left out.
        """
        able = [name for name, kind in models.items() if suits(kind, self.shape, self.levels)]
        chosen = f"model={','.join(able)} " if able and len(self.shape) == 1 else ""
        return f"zoo sweep families data={self.name} {chosen}seed=0,1,2"


# Of each number of dimensions the one that is tried first.
SHIPPED = {
    one.dimension: one
    for one in (
        Shipped("8gaussians", (2,)),
        Shipped("power", (6,), files=GIVEN),
        Shipped("gas", (8,), files=GIVEN),
        Shipped("hepmass", (21,), files=GIVEN),
        Shipped("miniboone", (43,), files=GIVEN),
        Shipped("bsds300", (63,), files=GIVEN),
        Shipped("digits", (1, 8, 8), 17),
        Shipped("mushrooms", (112,), 2, GIVEN),
        Shipped("adult", (123,), 2, GIVEN),
        Shipped("connect4", (126,), 2, GIVEN),
        Shipped("ocr_letters", (128,), 2, GIVEN),
        Shipped("rcv1", (150,), 2, GIVEN),
        Shipped("dna", (180,), 2, GIVEN),
        Shipped("web", (300,), 2, GIVEN),
        Shipped("nips", (500,), 2, GIVEN),
        Shipped("mnist", (1, 28, 28), 256, FETCHED),
        Shipped("cifar10", (3, 32, 32), 256, FETCHED),
        Shipped("imagenet64", (3, 64, 64), 256, GIVEN),
    )
}
# what ends the sentence on data of which zoo ships none, and their sweep
OWN = (
    "; zoo ships none, so NAME stands for your own: images data.path=FOLDER data.size=SIDE for pictures, or "
    "table data.path=FILE"
)
OWN_SWEEP = "zoo sweep families data=NAME seed=0,1,2"


def of_shipped(one: Shipped, models: Mapping[str, DataKind]) -> tuple[str, str]:
    """Return what ends the sentence that its dimension was not measured, and the sweep that measures it."""
    return f", which {one.name} has{f'; {one.files}' if one.files else ''}", one.sweep(models)
