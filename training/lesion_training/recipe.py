"""Recipes: everything that decides a training run, in one YAML file each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from LesionSegmenterLib.errors import InputError

from .augmentation import AugmentationSettings
from .sampling import SamplingSettings

FOLDER = Path(__file__).parent / "recipes"
LISTINGS = Path(__file__).parent / "datasets"
T = TypeVar("T")


@dataclass(frozen=True)
class NetworkSettings:
    """A network by name and the arguments it is built with."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseSettings:
    """Shares of the draws: cases as they are, cases with painted lesions, synthetic heads and their number."""

    real: float = 1.0
    painted: float = 0.0
    synthetic: float = 0.0
    synthetic_heads: int = 0


@dataclass(frozen=True)
class OptimisationSettings:
    """AdamW with a linear warm-up and a cosine to zero; weights averaged exponentially for the result."""

    steps: int
    batch: int = 12
    size: int = 160
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup: int = 200
    average_decay: float = 0.998
    doubtful_weight: float = 0.5
    small_area: float = 60.0
    largest_weight: float = 4.0


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    purpose: str
    network: NetworkSettings
    optimisation: OptimisationSettings
    listing: str = "public.tsv"
    cases: CaseSettings = field(default_factory=CaseSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """The recipe of that name or file; InputError for an unknown name or key, with the nearest right one."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise InputError(
            f"no recipe {name!r}",
            todo=f"There are {', '.join(recipe_names())}{_nearest(name, recipe_names())}",
        )
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"not readable as YAML: {error}", path) from error
    return _parse(Recipe, content, path, "")


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _parse(kind: type[T], content: Any, path: Path, inside: str) -> T:
    """A settings dataclass of a YAML mapping, strict about keys and types."""
    if not isinstance(content, dict):
        raise InputError(f"{inside or 'the recipe'} must be a mapping of settings", path)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in content:
        if key not in known:
            raise InputError(
                f"unknown setting {inside}{key}{_nearest(key, known)}", path, f"Known: {', '.join(known)}"
            )
    hints = get_type_hints(kind)
    values = {}
    for key, value in content.items():
        hint = hints[key]
        if is_dataclass(hint):
            value = _parse(hint, value, path, f"{inside}{key}.")  # type: ignore[arg-type]
        elif isinstance(value, list):
            value = tuple(value)
        elif hint is float and isinstance(value, int):
            value = float(value)
        elif hint in (int, float, str) and not isinstance(value, hint):
            raise InputError(f"setting {inside}{key} must be of type {hint.__name__}, not {value!r}", path)
        values[key] = value
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{inside or 'the recipe'} is incomplete: {error}", path) from error
