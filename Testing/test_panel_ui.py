"""Lint of the panel's Qt Designer files and of the Python that uses them."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from panel_cases import make_case, open_section

MODULE = Path(__file__).resolve().parents[1] / "LesionSegmenter"
UI_FILES = sorted((MODULE / "Resources" / "UI").glob("*.ui"))
PANEL_FILES = sorted((MODULE / "LesionSegmenterLib" / "panel").glob("*.py"))
SCENE_CHANGED, SET_SCENE = "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"
PASSIVE = {"QWidget", "QFrame", "QGroupBox", "QStackedWidget", "QScrollArea", "qMRMLWidget", "Line"}
TEXTS = {
    *("text", "toolTip", "title", "placeholderText", "windowTitle"),
    *("prefix", "suffix", "format", "specialValueText"),
}
SETTERS = {
    *(f"set{name[0].upper()}{name[1:]}" for name in TEXTS),
    *("addItem", "addAction", "addMenu", "addTab", "tell"),
}
GONE_IN_QT6 = (
    r"\bQ(RegExp|RegExpValidator|TextCodec|DesktopWidget|SignalMapper|GLWidget|Matrix|Linked?List|StringRef)\b",
    r"\.setMargin\(",
    r"\.exec_\(",
    r"\bqt\.Signal\b",
)

uis = pytest.mark.parametrize("path", UI_FILES, ids=lambda path: path.stem)
sources = pytest.mark.parametrize("path", PANEL_FILES, ids=lambda path: path.stem)


def widgets(path: Path) -> list[ElementTree.Element]:
    """Every widget of a file, the top-level one first."""
    return list(ElementTree.parse(path).getroot().iter("widget"))


def own_property(widget: ElementTree.Element, name: str) -> ElementTree.Element | None:
    return next((each for each in widget.findall("property") if each.get("name") == name), None)


def is_caption(widget: ElementTree.Element) -> bool:
    """A label that stands before a control and never changes."""
    return widget.get("class") == "QLabel" and own_property(widget, "toolTip") is None


def controls(path: Path) -> list[ElementTree.Element]:
    return [w for w in widgets(path)[1:] if w.get("class") not in PASSIVE and not is_caption(w)]


@uis
def test_every_mrml_widget_follows_the_scene(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    top, *others = widgets(path)
    followers = {
        connection.findtext("receiver")
        for connection in root.iter("connection")
        if connection.findtext("sender") == top.get("name")
        and (connection.findtext("signal"), connection.findtext("slot")) == (SCENE_CHANGED, SET_SCENE)
    }
    mrml = {w.get("name") for w in others if (w.get("class") or "").startswith("qMRML")}
    assert mrml == followers
    assert not mrml or top.get("class") == "qMRMLWidget"


@uis
def test_every_widget_has_a_name_of_its_own_in_camel_case(path: Path) -> None:
    top, *others = widgets(path)
    assert top.get("name") == path.stem
    names = [w.get("name") or "" for w in others]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", name)] == []


@uis
def test_every_control_has_a_tooltip(path: Path) -> None:
    silent = []
    for widget in controls(path):
        tip = own_property(widget, "toolTip")
        if tip is None or not (tip.findtext("string") or "").strip():
            silent.append(widget.get("name"))
    assert silent == []


@uis
def test_every_caption_is_a_text_that_is_never_set(path: Path) -> None:
    code = panel_code()
    for widget in widgets(path):
        if is_caption(widget):
            assert own_property(widget, "text") is not None, widget.get("name")
            assert not re.search(rf"\b{widget.get('name')}\.text = ", code), widget.get("name")


@uis
def test_every_text_is_translatable(path: Path) -> None:
    for element in ElementTree.parse(path).getroot().iter("property"):
        string = element.find("string")
        if string is None or element.get("name") not in TEXTS:
            continue
        is_value = string.get("notr") == "true" and _is_value(path, element)
        has_letters = re.search(r"[^\W\d_]", string.text or "") is not None
        assert is_value or not (has_letters and string.get("notr") == "true"), string.text


def _is_value(path: Path, wanted: ElementTree.Element) -> bool:
    """Whether a text is an item of a combo box that stores it as a parameter."""
    text = wanted.findtext("string")
    return any(
        own_property(widget, "SlicerParameterName") is not None
        and text in [item.findtext("property/string") for item in widget.findall("item")]
        for widget in widgets(path)
    )


@uis
def test_every_control_is_used(path: Path) -> None:
    code = panel_code()
    unused = [
        widget.get("name")
        for widget in controls(path)
        if own_property(widget, "SlicerParameterName") is None
        and not re.search(rf"\b{widget.get('name')}\b", code)
    ]
    assert unused == []


def test_every_widget_that_the_code_names_is_in_a_file() -> None:
    known = {w.get("name") for path in UI_FILES for w in widgets(path)}
    known |= {
        layout.get("name") for path in UI_FILES for layout in ElementTree.parse(path).getroot().iter("layout")
    }
    named = set(re.findall(r"\bui\.([a-z]\w*)", panel_code()))
    assert named - known == set()


@uis
def test_every_file_loads_with_properties_that_its_widgets_have(path: Path, slicer_app) -> None:
    import slicer.util

    assert slicer.util.loadUI(str(path)).objectName == path.stem


def test_the_panel_keeps_its_width_whichever_sections_are_open(panel, tmp_path: Path) -> None:
    """Slicer makes it as wide as it wants to be: the views would jump with each section and message."""
    panel.panel.review.open_case(make_case(tmp_path), "01", "Ada")
    panel.panel.tell("What went wrong, and where, and what to do about it. " * 12)
    for button in panel.panel._buttons:
        open_section(panel, button.text)
        widget = panel.panel.widget._cpp
        assert widget.layout().sizeHint().width() <= widget.minimumWidth()


@pytest.mark.parametrize("path", [*UI_FILES, *PANEL_FILES], ids=lambda path: path.name)
def test_nothing_is_used_that_qt_6_does_not_have(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [pattern for pattern in GONE_IN_QT6 if re.search(pattern, text)] == []


@sources
def test_no_text_is_shown_that_cannot_be_translated(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = [f"line {node.lineno}: {ast.unparse(node)}" for node in _shown(tree) if _has_words(node)]
    assert bare == []


@sources
def test_what_is_translated_is_a_literal(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            (argument,) = node.args
            assert isinstance(argument, ast.Constant), f"line {node.lineno}: {ast.unparse(node)}"


def panel_code() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in PANEL_FILES)


def _shown(tree: ast.AST) -> Iterator[ast.expr]:
    """Every expression that becomes a text of a widget."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr in TEXTS:
                    yield from _alternatives(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SETTERS:
            for argument in node.args:
                yield from _alternatives(argument)


def _alternatives(node: ast.expr) -> Iterator[ast.expr]:
    """What an expression may give: both branches of a condition."""
    if isinstance(node, ast.IfExp):
        yield from _alternatives(node.body)
        yield from _alternatives(node.orelse)
    else:
        yield node


def _has_words(node: ast.expr) -> bool:
    """Whether a literal holds words of its own, which parts of names such as ``sub-`` are not."""
    pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
    literals = [piece.value for piece in pieces if isinstance(piece, ast.Constant)]
    words = re.compile(r"(?<![-\w])[^\W\d_]{2,}(?![-\w])")
    return any(isinstance(each, str) and words.search(each) for each in literals)
