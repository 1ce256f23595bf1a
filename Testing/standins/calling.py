"""Calls of PySide6 with the arguments that PythonQt takes: integers for enumerations, anything for a text."""

from __future__ import annotations

import enum
import itertools
import typing
from collections.abc import Callable, Iterator
from functools import cache
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any

from shiboken6 import Shiboken
from shibokensupport.signature import get_signature

from .enums import to_member


def call(function: Callable[..., Any], name: str, arguments: list[Any]) -> Any:
    """Call it; ValueError where it takes no such arguments, or PySide6 alone would convert them."""
    if _converts(function, arguments):
        raise ValueError(f"Called {name} with arguments that PythonQt does not convert: {arguments}")
    try:
        return function(*arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # from inside a stand-in
    for fitted in _fitted(function, arguments):
        try:
            return function(*fitted)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise
    shown = ", ".join(repr(argument) for argument in arguments)
    raise ValueError(f"Called {name} with wrong arguments: ({shown})")


def fit_result(function: Callable[..., Any], result: Any) -> Any:
    """What a Python override returned, as the function it overrides returns it."""
    for signature in _signatures(function):
        for fitted in _choices(result, signature.return_annotation):
            return fitted
    return result


def _fitted(function: Callable[..., Any], arguments: list[Any]) -> Iterator[tuple[Any, ...]]:
    for signature in _signatures(function):
        takes = _positional(signature)
        if len(arguments) > len(takes):
            continue
        choices = [_choices(a, p.annotation) for a, p in zip(arguments, takes, strict=False)]
        yield from itertools.product(*choices)


def _converts(function: Callable[..., Any], arguments: list[Any]) -> bool:
    """Whether no signature takes the arguments without PySide6 making another object of one of them."""
    suspects = [a for a in arguments if isinstance(a, str | int | Shiboken.Object)]
    signatures = [_positional(s) for s in _signatures(function)] if suspects else []
    count = len(arguments)
    fitting = [takes for takes in signatures if _required(takes) <= count <= len(takes)]
    return bool(fitting) and all(
        any(_is_foreign(a, p.annotation) for a, p in zip(arguments, takes, strict=False)) for takes in fitting
    )


def _required(parameters: list[Parameter]) -> int:
    return sum(parameter.default is Parameter.empty for parameter in parameters)


def _is_foreign(value: Any, annotation: Any) -> bool:
    """Whether a value is of another class than a parameter's own, which stands first in its annotation."""
    own = (typing.get_args(annotation) or (annotation,))[0]
    if value is None or not isinstance(own, type):
        return False
    if issubclass(own, enum.Enum | str | int | float):
        return isinstance(value, Shiboken.Object) or (isinstance(value, str) and not issubclass(own, str))
    if not issubclass(own, Shiboken.Object) or isinstance(value, own):
        return False
    if own.__name__ in ("QBrush", "QPen") and type(value).__name__ == "QColor":
        return False
    return not (
        own.__name__ in ("QBrush", "QPen", "QColor", "QCursor") and isinstance(value, int | enum.Enum)
    )


def _positional(signature: Signature) -> list[Parameter]:
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in signature.parameters.values() if p.name != "self" and p.kind in kinds]


def _signatures(function: Callable[..., Any]) -> list[Signature]:
    """PySide6's signatures of a function; a method of a Python subclass has those of its PySide6 class."""
    owner: Any = getattr(function, "__self__", None)
    if isinstance(function, type):
        return _known(next(b for b in function.__mro__ if b.__module__.startswith("PySide6.")), "")
    if owner is not None and not isinstance(owner, type):
        return _known(owner.__class__, function.__name__)
    return _read(function)


@cache
def _known(owner: Any, name: str) -> list[Signature]:
    if not name:
        return _read(owner)
    bases = [base for base in owner.__mro__ if base.__module__.startswith("PySide6.")]
    overridden = isinstance(getattr(owner, name, None), FunctionType)  # a stand-in's own
    found = None if overridden else next((getattr(b, name) for b in bases if hasattr(b, name)), None)
    return [] if found is None else _read(found)


def _read(function: Any) -> list[Signature]:
    try:
        found = get_signature(function)
    except (TypeError, ValueError):
        return []
    return found if isinstance(found, list) else [found] if found is not None else []


def _choices(value: Any, annotation: Any) -> list[Any]:
    """A value as an annotated parameter may take it."""
    kinds = typing.get_args(annotation) or (annotation,)
    choices = [value]
    for kind in kinds:
        if not isinstance(kind, type):
            continue
        if issubclass(kind, enum.Enum) and isinstance(value, int) and not isinstance(value, kind):
            member = to_member(value, kind)
            choices[:0] = [] if member is None else [member]
        elif kind is str and (value is None or isinstance(value, int | float)):
            choices[:0] = ["" if value is None else str(value)]
        elif kind is int and isinstance(value, enum.Enum):
            choices[:0] = [value.value]
    return choices
