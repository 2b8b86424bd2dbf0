"""Read a record and check it against the schema."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zoo import moved
from zoo.errors import ZooError
from zoo.record.files import RECORD
from zoo.record.provenance import DataDescription, Provenance
from zoo.record.schema import SCHEMA, Record, Sampling
from zoo.visible import is_suspect, made_visible

_FIRST = 1  # schema of the records made before August 2026
# Sampling order of the models that zoo had at schema 1: its records do not contain it.
_SEQUENTIAL = {"made", "made_mog", "maf", "maf_mog", "nsf_autoregressive", "tarflow"}
_SOLVERS = {"iresnet", "residual_flow"}
_SEVERAL_LINES = frozenset({"reason"})  # the fields whose texts may have several lines
_PRESENT = re.compile(rb'"schema": ?%d\b' % SCHEMA)


def read(path: str | Path) -> Record:
    """Return the record in a file, or in a run's directory. A record of schema 1 is brought up to date.

    Characters in its texts that steer a terminal are written out (:mod:`zoo.visible`).

    Raises:
        ZooError: there is no record, it is damaged, or its schema is unknown. The sentence names the file.
    """
    file = os.path.join(path, RECORD) if os.path.isdir(path) else str(path)
    try:
        with open(file, "rb", buffering=0) as stream:
            content = stream.readall()
        if is_suspect(content):
            tree = json.loads(content, parse_constant=_refused)
            content = json.dumps(made_visible(tree, _SEVERAL_LINES)).encode()
        if (record := _present(content)) is not None:
            return record
        raw = json.loads(content, parse_constant=_refused)
    except FileNotFoundError:
        raise ZooError(f"There is no record at {file}; give the directory of a run that has ended.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ZooError(
            f"The record {file} cannot be read ({error}); delete it and run the job again."
        ) from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema not in (_FIRST, SCHEMA) or isinstance(schema, bool):
        raise ZooError(
            f"The record {file} has schema {schema!r}, this zoo reads {_FIRST} and {SCHEMA}; "
            "run the job again."
        )
    try:
        if schema == _FIRST:
            content = json.dumps(_upgraded(raw)).encode()
        return _checked(content)
    except (ValidationError, AttributeError, TypeError, ValueError) as error:
        raise ZooError(
            f"The record {file} is damaged ({_cause(error)}); delete it and run the job again."
        ) from None


def _present(content: bytes) -> Record | None:
    """Return a sound record of the present schema, which one pass can read; None for every other file."""
    if not _PRESENT.match(content, content.rfind(b'"schema"')):  # records are written with this field last
        return None
    try:
        record = _checked(content)
    except ValueError:
        return None  # what is wrong is found out by the slower way
    return record if record.schema == SCHEMA else None


def _refused(constant: str) -> Any:
    """Raise an error for ``NaN`` and ``Infinity``, which Python reads although JSON has neither."""
    raise ValueError(f"{constant} is not JSON")


def _checked(content: bytes) -> Record:
    return _adapter().validate_json(content, strict=True)


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def _cause(error: Exception) -> str:
    """Return the first fault in a few words: where it is, and what is wrong."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _upgraded(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a record of schema 1 as one of schema 2.

    Schema 1 kept the settings of a sampler beside its speed, had no sampling order, and left out what was not
    measured.
    """
    sampling = dict(raw.get("sampling") or {})
    if sampling:
        order = _order(str(raw.get("model")), str(raw.get("family")))
        sampling = _with_details(sampling, Sampling) | {"order": order}
    provenance = dict(raw.get("provenance") or {})
    known = {field.name for field in dataclasses.fields(Provenance)}
    provenance = {name: value for name, value in provenance.items() if name in known and value is not None}
    overrides = provenance.get("overrides")
    if isinstance(overrides, list) and all(isinstance(word, str) for word in overrides):
        model = (provenance.get("config") or {}).get("model") or {}
        present = moved.upgraded(overrides, model)
        provenance["command"] = None if present is None else shlex.join(["zoo", "train", *present])
    if isinstance(provenance.get("data"), dict):
        provenance["data"] = _with_details(provenance["data"], DataDescription)
    return raw | {
        "schema": SCHEMA,
        "sampling": sampling,
        "stability": raw.get("stability") or {},
        "cost": raw.get("cost") or {},
        "provenance": provenance,
    }


def _with_details(values: dict[str, Any], part: type[Sampling | DataDescription]) -> dict[str, Any]:
    """Return the values; those that are not fields of ``part`` are moved to ``details``."""
    known = {field.name for field in dataclasses.fields(part)}
    details = {name: value for name, value in values.items() if name not in known}
    return {name: value for name, value in values.items() if name in known} | {"details": details}


def _order(model: str, family: str) -> str:
    if family == "autoregressive" or model in _SEQUENTIAL:
        return "sequential"
    return "solver" if family in ("continuous flow", "diffusion") or model in _SOLVERS else "parallel"
