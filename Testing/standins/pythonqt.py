"""Qt objects as Python sees them in Slicer: wrappers around PySide6's that follow the rules of PythonQt.

Properties are attributes, methods are called with positional arguments alone, names that do not exist are
refused on reading and on writing, a class has no base but the common one, and an object that Qt has deleted
raises ValueError. A Python subclass gets a hidden PySide6 class that hands Qt's virtual calls on to it.
"""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import shiboken6
from PySide6 import QtCore
from shiboken6 import Shiboken

from . import modal, qt6_only
from .calling import call
from .enums import EnumValue, enum_type, enum_value, member_by_name
from .meta import PropertyInfo, class_name, properties
from .overrides import with_overrides
from .signals import BoundSignal, connect_by_signature, disconnect_by_signature, safe

_ALIASES = {"name": "objectName"}


class Member(enum.Enum):
    """What a name of a Qt class is."""

    PROPERTY, SIGNAL, METHOD, VALUE = range(4)


@cache
def find_member(cpp_class: Any, name: str) -> tuple[Member, Any]:
    """Look a name up in a class; AttributeError where Slicer's Qt does not have it."""
    missing = AttributeError(f"{class_name(cpp_class)} has no attribute named '{name}'")
    if name.startswith("_") or name == "metaObject" or qt6_only.refuses(cpp_class, name):
        raise missing
    known = properties(cpp_class)
    info = known.get(name) or known.get(_ALIASES.get(name, name))
    if info is not None:
        return Member.PROPERTY, info
    value = member_by_name(cpp_class, name)
    if value is not None:
        return Member.VALUE, enum_value(value)
    found = getattr(cpp_class, name, None)
    if isinstance(found, QtCore.Signal):
        return Member.SIGNAL, found
    if isinstance(found, enum.EnumMeta):
        return Member.VALUE, enum_type(found)
    if isinstance(found, type):
        nested: Any = found
        return Member.VALUE, class_of(nested)
    if callable(found):
        return Member.METHOD, found
    raise missing


class _ClassOfWrappers(type):
    """The type of the wrapper classes: what they have that belongs to no instance."""

    _cpp_class: Any

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _ClassOfWrappers:
        made = super().__new__(mcs, name, bases, namespace)
        if bases and "_cpp_class" not in namespace:
            type.__setattr__(made, "_cpp_class", with_overrides(made))
        return made

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        kind, found = find_member(cls._cpp_class, name)
        if kind is Member.METHOD:
            return _UnboundMethod(cls._cpp_class, name, found)
        if kind is Member.VALUE:
            return found
        raise AttributeError(f"{cls.__name__}.{name} belongs to an instance")

    def __setattr__(cls, name: str, value: Any) -> None:
        if cls.__dict__.get("_is_direct"):
            raise AttributeError(f"'{name}' cannot be set on the class {cls.__name__}")
        super().__setattr__(name, value)


