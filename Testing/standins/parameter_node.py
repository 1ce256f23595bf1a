"""``slicer.parameterNodeWrapper`` for nodes, texts, numbers, truth values, enumerations and choices.

Values stand in a parameter node of the scene: nodes as references, the rest as texts.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import slicer
import vtk


@dataclass(frozen=True)
class Choice:
    """A value must be one of these."""

    choices: typing.Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", list(self.choices))

    def validate(self, value: Any) -> None:
        """Raise ValueError where it is none of them."""
        if value not in self.choices:
            raise ValueError(f"Value {value!r} must be one of {self.choices}")


@dataclass(frozen=True)
class WithinRange:
    """A value must lie in a closed range."""

    minimum: float
    maximum: float

    def validate(self, value: float) -> None:
        """Raise ValueError where it does not."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value {value} must be within [{self.minimum}, {self.maximum}]")


@dataclass(frozen=True)
class Default:
    """The value of a parameter that was never set."""

    value: Any


class _Parameter:
    """One annotated name of a class: a property kept in a parameter node."""

    def __init__(self, name: str, annotation: Any, default: Any) -> None:
        self.name = name
        arguments = (
            typing.get_args(annotation) if typing.get_origin(annotation) is Annotated else (annotation,)
        )
        self.kind, extras = arguments[0], arguments[1:]
        self.validators = [extra for extra in extras if hasattr(extra, "validate")]
        given = [extra.value for extra in extras if isinstance(extra, Default)]
        self.is_node = isinstance(self.kind, type) and issubclass(self.kind, slicer.vtkMRMLNode)
        if not self.is_node and self.kind not in _FROM_TEXT and not issubclass(self.kind, enum.Enum):
            raise TypeError(f"{name}: no stand-in for parameters of {self.kind}")
        fallback = None if self.is_node else next(iter(self.kind)) if self._is_enum() else self.kind()
        self.default = given[0] if given else fallback if default is None else default

    def __get__(self, owner: Any, _kind: type | None = None) -> Any:
        if owner is None:
            return self
        node = owner.parameterNode
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if not node.HasParameter(self.name):
            return self.default
        return self.kind[text] if self._is_enum() else _FROM_TEXT[self.kind](text)

    def __set__(self, owner: Any, value: Any) -> None:
        node = owner.parameterNode
        if self.is_node:
            if value is not None and not value.IsA(self.kind.__name__):
                raise ValueError(f"{self.name} must be a {self.kind.__name__}")
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
            return
        if not isinstance(value, self.kind) and not (self.kind is float and isinstance(value, int)):
            raise ValueError(f"{self.name} must be of {self.kind.__name__}, not {type(value).__name__}")
        for validator in self.validators:
            validator.validate(value)
        node.SetParameter(self.name, value.name if self._is_enum() else str(value))

    def _is_enum(self) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, enum.Enum)


_FROM_TEXT: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: text == "True",
}


def parameterNodeWrapper(cls: type) -> type:  # noqa: N802
    """Make the annotated names of a class properties that are kept in a parameter node."""
    parameters = {
        name: _Parameter(name, annotation, cls.__dict__.get(name))
        for name, annotation in typing.get_type_hints(cls, include_extras=True).items()
    }
    methods = {name: value for name, value in vars(_Wrapped).items() if name not in _OF_EVERY_CLASS}
    for name, value in {**methods, **parameters, "_parameters": parameters}.items():
        setattr(cls, name, value)
    return cls


class _Wrapped:
    """What every wrapped class gets."""

    _parameters: typing.ClassVar[dict[str, _Parameter]] = {}
    _connections: dict[int, list[_Connection]]
    parameterNode: Any  # noqa: N815

    def __init__(self, parameterNode: Any) -> None:  # noqa: N803
        self.__dict__.update(parameterNode=parameterNode, _connections={})
        for parameter in self._parameters.values():
            if not parameter.is_node and not parameterNode.HasParameter(parameter.name):
                parameter.__set__(self, parameter.default)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._parameters:
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}")
        object.__setattr__(self, name, value)

    def connectGui(self, gui: Any) -> int:  # noqa: N802
        """Bind every widget that names a parameter in its property SlicerParameterName; returns a tag."""
        named = {widget.property("SlicerParameterName"): widget for widget in vars(gui).values()}
        named.pop(None, None)
        for name in named:
            if name not in self._parameters:
                raise ValueError(f"Cannot find a param with the given name: {name}")
        tag = max(self._connections, default=0) + 1
        self._connections[tag] = [
            _Connection(self, self._parameters[name], widget) for name, widget in named.items()
        ]
        return tag

    def disconnectGui(self, tag: int) -> None:  # noqa: N802
        """Undo a `connectGui`."""
        for connection in self._connections.pop(tag, []):
            connection.disconnect()

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:  # noqa: N802
        """Observe the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:  # noqa: N802
        """Observe it no more."""
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:  # noqa: N802
        """Hold the node's events back."""
        return self.parameterNode.StartModify()

    def EndModify(self, was: int) -> int:  # noqa: N802
        """Let them go."""
        return self.parameterNode.EndModify(was)


