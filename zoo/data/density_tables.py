"""Four of the five tables of Papamakarios et al. 2017, with that paper's preprocessing to the last draw.

The files are those of the authors' archive ``data.tar.gz`` (https://zenodo.org/record/1161203), unpacked
below the data root: ``power/``, ``gas/``, ``hepmass/`` and ``miniboone/``. Every split is checked against the
published number of rows and columns. Columns are standardised as there, so a log-likelihood in nats is the
paper's. The fifth table, BSDS300, is :mod:`zoo.data.patches`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from zoo.data.module import DataModule
from zoo.data.published import check_sizes, damaged, published_file
from zoo.data.spec import DataSpec
from zoo.errors import unknown

SOURCE = "https://zenodo.org/record/1161203 (data.tar.gz, md5 9b9c9b0375315ad270eba4ce80c093ab, unpacked)"
Arrays = dict[str, np.ndarray]
# Rows of the training, validation and test split, and columns.
SIZES = {
    "power": ((1_659_917, 184_435, 204_928), 6),
    "gas": ((852_174, 94_685, 105_206), 8),
    "hepmass": ((315_123, 35_013, 174_987), 21),
    "miniboone": ((29_556, 3_284, 3_648), 43),
}


def cut(x: np.ndarray) -> Arrays:
    """Return the last tenth of the rows as test, the last tenth of the others as validation, and the rest."""
    rest, test = x[: -int(0.1 * len(x))], x[-int(0.1 * len(x)) :]
    inner = int(0.1 * len(rest))
    return {"train": rest[:-inner], "val": rest[-inner:], "test": test}


def standardised(splits: Arrays) -> Arrays:
    """Return splits in units of the mean and deviation of training and validation together."""
    known = np.concatenate([splits["train"], splits["val"]])
    mean, deviation = known.mean(0), known.std(0)
    return {split: (x - mean) / deviation for split, x in splits.items()}


def power(folder: Path) -> Arrays:
    """Read ``data.npy``: rows shuffled and noise added by one ``RandomState(42)``, two columns left out.

    Columns 1 and 3 (reactive power and intensity) go; uniform noise of one step of each meter is added: 0.001
    to power, 0.01 to voltage, 1 to the three sub-meters, none to the time.
    """
    x = np.load(folder / "data.npy", allow_pickle=False)
    random = np.random.RandomState(42)
    random.shuffle(x)
    x = np.delete(np.delete(x, 3, axis=1), 1, axis=1)
    n = len(x)
    voltage, active = 0.01 * random.rand(n, 1), 0.001 * random.rand(n, 1)  # in the order of the draws
    meters = random.rand(n, 3)
    return standardised(cut(x + np.hstack([active, voltage, meters, np.zeros((n, 1))])))


def gas(folder: Path) -> Arrays:
    """Read ``ethylene_CO.pickle`` (already a quarter of the rows) without gas and time, then without copies.

    As long as two columns correlate by more than 0.98, the first column that does so goes.
    """
    frame = pd.read_pickle(folder / "ethylene_CO.pickle").drop(columns=["Meth", "Eth", "Time"])
    while len(many := np.flatnonzero((frame.corr() > 0.98).to_numpy().sum(1) > 1)):
        frame = frame.drop(columns=frame.columns[many[0]])
    return cut(((frame - frame.mean()) / frame.std()).to_numpy())


def hepmass(folder: Path) -> Arrays:
    """Read ``1000_train.csv`` and ``1000_test.csv``: the signal, without the columns of few distinct values.

    The test file's last column has no values. A column goes if the smallest of its values occurs more than
    five
    times: that is what the authors' program computes. The last tenth of the training rows is the validation.
    """
    train = pd.read_csv(folder / "1000_train.csv", index_col=False)
    test = pd.read_csv(folder / "1000_test.csv", index_col=False)
    train = train[train[train.columns[0]] == 1].drop(columns=train.columns[0])
    test = test[test[test.columns[0]] == 1].drop(columns=[test.columns[0], test.columns[-1]])
    mean, deviation = train.mean(), train.std()
    test.columns = train.columns
    x, y = ((part - mean) / deviation for part in (train, test))
    columns = [name for name in x if (x[name] == x[name].min()).sum() <= 5]
    inner = int(len(x) * 0.1)
    known = x[columns].to_numpy()
    return {"train": known[:-inner], "val": known[-inner:], "test": y[columns].to_numpy()}


def miniboone(folder: Path) -> Arrays:
    """Read ``data.npy``, in which the authors have left out outliers and columns of few distinct values."""
    return standardised(cut(np.load(folder / "data.npy", allow_pickle=False)))


READERS: dict[str, tuple[Callable[[Path], Arrays], str]] = {  # with a file that shows the folder is there
    "power": (power, "data.npy"),
    "gas": (gas, "ethylene_CO.pickle"),
    "hepmass": (hepmass, "1000_train.csv"),
    "miniboone": (miniboone, "data.npy"),
}


class DensityTable(DataModule):
    """POWER, GAS, HEPMASS or MINIBOONE as in Papamakarios et al. 2017.

    Args:
        name: one of :data:`READERS`.
        root: folder of the folders.

    Raises:
        ZooError: no table has this name; in :meth:`setup`: a file is missing, damaged or another version.
    """

    def __init__(self, name: str, root: str | None = None) -> None:
        super().__init__(name, root)
        if name not in READERS:
            raise unknown("table of densities", name, READERS)
        self.split_rule = "as in Papamakarios et al. 2017"

    @staticmethod
    def sizes(name: str) -> tuple[tuple[int, int, int], int]:
        """Return the published numbers of rows of the three splits, and of columns."""
        return SIZES[name]

    def read(self) -> None:
        reader, file = READERS[self.name]
        path = published_file(self.root, [f"{self.name}/{file}"], self.name.upper(), SOURCE)
        try:
            splits = reader(path.parent)
        except FileNotFoundError as error:
            published_file(
                self.root, [f"{self.name}/{Path(str(error.filename)).name}"], self.name.upper(), SOURCE
            )
            raise
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            pickle.UnpicklingError,
        ) as error:
            raise damaged(path, error) from error
        rows, columns = self.sizes(self.name)
        check_sizes(path, splits, dict(zip(splits, rows, strict=True)), columns)
        self.spec = DataSpec((columns,))
        self.splits = {split: torch.from_numpy(x.astype(np.float32)) for split, x in splits.items()}
