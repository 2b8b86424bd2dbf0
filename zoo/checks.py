"""Settings and their checks: an annotation defines the allowed values; an error names the setting.

The type of a setting is written once, as the annotation of a constructor's parameter or of a field of a
settings object. :func:`checked` checks a call's arguments against the annotations, :func:`settings` the
fields of a settings object. Both raise a :class:`~zoo.errors.ZooError` that names the setting as a user
writes it.

>>> @settings
... class Solver:
...     steps: Positive = 20
>>> @checked("model")
... def build(*, hidden: Sequence[Positive] = (64,), solver: Solver = Solver()) -> int:
...     return solver.steps
>>> build(solver={"steps": 3})  # as a YAML file gives it
3
>>> build(hidden=[64, 0])
Traceback (most recent call last):
zoo.errors.ZooError: model.hidden must be a list of whole numbers, each at least 1; got [64, 0].
>>> build(solver={"steps": 1.5})
Traceback (most recent call last):
zoo.errors.ZooError: model.solver.steps must be a whole number, at least 1; got 1.5.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from zoo.errors import ZooError, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Positive = Annotated[int, Ge(1)]
NotNegative = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NotNegativeFloat = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]  # the range of NumPy's and Lightning's seeds
LARGEST = 2**53  # whole numbers up to it are exact as floating-point numbers, and fit into every counter

# strict: "1" is not a number, 1 not true or false; numbers are finite. 1000.0 (1e3) is a whole number.
_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
_T = TypeVar("_T")
_P = ParamSpec("_P")
_S = TypeVar("_S", bound="DataclassInstance")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[_T]) -> type[_T]:
    """Make a class of annotated fields a frozen settings object, whose values are checked when it is made."""

    def check(self: Any) -> None:
        settings_class: Any = type(self)
        for name, hint in _hints(settings_class).items():
            object.__setattr__(self, name, _value(hint, getattr(self, name), name))

    settings_class: Any = cls
    settings_class.__post_init__ = check
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def checked(section: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Decorate a function so that its arguments are checked against its annotations before it runs.

    A mapping given for a parameter that is a settings object is made into one: the parameter's default with
    these fields replaced. Parameters without an annotation, and those annotated ``Any``, are not checked.

    Args:
        section: the section of the configuration with these settings: ``model``, ``training``, ...
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            for name in kwargs:
                if name not in signature.parameters and not _takes_any(signature):
                    raise unknown(f"setting of {section}", name, _names(signature))
            bound = signature.bind(*args, **kwargs)
            hints = _hints(function)
            for name, value in bound.arguments.items():
                if name in hints:
                    default = signature.parameters[name].default
                    bound.arguments[name] = _value(hints[name], value, f"{section}.{name}", default)
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


def check_settings(function: Callable[..., Any], values: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Check settings against the annotations of a function without calling it; return them as it takes them.

    Raises:
        ZooError: a setting does not exist, or its annotation does not allow the value.
    """
    signature, hints = inspect.signature(function), _hints(inspect.unwrap(function))
    settings_taken = dict(values)
    for name, value in values.items():
        if name not in signature.parameters and not _takes_any(signature):
            raise unknown(f"setting of {section}", str(name), _names(signature))
        if name in hints and name in signature.parameters:
            settings_taken[name] = _value(
                hints[name], value, f"{section}.{name}", signature.parameters[name].default
            )
    return settings_taken


def _takes_any(signature: inspect.Signature) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def _names(signature: inspect.Signature) -> list[str]:
    return [name for name in signature.parameters if name not in ("self", "spec")]


