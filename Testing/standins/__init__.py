"""Stand-ins for the Slicer application: `install` makes ``qt``, ``ctk`` and what ``slicer`` lacks importable.

The scene, its nodes, its logics and the drawing of views are Slicer's own (the package slicer-core); Qt is
Qt 6 (PySide6). In between stands what the panel sees: wrappers as strict as those of PythonQt, and the
widgets, the application and the scripted modules' base classes that only the Slicer application has.
"""

from __future__ import annotations

from .install import install

__all__ = ["install"]
