"""What Qt's meta-objects say of a class, read once.

Only ``staticMetaObject`` is asked: after ``metaObject()`` of an object, PySide6 holds the class's own for
deleted as soon as the object is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from PySide6 import QtCore


@dataclass(frozen=True)
class PropertyInfo:
    """A property: its name, C++ type, and whether it can be written."""

    name: str
    type_name: str
    is_writable: bool


@cache
def properties(cpp_class: Any) -> dict[str, PropertyInfo]:
    """The properties of a class and its bases by name; none for a class that is no QObject."""
    meta = getattr(cpp_class, "staticMetaObject", None)
    if not issubclass(cpp_class, QtCore.QObject) or meta is None:
        return {}
    found = (meta.property(index) for index in range(meta.propertyCount()))
    return {p.name(): PropertyInfo(p.name(), p.typeName(), p.isWritable()) for p in found}


@cache
def signals(cpp_class: Any) -> tuple[str, ...]:
    """The signatures of the signals of a class and its bases, the class's own last."""
    meta = cpp_class.staticMetaObject
    methods = (meta.method(index) for index in range(meta.methodCount()))
    signal = QtCore.QMetaMethod.MethodType.Signal
    return tuple(bytes(m.methodSignature().data()).decode() for m in methods if m.methodType() == signal)


def class_name(cpp_class: Any) -> str:
    """The name that C++ knows a class by."""
    while getattr(cpp_class, "_is_hidden", False):
        cpp_class = cpp_class.__base__
    return getattr(cpp_class, "_cpp_name", cpp_class.__name__)