_OF_EVERY_CLASS = {"__module__", "__dict__", "__weakref__", "__doc__", "__annotations__"}


class _Connection:
    """A widget and a parameter that follow each other."""

    def __init__(self, owner: _Wrapped, parameter: _Parameter, widget: Any) -> None:
        self._owner, self._parameter, self._widget = owner, parameter, widget
        self._busy = False
        self._property, signal = self._connector()
        self._signal = getattr(widget, signal)
        self._to_widget()
        self._signal.connect(self._to_node)
        self._tag = owner.AddObserver(vtk.vtkCommand.ModifiedEvent, self._to_widget)

    def disconnect(self) -> None:
        """Let both go."""
        self._owner.RemoveObserver(self._tag)
        self._signal.disconnect(self._to_node)

    def _connector(self) -> tuple[str, str]:
        """The widget's property and signal; RuntimeError for a pair that Slicer has no connector for."""
        kind, class_name = self._parameter.kind, self._widget.className()
        if class_name == "QComboBox":
            if not self._choices():
                raise RuntimeError(f"{self._parameter.name}: a combo box needs a Choice or an enumeration")
            self._widget.clear()
            self._widget.addItems([label for label, _ in self._choices()])
            return "currentIndex", "currentIndexChanged"
        if class_name == "qMRMLNodeComboBox" and self._parameter.is_node:
            self._widget.nodeTypes = [kind.__name__]
            return "", "currentNodeChanged"
        kinds, name, signal = _CONNECTORS.get(class_name, ((), "", ""))
        if kind not in kinds:
            raise RuntimeError(f"Unable to create GUI connector from {kind} to {class_name}")
        return name, signal

    def _choices(self) -> list[tuple[str, Any]]:
        kind = self._parameter.kind
        if issubclass(kind, enum.Enum):
            return [(member.name, member) for member in kind]
        found = [v.choices for v in self._parameter.validators if isinstance(v, Choice)]
        return [(str(choice), choice) for choice in found[0]] if found else []

    def _to_node(self) -> None:
        if not self._busy:
            self._parameter.__set__(self._owner, self._read())

    def _read(self) -> Any:
        if self._parameter.is_node:
            return self._widget.currentNode()
        value = getattr(self._widget, self._property)
        return self._choices()[value][1] if self._property == "currentIndex" else self._parameter.kind(value)

    def _to_widget(self, _caller: Any = None, _event: Any = None) -> None:
        value = self._parameter.__get__(self._owner)
        self._busy = True
        try:
            if self._parameter.is_node:
                self._widget.setCurrentNode(value)
            elif self._property == "currentIndex":
                self._widget.currentIndex = [choice for _, choice in self._choices()].index(value)
            else:
                setattr(self._widget, self._property, value)
        finally:
            self._busy = False


# By the exact class of the widget: what it can represent, its property and its signal.
_CONNECTORS: dict[str, tuple[tuple[type, ...], str, str]] = {
    "QCheckBox": ((bool,), "checked", "stateChanged"),
    "QPushButton": ((bool,), "checked", "toggled"),
    "QSpinBox": ((int,), "value", "valueChanged"),
    "QSlider": ((int,), "value", "valueChanged"),
    "QDoubleSpinBox": ((float, int), "value", "valueChanged"),
    "ctkDoubleSpinBox": ((float, int), "value", "valueChanged"),
    "ctkSliderWidget": ((float, int), "value", "valueChanged"),
    "QLineEdit": ((str,), "text", "textChanged"),
}
