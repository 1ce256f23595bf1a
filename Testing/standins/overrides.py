"""Python subclasses of Qt's classes: what they override is called by Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .calling import fit_result
from .problems import tell_exception


def with_overrides(python_class: type) -> type:
    """A PySide6 subclass whose methods are a Python subclass's, where Qt knows a method by the name."""
    wrapper: Any = next(b for b in python_class.__mro__ if b.__dict__.get("_is_direct"))
    base = wrapper._cpp_class
    namespace: dict[str, Any] = {"_is_hidden": True}
    for parent in python_class.__mro__:
        if parent.__dict__.get("_is_direct"):
            break
        for name, method in vars(parent).items():
            inherited = getattr(base, name, None)
            if not name.startswith("_") and callable(method) and callable(inherited):
                namespace.setdefault(name, _forward(name, method, inherited))
    return type(python_class.__name__, (base,), namespace)


def _forward(name: str, method: Callable[..., Any], inherited: Callable[..., Any]) -> Callable[..., Any]:
    from .pythonqt import unwrap, wrap

    def forward(cpp: Any, *arguments: Any) -> Any:
        side = getattr(cpp, "_python_side", lambda: None)()
        if side is None:  # still being made, or its Python side is gone
            return inherited(cpp, *arguments)
        try:
            return fit_result(inherited, unwrap(method(side, *map(wrap, arguments))))
        except Exception:
            tell_exception(f"{type(side).__name__}.{name}")
            return inherited(cpp, *arguments)

    return forward
