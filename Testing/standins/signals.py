"""Connections as PythonQt makes them: what a slot raises is printed and swallowed; here it is also kept."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6 import QtCore

from . import meta
from .problems import tell, tell_exception

if TYPE_CHECKING:
    from .pythonqt import Wrapper

# PySide6's annotations want bytes of these, and it takes texts.
_qt: Any = QtCore.QObject
_qt_meta: Any = QtCore.QMetaObject

# Qt 5's first overload where Qt 6 has another: what `signal.connect` hands over in Slicer.
_FIRST_OVERLOAD = {("QProcess", "finished"): "finished(int)"}


def safe(slot: Callable[..., Any]) -> Callable[..., None]:
    """A slot as Qt calls it: with as many arguments as it takes; what it raises is printed and kept."""
    from .pythonqt import wrap

    wanted = _positional(slot)

    def run(*arguments: Any) -> None:
        try:
            slot(*map(wrap, arguments[:wanted]))
        except Exception:
            tell_exception(f"the slot {slot!r}")

    return run


def _positional(slot: Callable[..., Any]) -> int | None:
    """How many arguments a plain function or method takes; None for any number, and for other callables."""
    function = slot.__func__ if isinstance(slot, types.MethodType) else slot
    if not isinstance(function, types.FunctionType) or function.__code__.co_flags & 0x04:  # *arguments
        return None
    return function.__code__.co_argcount - isinstance(slot, types.MethodType)


class BoundSignal:
    """A signal of an object."""

    def __init__(self, owner: Wrapper, name: str) -> None:
        self._owner, self._name = owner, name

    def connect(self, slot: Callable[..., Any]) -> bool:
        """Connect to the first overload."""
        cpp = self._cpp()
        return _connect(cpp, _first_overload(cpp, self._name), slot)

    def disconnect(self, slot: Callable[..., Any] | None = None) -> bool:
        """Take a connection back, or all that Python made; False where there is none."""
        cpp = self._cpp()
        signature = _first_overload(cpp, self._name)
        slots = [slot] if slot is not None else [c[1] for c in _connections(cpp) if c[0] == signature]
        done = [_disconnect(cpp, signature, each) for each in slots]
        return bool(done) and all(done)

    def emit(self, *arguments: Any) -> None:
        """Emit the signal."""
        from .pythonqt import unwrap

        getattr(self._cpp(), self._name).emit(*(unwrap(argument) for argument in arguments))

    def _cpp(self) -> Any:
        from .pythonqt import alive

        return alive(self._owner)

    def __bool__(self) -> bool:
        raise TypeError(f"the signal {self._name} is always true: was a property meant?")


def connect_by_signature(cpp: Any, signal: str, slot: Callable[..., Any]) -> bool:
    """Connect a slot to a signal given as C++ writes it, ``clicked(bool)``."""
    found = _by_signature(cpp, signal)
    if found is None:
        tell(f"{meta.class_name(type(cpp))} has no signal {signal}: not connected")
        return False
    return _connect(cpp, found, slot)


def disconnect_by_signature(cpp: Any, signal: str, slot: Callable[..., Any]) -> bool:
    """Take back what `connect_by_signature` did."""
    found = _by_signature(cpp, signal)
    return found is not None and _disconnect(cpp, found, slot)


def _connect(cpp: Any, signature: str, slot: Callable[..., Any]) -> bool:
    if not callable(slot):
        raise ValueError(f"{slot!r} cannot be called: not connected to {signature}")
    made = safe(slot)
    _qt.connect(cpp, "2" + signature, made)
    _connections(cpp).append((signature, slot, made))
    return True


def _disconnect(cpp: Any, signature: str, slot: Callable[..., Any]) -> bool:
    for connection in _connections(cpp):
        if connection[0] == signature and connection[1] == slot:
            _qt.disconnect(cpp, "2" + signature, connection[2])
            _connections(cpp).remove(connection)
            return True
    return False


def _connections(cpp: Any) -> list[tuple[str, Callable[..., Any], Callable[..., None]]]:
    if "_connections" not in cpp.__dict__:
        cpp._connections = []
    return cpp._connections


def _first_overload(cpp: Any, name: str) -> str:
    for class_name, signal in _FIRST_OVERLOAD:
        if signal == name and cpp.inherits(class_name):
            return _FIRST_OVERLOAD[class_name, signal]
    return next(found for found in meta.signals(cpp.__class__) if found.startswith(f"{name}("))


def _by_signature(cpp: Any, signal: str) -> str | None:
    """A signature as the object's class has it; a stand-in says itself what its signals carry in C++."""
    normal = bytes(_qt_meta.normalizedSignature(signal).data()).decode()
    stands_for = getattr(cpp, "_cpp_signals", {})
    if normal in stands_for:
        return stands_for[normal]
    return normal if normal in meta.signals(cpp.__class__) and normal not in stands_for.values() else None
