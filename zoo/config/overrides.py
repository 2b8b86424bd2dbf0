"""Hydra's override grammar: how ``key=value`` is read, and how a value is written and quoted.

Every other module reads and writes overrides through these functions.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from zoo.errors import ZooError


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


def with_plus(override: str) -> str:
    """Return the override as Hydra takes it: ``experiment=NAME`` is short for ``+experiment=NAME``.

    >>> with_plus("experiment=glow_cifar10"), with_plus("model=glow")
    ('+experiment=glow_cifar10', 'model=glow')
    """
    return f"+{override}" if override.startswith("experiment=") else override


def quote(text: str) -> str:
    """Return the text in single quotes, so that Hydra reads exactly this text."""
    return QuotedString(text, Quote.single).with_quotes()


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
