"""Qt's enumerations as PythonQt shows them: integers that know their name until they are combined."""

from __future__ import annotations

import enum
from functools import cache, lru_cache
from typing import Any


class EnumValue(int):
    """A value of a Qt enumeration. ``|``, ``&`` and ``~`` give plain integers, as under PythonQt."""

    member: enum.Enum | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self)})" if self.member is None else self.member.name

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return format(int(self), specification)


@cache
def enum_type(kind: type[enum.Enum]) -> type[EnumValue]:
    """The integer type of an enumeration. It has no members: they stand in the class around it."""
    return type(kind.__name__, (EnumValue,), {"kind": kind})


@lru_cache(maxsize=None, typed=True)  # typed: members of two enumerations may be equal
def enum_value(member: enum.Enum) -> EnumValue:
    """A member as PythonQt gives it."""
    value = enum_type(type(member))(member.value)
    value.member = member
    return value


def to_member(value: int, kind: type[enum.Enum]) -> enum.Enum | None:
    """The member, or combination of flags, that an integer stands for; None where there is none."""
    try:
        return kind(int(value))
    except ValueError:
        return None


def member_by_name(owner: Any, name: str) -> enum.Enum | None:
    """A value of one of the enumerations in a class or its bases, by its bare name."""
    for kind in _enumerations(owner):
        if name in kind.__members__:
            return kind[name]
    return None


@cache
def _enumerations(owner: type) -> tuple[type[enum.Enum], ...]:
    return tuple(
        item
        for base in owner.__mro__
        for item in vars(base).values()
        if isinstance(item, type) and issubclass(item, enum.Enum)
    )
