"""Hydra's override grammar: how ``key=value`` is read, and how a value is written and quoted.

Every other module reads and writes overrides through these functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from zoo.config.content import expanded
from zoo.errors import ZooError

# Settings whose values are paths.
PATHS = (
    "data.path",
    "data.root",
    "evaluation.inception_weights",
    "evaluation.dinov2_weights",
    "hydra.run.dir",
    "hydra.sweep.dir",
)


@cache
def parse(override: str) -> Override | None:
    """Parse an override by Hydra's grammar; None if it is malformed."""
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def split(override: str) -> tuple[str, str]:
    """Return an override's key and the text of its value.

    >>> split("+model.width=3")
    ('+model.width', '3')
    """
    key, _, value = override.partition("=")
    return key, value


def given(overrides: Iterable[str], section: str) -> list[str]:
    """Return the names of the settings of a section that overrides set; in a node of it, the node's name.

    >>> given(["model=glow", "model.pixels.alpha=0.1", "+model.own=1", "~model.width"], "model")
    ['pixels', 'own']
    """
    read = [override for override in map(parse, overrides) if override is not None]
    keys = [override.key_or_group.split(".") for override in read if not override.is_delete()]
    return [key[1] for key in keys if key[0] == section and len(key) > 1]


def with_plus(override: str) -> str:
    """Return the override as Hydra takes it: ``experiment=NAME`` is short for ``+experiment=NAME``.

    >>> with_plus("experiment=glow_cifar10"), with_plus("model=glow")
    ('+experiment=glow_cifar10', 'model=glow')
    """
    return f"+{override}" if override.startswith("experiment=") else override


def quote(text: str) -> str:
    """Return the text in single quotes, so that Hydra reads exactly this text."""
    return QuotedString(text, Quote.single).with_quotes()


def quote_path(path: str) -> str:
    """Return a path in single quotes, so that Hydra reads exactly this path, a ``${`` in it too.

    >>> quote_path("it's here")
    "'it\\\\'s here'"
    """
    return quote(path.replace("${", r"\${"))


def as_text(text: str) -> str:
    """Return a text so that Hydra reads exactly it, in quotes only where it would read something else.

    >>> as_text("toys"), as_text("2024"), as_text("a,b")
    ('toys', "'2024'", "'a,b'")
    """
    parsed = parse(f"key={text}")
    is_read = parsed is not None and not parsed.is_sweep_override() and parsed.value() == text
    return text if is_read else quote(text)


def as_typed(override: str, several: bool = False) -> str:
    """Return an override so that Hydra reads the value that its text says.

    A path is taken as it stands in the shell, whatever its characters: ``data.path=my data (1).csv``,
    ``data.path=2024``. Of other settings, a value that Hydra cannot read is a text.

    Args:
        override: as given on the command line.
        several: whether commas separate values, as in a sweep. A file whose name has commas is one value.

    >>> as_typed("data.path=a (1).csv"), as_typed("data.path=2024"), as_typed("model.hidden=[8, 8]")
    ("data.path='a (1).csv'", "data.path='2024'", 'model.hidden=[8, 8]')
    """
    key, value = split(override)
    if "=" not in override or not key or not value:
        return override
    if key.lstrip("+") not in PATHS:
        is_text = parse(override) is None and value[0] not in "[{" and parse(f"{key}=0") is not None
        return f"{key}={quote(value)}" if is_text else override
    return f"{key}={_path(value, several)}"


def _path(value: str, several: bool) -> str:
    """Return the text of a path (of several, if they are separated by commas) as Hydra reads it."""
    if _exists(value):
        return quote_path(value)
    if several and "," in value:
        return ",".join(_path(part, several=False) for part in value.split(","))
    parsed = parse(f"key={value}")
    in_quotes = value[0] in "'\"" and parsed is not None and not parsed.is_sweep_override()
    if in_quotes or value == "null":
        return value
    return quote(value)  # of interpolations, which are resolved in quotes too


def absolute(override: str) -> str:
    """Return an override of a path with its absolute path; any other override unchanged."""
    parsed = parse(override)
    value = parsed.value() if parsed is not None and parsed.key_or_group in PATHS else None
    if not isinstance(value, str) or "${" in value.replace(r"\${", ""):
        return override
    path = expanded(value.replace(r"\${", "${")).absolute()
    return f"{split(override)[0]}={quote_path(str(path))}"


def _exists(path: str) -> bool:
    try:
        return expanded(path).exists()
    except (OSError, ValueError):  # too long, a null byte
        return False


def to_text(value: Any) -> str:
    """Return a value of YAML (a scalar, list or mapping) as Hydra's command line writes it.

    >>> [to_text(value) for value in (None, True, 1e-05, "maf", "a, b", [64, "a"], {"a": 1})]
    ['null', 'true', '1e-05', 'maf', "'a, b'", '[64, "a"]', '{a: 1}']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_element, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_element(v)}' for key, v in value.items())}}}"
    return _quote_if_needed(value) if isinstance(value, str) else str(value)


def _element(value: Any) -> str:
    """Return an element of a list or mapping as text; strings are always quoted there."""
    return QuotedString(value, Quote.double).with_quotes() if isinstance(value, str) else to_text(value)


def _quote_if_needed(text: str) -> str:
    """Quote a string of YAML unless Hydra reads it back unchanged, or as a number.

    YAML reads 1e-4 as a string and Hydra as a number; the user means the number.
    """
    parsed = parse(f"key={text}")
    value = None if parsed is None else parsed.value()
    return text if value == text or type(value) in (int, float) else quote(text)


def canonical(value: str) -> str:
    """Return a text that is equal for every spelling of the same value.

    >>> canonical("1e-3") == canonical("0.001"), canonical("[64,64]") == canonical("[64, 64]")
    (True, True)
    """
    parsed = parse(f"key={value}")
    return value if parsed is None else repr(parsed.value())


def is_sweep(override: str) -> bool:
    """Return whether an override lists several values (``model=maf,vae``)."""
    parsed = parse(override)
    return parsed is not None and parsed.is_sweep_override()


def swept_values(override: str) -> list[str]:
    """Return the values that an override lists (``seed=0,1`` or ``seed=range(0,2)``), or its only value.

    >>> swept_values("seed=range(0,2)"), swept_values("model.hidden=[64,64]")
    (['0', '1'], ['[64,64]'])

    Raises:
        ZooError: a sweep without a list of values, such as ``interval(0, 1)``.
    """
    key, value = split(override)
    parsed = parse(override)
    if parsed is None or not parsed.is_sweep_override():
        return [value]  # composing the run refuses what is malformed
    try:
        return list(parsed.sweep_string_iterator())
    except HydraException:
        raise ZooError(f"A sweep cannot list the values of '{override}'; write {key}=1,2,3.") from None
