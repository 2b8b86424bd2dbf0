"""The binary tables of the NADE and MADE papers (Larochelle and Murray 2011; Germain et al. 2015)."""

from __future__ import annotations

import torch

from zoo.data.module import DataModule
from zoo.data.published import check_bits, check_sizes, damaged, published_file, read_splits
from zoo.data.spec import DataSpec
from zoo.errors import unknown

# Rows of the training, validation and test split, and columns.
SIZES = {
    "adult": ((5_000, 1_414, 26_147), 123),
    "connect4": ((16_000, 4_000, 47_557), 126),
    "dna": ((1_400, 600, 1_186), 180),
    "mushrooms": ((2_000, 500, 5_624), 112),
    "nips": ((400, 100, 1_240), 500),
    "ocr_letters": ((32_152, 10_000, 10_000), 128),
    "rcv1": ((40_000, 10_000, 150_000), 150),
    "web": ((14_000, 3_188, 32_561), 300),
}
# Checksums of the tables that were at hand.
CHECKSUMS: dict[str, str] = {
    "dna": "a6dd127edd98ecb2",
    "mushrooms": "fc42625b81431b71",
    "nips": "1bdf4cca3a8b2b47",
}


class BinaryTable(DataModule):
    """A table of zeros and ones from ``ROOT/uci_binary/NAME.npz``, as published with MADE.

    The other collection of this kind, DEBD, has a dna of another split, which the sizes tell apart.

    Args:
        name: one of :data:`SIZES`.
        root: folder of the folder.

    Raises:
        ZooError: no table has this name; in :meth:`setup`: the file is missing, damaged or another version.
    """

    split_rule = "as published"
    checksums = CHECKSUMS

    def __init__(self, name: str, root: str | None = None) -> None:
        super().__init__(name, root)
        if name not in SIZES:
            raise unknown("binary table", name, SIZES)

    @staticmethod
    def sizes(name: str) -> tuple[tuple[int, int, int], int]:
        """Return the published numbers of rows of the three splits, and of columns."""
        return SIZES[name]

    def read(self) -> None:
        path = published_file(
            self.root,
            [f"uci_binary/{self.name}.npz"],
            f"The binary table {self.name}",
            f"https://github.com/mgermain/MADE (datasets/{self.name}.npz)",
        )
        arrays = read_splits(path)
        rows, columns = self.sizes(self.name)
        check_sizes(path, arrays, dict(zip(arrays, rows, strict=True)), columns)
        self.spec = DataSpec((columns,), levels=2)
        for split, x in arrays.items():
            if not ((x == 0) | (x == 1)).all():
                raise damaged(path, f"its {split} split has values other than 0 and 1")
            self.splits[split] = torch.from_numpy(x.astype("uint8"))
        check_bits(path, arrays, self.checksums.get(self.name))