@functools.cache
def _hints(annotated: Any) -> dict[str, Any]:
    """Return the annotations of a function's parameters or of a class's fields."""
    hints = get_type_hints(annotated, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return"}


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """Return pydantic's check of an annotation; None if pydantic cannot check it."""
    try:
        return TypeAdapter(hint, config=_STRICT)
    except PydanticSchemaGenerationError:
        return None


def _value(hint: Any, value: Any, name: str, default: Any = None) -> Any:
    """Return the checked value of a setting; a mapping for a settings object becomes the object.

    Fields that the mapping lacks are taken from ``default`` if it is a settings object.

    Raises:
        ZooError: the annotation does not allow the value.
    """
    made_from = _settings_class(hint)
    if made_from is not None and isinstance(value, Mapping):
        return build_settings(made_from, value, name, default)
    if made_from is not None:
        if isinstance(value, made_from) or (value is None and type(None) in get_args(hint)):
            return value
        raise ZooError(f"{name} must be a mapping of settings; got {_shown(value)}.")
    adapter = _adapter(hint)
    if adapter is None:
        return value
    plain = _plain(value)
    for candidate in (plain, _whole(plain)):
        try:
            adapter.validate_python(candidate)
        except ValidationError:
            continue
        if _is_small(candidate):
            return candidate
        raise ZooError(f"{name} must be at most 2**53, the largest exact whole number; got {_shown(value)}.")
    raise ZooError(f"{name} must be {describe(hint)}; got {_shown(value)}.")


def _whole(value: Any) -> Any:
    """Return floating-point numbers without a fraction as whole ones: ``1e3`` is a thousand."""
    if type(value) in (list, tuple):
        return type(value)(map(_whole, value))
    exact = isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST
    return int(value) if exact else value


def _is_small(value: Any) -> bool:
    """Return whether all whole numbers are within what a counter holds."""
    if isinstance(value, list | tuple):
        return all(map(_is_small, value))
    return not isinstance(value, int) or abs(value) <= LARGEST


def _plain(value: Any) -> Any:
    """Return numbers of other libraries, such as numpy's, as Python's; everything else unchanged."""
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
    if isinstance(value, bool | int | float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _settings_class(hint: Any) -> type | None:
    """Return the settings class in an annotation (``Solver``, ``Solver | None``); None without one."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    classes = [o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)]
    return classes[0] if len(classes) == 1 and {*options} <= {classes[0], type(None)} else None


def build_settings(cls: type[_S], values: Mapping[str, Any], name: str, default: Any = None) -> _S:
    """Return a settings object with these values.

    Args:
        cls: its class, made by :func:`settings`.
        values: the values of fields; the others keep their defaults.
        name: name of the object in errors, such as ``training`` or ``model.solver``.
        default: an object of the class whose fields are the defaults; None for those of the class.

    Raises:
        ZooError: a field that does not exist, one that is missing, or a value of another type or range.
    """
    fields = dataclasses.fields(cls)
    known = [field.name for field in fields]
    for key in values:
        if key not in known:
            raise unknown(f"setting of {name}", str(key), known)
    for field in fields:
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in values and not isinstance(default, cls):
            raise ZooError(f"{name}.{field.name} has no default; give its value.")
    try:
        if isinstance(default, cls):
            return dataclasses.replace(default, **values)
        return cls(**values)
    except ZooError as error:  # the error names only the field
        raise ZooError(f"{name}.{error}") from None


def _shown(value: Any) -> str:
    return "null" if value is None else repr(list(value) if isinstance(value, tuple) else value)


def describe(hint: Any) -> str:
    """Return in words what an annotation allows: ``a whole number, at least 1``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return ", ".join([describe(arguments[0]), *map(_bound, arguments[1:])])
    if origin in (Union, types.UnionType):
        return " or ".join(describe(o) for o in arguments if o is not type(None)) + (
            " or null" if type(None) in arguments else ""
        )
    if origin is Literal:
        words = [str(a) for a in arguments]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if origin in (tuple, list, Sequence) or (isinstance(origin, type) and issubclass(origin, Sequence)):
        inner = describe(arguments[0]) if arguments else "values"
        if arguments and get_origin(arguments[0]) is Literal:
            return f"a list of any of {inner.replace(' or ', ' and ')}"
        noun, _, bounds = inner.partition(", ")
        noun = noun.removeprefix("a ").replace("or a ", "or ").replace("number", "numbers")
        noun = noun.replace("word", "words")
        return f"a list of {noun}" + (f", each {bounds}" if bounds else "")
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", Path: "a path"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _bound(constraint: Any) -> str:
    if isinstance(constraint, Ge):
        return f"at least {constraint.ge}"
    if isinstance(constraint, Gt):
        return f"above {constraint.gt}"
    if isinstance(constraint, Le):
        return f"at most {constraint.le}"
    if isinstance(constraint, Lt):
        return f"below {constraint.lt}"
    return str(constraint)


def is_whole(value: Any, least: float = -math.inf) -> bool:
    """Return whether a value is of an integer type, not true or false, and at least ``least``.

    >>> is_whole(3, 1), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
