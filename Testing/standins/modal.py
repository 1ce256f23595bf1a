"""Boxes that wait for the user: a test answers them; one that it does not answer is a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .problems import tell

NOT_MODAL = object()
FIRST_OF_RESULTS = {
    "QFileDialog.getOpenFileName",
    "QFileDialog.getOpenFileNames",
    "QFileDialog.getSaveFileName",
    "QInputDialog.getText",
    "QInputDialog.getInt",
    "QInputDialog.getDouble",
    "QInputDialog.getItem",
    "QInputDialog.getMultiLineText",
}
_STATIC = FIRST_OF_RESULTS | {
    "QFileDialog.getExistingDirectory",
    "QMessageBox.question",
    "QMessageBox.information",
    "QMessageBox.warning",
    "QMessageBox.critical",
    "QMessageBox.about",
    "QColorDialog.getColor",
    "QFontDialog.getFont",
}

_answers: list[Any] | None = None
questions: list[str] = []


def answer_from_now_on(*answers: Any) -> None:
    """Let the next boxes be answered so, in order; a function is called with the box, or with its arguments.

    From the first call on, a box that finds no answer is a problem and is cancelled: none waits for a user.
    """
    global _answers
    _answers = [*(_answers or []), *answers]


def forget() -> list[Any]:
    """Forget questions and answers; returns the answers that nobody asked for."""
    global _answers
    left, _answers = list(_answers or []), []
    questions.clear()
    return left


def intercept(owner: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    """The answer to a call, if it opens a box that waits for the user; else NOT_MODAL."""
    if _answers is None or not _waits(owner, name):
        return NOT_MODAL
    text = _text(owner, arguments)
    questions.append(text)
    if not _answers:
        tell(f"a modal box that no test answered: {text}")
        return 0 if name in ("exec", "exec_") else "" if name.startswith("get") else 0
    answer: Any = _answers.pop(0)
    if isinstance(answer, Callable):  # type: ignore[arg-type]
        return answer(owner) if name in ("exec", "exec_") else answer(*arguments)
    return answer


def _waits(owner: Any, name: str) -> bool:
    if isinstance(owner, type):
        return f"{owner.__name__}.{name}" in _STATIC
    return name in ("exec", "exec_") and (owner._cpp.inherits("QDialog") or owner._cpp.inherits("QMenu"))


def _text(owner: Any, arguments: tuple[Any, ...]) -> str:
    if isinstance(owner, type):
        return " ".join(a for a in arguments if isinstance(a, str))
    text = getattr(owner, "text", "")
    return text if isinstance(text, str) and text else str(getattr(owner, "windowTitle", ""))
