"""The check of the data: fits in closed form, before anything is trained."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from zoo.config.overrides import to_text
from zoo.errors import ZooError
from zoo.record import write_atomic
from zoo.reproduction.closed_form import Fingerprint, bernoulli, class_gaussians, gaussian
from zoo.reproduction.schema import ClosedForm, Table

FILE = "fingerprints.json"


@dataclasses.dataclass(frozen=True)
class Splits:
    """A data set as arrays ``(N, D)``, float64 for continuous data; training labels if there are any."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None = None


class Mismatch(ZooError):
    """The data of this machine are not the paper's."""


Read = Callable[[list[str]], Splits]


def settings(form: ClosedForm) -> list[str]:
    """Return the overrides of a closed form's data."""
    return [f"{key}={to_text(value)}" for key, value in form.data.items()]


def check_data(table: Table, keys: Iterable[str], read: Read, folder: Path) -> dict[str, Fingerprint]:
    """Compute fits in closed form on the data of this machine, write them down and return them.

    Args:
        table: the table.
        keys: of its closed forms.
        read: function that reads a data set from its overrides.
        folder: where ``fingerprints.json`` is written.

    Raises:
        Mismatch: a fit does not give the published value, so these are not the paper's data.
        ZooError: the data are missing or damaged.
    """
    fingerprints = stored([folder])
    for key in keys:
        fingerprints[key] = fingerprint(table.closed_forms[key], read(settings(table.closed_forms[key])))
        if not fingerprints[key].holds:
            raise Mismatch(_mismatch(table, key, fingerprints[key]))
    keep(fingerprints, folder)
    return fingerprints


def keep(fingerprints: Mapping[str, Fingerprint], folder: Path) -> None:
    """Write fits in closed form into a folder."""
    content = {key: dataclasses.asdict(value) for key, value in fingerprints.items()}
    write_atomic(folder / FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _mismatch(table: Table, key: str, fit: Fingerprint) -> str:
    form = table.closed_forms[key]
    return (
        f"The fit '{key}' gives {fit.value:.6g} instead of {form.value:.6g} on {' '.join(settings(form))}: "
        f"these are not the data of {table.title}, so nothing is trained; get the published files and run "
        "--check-data again."
    )


def stored(places: Iterable[Path]) -> dict[str, Fingerprint]:
    """Return the fits computed before; the first place wins, and a damaged file counts as none."""
    fingerprints: dict[str, Fingerprint] = {}
    for place in places:
        try:
            content = json.loads((place / FILE).read_text(encoding="utf-8"))
            fingerprints = {key: Fingerprint(**value) for key, value in content.items()} | fingerprints
        except (OSError, ValueError, TypeError, AttributeError):
            continue
    return fingerprints


def fingerprint(form: ClosedForm, data: Splits) -> Fingerprint:
    """Return the fit of a closed form on some data."""
    nll = -_log_density(form, data)
    value, n = float(nll.mean()), len(nll)
    error = float(nll.std(ddof=1)) / math.sqrt(n)
    holds = bool(abs(value - form.value) <= form.tolerance)
    return Fingerprint(value, error, n, form.value, holds)


def _log_density(form: ClosedForm, data: Splits) -> np.ndarray:
    if form.fit == "gaussian":
        return gaussian(data.train, data.test)
    if form.fit == "bernoulli":
        return bernoulli(data.train, data.test)
    if data.labels is None:
        raise ZooError("A fit of one Gaussian for each class needs labels, and these data have none.")
    return class_gaussians(data.train, data.labels, data.test)


def needed(table: Table, datasets: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the keys of the closed forms that fingerprint some data sets, given by their overrides."""
    names = {str(data.get("data")) for data in datasets}
    return [key for key, form in table.closed_forms.items() if str(form.data.get("data")) in names]
