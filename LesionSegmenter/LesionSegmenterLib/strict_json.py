"""JSON read strictly into dataclasses: every key known, none missing, each of its stated type."""

from __future__ import annotations

import difflib
import json
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal


def parse(value: Any, expected: Any, key: str = "") -> Any:
    """A decoded JSON value as `expected`: a dataclass, or a type that one of its fields states.

    Known are dataclasses, X | None, Literal, list[X], tuple[X, Y], dict[str | int, X], str, int, float, bool
    and Any.
    ValueError, naming the key (below `key`) and for an unknown one the nearest known, where it does not fit.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if is_dataclass(expected):
        return _object(value, expected, key)
    if origin is types.UnionType:  # X | None
        return None if value is None else parse(value, arguments[0], key)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{key} is {value!r}: expected {' or '.join(map(repr, arguments))}")
        return value
    if origin is list and isinstance(value, list):
        return [parse(item, arguments[0], f"{key}[{i}]") for i, item in enumerate(value)]
    if origin is tuple and isinstance(value, list) and len(value) == len(arguments):
        return tuple(
            parse(item, kind, f"{key}[{i}]")
            for i, (item, kind) in enumerate(zip(value, arguments, strict=True))
        )
    if origin is dict and isinstance(value, dict):
        if arguments[0] is int and not all(name.isdecimal() for name in value):
            raise ValueError(f"{key} has a name that is not a channel's number")
        return {
            arguments[0](name): parse(item, arguments[1], f"{key}.{name}") for name, item in value.items()
        }
    accepted = (int, float) if expected is float else origin or expected
    if expected is not Any and (
        not isinstance(value, accepted) or (isinstance(value, bool) and expected is not bool)
    ):
        raise ValueError(
            f"{key} is {json.dumps(value, default=str):.60}: expected {_TYPE_NAMES[origin or expected]}"
        )
    return value


_TYPE_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a pair",
    dict: "an object",
}


def _object(value: Any, expected: Any, key: str) -> Any:
    """A JSON object as a dataclass: every key known, none missing."""
    if not isinstance(value, dict):
        raise ValueError(f"{key or 'the content'} is not an object")
    prefix = f"{key}." if key else ""
    hints = typing.get_type_hints(expected)
    for name in map(str, value):  # YAML, unlike JSON, has keys that are no text
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1)
            advice = f"Did you mean {near[0]!r}?" if near else f"The keys are {', '.join(hints)}"
            raise ValueError(f"unknown key {prefix + name!r}. {advice}")
    for item in fields(expected):
        if item.default is MISSING and item.default_factory is MISSING and item.name not in value:
            raise ValueError(f"the key {prefix + item.name!r} is missing")
    return expected(**{name: parse(item, hints[name], prefix + name) for name, item in value.items()})