class Wrapper(metaclass=_ClassOfWrappers):
    """A Qt object as PythonQt shows it."""

    _cpp_class: Any = object
    _cpp: Any = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        name = type(self).__name__
        if keywords:
            raise ValueError(
                f"Called {name} with keyword arguments, but called slot does not support kwargs."
            )
        refuse = getattr(type(self)._cpp_class, "_refuses_numbers", False)
        if refuse and any(isinstance(argument, int) for argument in arguments):
            raise ValueError(f"{name}: this constructor is broken under PythonQt: set the flags afterwards")
        cpp = call(type(self)._cpp_class, name, [unwrap(a) for a in arguments])
        object.__setattr__(self, "_cpp", cpp)
        _remember(self, cpp)

    def __getattr__(self, name: str) -> Any:
        kind, found = find_member(type(self)._cpp_class, name)
        if kind is Member.VALUE:
            return found
        if kind is Member.METHOD:
            return BoundMethod(self, name)
        if kind is Member.SIGNAL:
            return BoundSignal(self, name)
        if not is_alive(self):
            raise ValueError(f"Trying to read property '{name}' from a destroyed {_name(self)} object")
        return wrap(self._cpp.property(found.name))

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            kind, found = find_member(type(self)._cpp_class, name)
        except AttributeError:
            if type(self).__dict__.get("_is_direct"):
                raise AttributeError(
                    f"'{name}' does not exist on {_name(self)} and creating new attributes on C++ objects is "
                    "not allowed"
                ) from None
            object.__setattr__(self, name, value)
            return
        if kind is not Member.PROPERTY:
            raise AttributeError(f"'{name}' can not be overwritten on {_name(self)} object")
        _write_property(self, found, value)

    def connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        """Connect by signature; an unknown signal is told, and False returned."""
        return connect_by_signature(alive(self), signal, slot)

    def disconnect(self, signal: str, slot: Callable[..., Any]) -> bool:
        """Take a connection by signature back; False where there is none."""
        return disconnect_by_signature(alive(self), signal, slot)

    def className(self) -> str:  # noqa: N802
        """The name of the C++ class."""
        return class_name(type(alive(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wrapper) and (self._cpp is other._cpp or bool(self._cpp == other._cpp))

    def __hash__(self) -> int:
        return id(self._cpp)

    def __bool__(self) -> bool:
        return is_alive(self)

    def __add__(self, other: Any) -> Any:
        return wrap(alive(self) + unwrap(other))

    def __sub__(self, other: Any) -> Any:
        return wrap(alive(self) - unwrap(other))

    def __repr__(self) -> str:
        return f"{_name(self)} ({type(self)._cpp_class.__name__} at: {id(self._cpp):#x})"

    def __str__(self) -> str:
        return str(self._cpp) if isinstance(self._cpp, QtCore.QByteArray) else repr(self)


class BoundMethod:
    """A method of an object, to be called: anything else is the mistake of a missing ()."""

    def __init__(self, owner: Wrapper, name: str) -> None:
        self.owner, self.name = owner, name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        cpp = self.owner._cpp
        full = f"{_name(self.owner)}.{self.name}"
        if not is_alive(self.owner):
            raise ValueError(f"Trying to call '{full}' on a destroyed object")
        answer = modal.intercept(self.owner, self.name, arguments)
        if answer is not modal.NOT_MODAL:
            return answer
        return _called(getattr(cpp, self.name), full, arguments, keywords)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMethod):
            raise TypeError(f"{self!r} compared: is its call missing?")
        return self.owner is other.owner and self.name == other.name

    def __hash__(self) -> int:
        return hash((id(self.owner), self.name))

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is always true: is its call missing?")

    def __format__(self, specification: str) -> str:
        raise TypeError(f"{self!r} in a text: is its call missing?")

    def __repr__(self) -> str:
        return f"<unbound qt slot {self.name} of {_name(self.owner)}>"


class _UnboundMethod:
    """A method read from its class: a static one, or one to be called with the object first."""

    def __init__(self, cpp_class: type, name: str, function: Callable[..., Any]) -> None:
        self._class, self._name, self._function = cpp_class, name, function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        full = f"{self._class.__name__}.{self._name}"
        answer = modal.intercept(self._class, self._name, arguments)
        if answer is not modal.NOT_MODAL:
            return answer
        if arguments and isinstance(arguments[0], Wrapper) and not is_alive(arguments[0]):
            raise ValueError(f"Trying to call '{full}' on a destroyed object")
        return _called(self._function, full, arguments, keywords)


def _called(
    function: Callable[..., Any], full: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    if keywords:
        raise ValueError(f"Called {full} with keyword arguments, but called slot does not support kwargs.")
    result = call(function, full, [unwrap(argument) for argument in arguments])
    if full in modal.FIRST_OF_RESULTS:  # PySide6 returns C++'s output arguments too
        result = result[0]
    return wrap(result)


@cache
def class_of(cpp_class: Any) -> type[Wrapper]:
    """The wrapper class of a PySide6 class. Its one base is `Wrapper`, whatever C++ derives it from."""
    namespace = {"_cpp_class": cpp_class, "_is_direct": True, "__doc__": cpp_class.__doc__}
    made: Any = _ClassOfWrappers(class_name(cpp_class), (Wrapper,), namespace)
    return made


_wrappers: weakref.WeakValueDictionary[int, Wrapper] = weakref.WeakValueDictionary()


def connected_subclasses() -> list[Wrapper]:
    """The living objects of Python subclasses with connections: at its exit they would crash Slicer."""
    made = [w for w in _wrappers.values() if getattr(type(w._cpp), "_is_hidden", False) and is_alive(w)]
    return [wrapper for wrapper in made if getattr(wrapper._cpp, "_connections", None)]


def wrap(value: Any) -> Any:
    """Whatever PySide6 gives, as PythonQt gives it."""
    if isinstance(value, enum.Enum):
        return enum_value(value)
    if isinstance(value, Shiboken.Object):
        return _wrapper_of(value)
    if isinstance(value, list | tuple):
        return tuple(wrap(item) for item in value)
    if isinstance(value, dict):
        return {key: wrap(item) for key, item in value.items()}
    return value


def _wrapper_of(cpp: Any) -> Wrapper:
    known = _wrappers.get(id(cpp))
    if known is not None and known._cpp is cpp:
        return known
    cpp_class: Any = type(cpp)
    while getattr(cpp_class, "_is_hidden", False):  # its Python side is gone
        cpp_class = cpp_class.__base__
    made = object.__new__(class_of(cpp_class))
    object.__setattr__(made, "_cpp", cpp)
    _remember(made, cpp)
    return made


def unwrap(value: Any) -> Any:
    """What PySide6 takes for an argument."""
    if isinstance(value, Wrapper):
        return alive(value)
    if isinstance(value, EnumValue):
        return int(value) if value.member is None else value.member
    if isinstance(value, list | tuple):
        return type(value)(unwrap(item) for item in value)
    if isinstance(value, _ClassOfWrappers):
        return value._cpp_class
    if callable(value) and not isinstance(value, type) and not hasattr(value, "GetClassName"):
        return safe(value)
    return value


def is_alive(wrapper: Wrapper) -> bool:
    """Whether the object has been made and Qt has not deleted it."""
    return wrapper._cpp is not None and shiboken6.isValid(wrapper._cpp)


def alive(wrapper: Wrapper) -> Any:
    """The PySide6 object; ValueError where Qt has deleted it."""
    if not is_alive(wrapper):
        raise ValueError(f"a destroyed {_name(wrapper)} object was used")
    return wrapper._cpp


def _name(wrapper: Wrapper) -> str:
    return type(wrapper).__name__


def _remember(wrapper: Wrapper, cpp: Any) -> None:
    _wrappers[id(cpp)] = wrapper
    if not getattr(type(cpp), "_is_hidden", False):
        return
    cpp._python_side = weakref.ref(wrapper)
    if issubclass(type(cpp), QtCore.QObject) and cpp.parent() is not None:
        cpp._kept = wrapper  # C++ owns it, and with it its Python side


def _write_property(wrapper: Wrapper, info: PropertyInfo, value: Any) -> None:
    if not is_alive(wrapper):
        raise AttributeError(f"Trying to set property '{info.name}' on a destroyed {_name(wrapper)} object")
    if not info.is_writable:
        raise AttributeError(f"Property '{info.name}' of {_name(wrapper)} object is not writable")
    cpp_value = int(value) if isinstance(value, EnumValue) else unwrap(value)
    accepted = _accepted(info.type_name, cpp_value)
    if accepted is None or not wrapper._cpp.setProperty(info.name, accepted[0]):
        raise AttributeError(
            f"Property '{info.name}' of type '{info.type_name}' does not accept an object of type "
            f"{type(value).__name__} ({value})"
        )


def _accepted(type_name: str, value: Any) -> tuple[Any] | None:
    """A value as a property of a type takes it, in a tuple of one; None where it does not."""
    if type_name == "QString":
        return ("" if value is None else str(value),) if not isinstance(value, Shiboken.Object) else None
    if type_name == "bool":
        return (bool(value),) if isinstance(value, int | float) else None
    if type_name in ("int", "uint"):
        return (int(value),) if isinstance(value, int | float) else None
    if type_name in ("double", "float"):
        return (float(value),) if isinstance(value, int | float) else None
    return (value,)
