"""Recipes: everything that decides a training run, in one YAML file each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.strict_json import parse

from .augmentation import AugmentationSettings
from .sampling import SamplingSettings

FOLDER = Path(__file__).parent / "recipes"
LISTINGS = Path(__file__).parent / "datasets"


@dataclass(frozen=True)
class NetworkSettings:
    """A network by name and the arguments it is built with."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseSettings:
    """Shares of the draws: cases as they are, with painted lesions, synthetic heads and their number."""

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
class StageSettings:
    """A further stage with other shares of the cases: warm-up and cosine anew (SGDR, arXiv 1608.03983)."""

    steps: int
    learning_rate: float
    real: float
    painted: float
    synthetic: float


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
    stages: list[StageSettings] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return self.optimisation.steps + sum(stage.steps for stage in self.stages)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """The recipe of that name or file; InputError for an unknown name or key, with the nearest right one."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(name, recipe_names(), 1)
        known = f"There are {', '.join(recipe_names())}"
        raise InputError(f"no recipe {name!r}", todo=f"Did you mean {near[0]!r}? {known}" if near else known)
    try:
        return parse(yaml.safe_load(path.read_text()), Recipe)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(str(error), path) from error
