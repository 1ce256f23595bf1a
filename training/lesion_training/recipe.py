"""Recipes: everything that decides a training run, in one YAML file each, with a small variant of it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

import yaml

from LesionSegmenterLib.bundle import SplitName
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.strict_json import parse

from .augmentation import AugmentationSettings
from .cases import PROGRAMMES, STROKE_CONTRAST
from .patches import PatchSettings
from .sampling import SamplingSettings
from .splits import SplitSettings
from .transforms import TransformSettings

FOLDER = Path(__file__).parent / "recipes"
SMALL = "small"


@dataclass(frozen=True)
class NetworkSettings:
    """A network by name and the arguments it is built with."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LossSettings:
    """A loss by name (`losses.make_loss`, or ``segmentation``, the shipped recipe's) and its arguments."""

    name: str = "segmentation"
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightSettings:
    """What voxels count in the loss: doubtful ones, and those of small lesions (`losses.voxel_weights`).

    ``largest`` = 1 gives every lesion the same weight.
    """

    doubtful: float = 0.5
    small_area: float = 60.0
    largest: float = 1.0


@dataclass(frozen=True)
class CaseSettings:
    """Shares of the draws: cases as they are, with painted lesions, synthetic heads and their number.

    least_contrast : of painted WMH and MS lesions, as a multiple of the cortex's above white matter.
    programmes : how often a painted person has which lesions; the shares' sum does not matter.
    stroke_contrast : least and largest of painted strokes, in deviations above the brain's median.
    normal_bright : whether what experts call normal though bright is background of ``weights.doubtful``, or
        is left out of the loss: one centre's normal ageing is another's WMH.
    """

    real: float = 1.0
    painted: float = 0.0
    synthetic: float = 0.0
    synthetic_heads: int = 0
    least_contrast: float = 0.0
    programmes: dict[str, float] = field(default_factory=lambda: dict(PROGRAMMES))
    stroke_contrast: tuple[float, float] = STROKE_CONTRAST
    normal_bright: Literal["weighted", "ignored"] = "weighted"


@dataclass(frozen=True)
class OptimisationSettings:
    """The optimiser and its rate.

    steps, epochs : how long, one of the two; an epoch is what the sampler counts as one.
    batch : samples a step, over all processes; ``accumulate`` passes of an equal part of it each.
    schedule : after a linear ``warmup`` of so many steps, half a cosine to zero, constant, or a ``step`` to a
        tenth after the share ``drop_at`` of the steps.
    average_decay : of the exponential average of the weights that is the result; 0 takes the last ones.
    clip_norm : longest gradient; 0 does not clip.
    """

    steps: int | None = None
    epochs: int | None = None
    batch: int = 12
    accumulate: int = 1
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    drop_at: float = 1.0
    warmup: int = 0
    average_decay: float = 0.998
    clip_norm: float = 5.0


@dataclass(frozen=True)
class StageSettings:
    """A further stage with other shares of the cases: warm-up and cosine anew (SGDR, arXiv 1608.03983)."""

    steps: int
    learning_rate: float
    real: float
    painted: float
    synthetic: float


@dataclass(frozen=True)
class ValidationSettings:
    """Steps between scorings of the validation cases, 0 for never; and scorings without a gain to stop after.

    ``patience`` 0 never stops early. The best-scoring weights are the result.
    """

    every: int = 0
    patience: int = 0


@dataclass(frozen=True)
class Recipe:
    """One training run.

    network, classes : None takes those of the bundle that training starts from. ``classes`` gives the
        network's class of each lesion type; lesions of other types are left out of the loss.
    instances : whether the network learns lesion ids too.
    listing : the package's listing for data folders that have none.
    sampling, augmentation : of slices with their neighbours; ``patches`` and ``transforms``, of all else.
    start : a model to start from, by name or folder.
    split_lesions : how the bundle splits a mask into lesions.
    cost : what a step takes, measured.
    """

    purpose: str
    optimisation: OptimisationSettings
    network: NetworkSettings | None = None
    inputs: list[Literal["FLAIR", "T1"]] = field(default_factory=lambda: ["FLAIR"])  # type: ignore[arg-type]
    classes: dict[str, int] | None = None
    instances: bool = False
    loss: LossSettings = field(default_factory=LossSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)
    listing: str | None = None
    cases: CaseSettings = field(default_factory=CaseSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    sampling: SamplingSettings | None = None
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    patches: PatchSettings | None = None
    transforms: TransformSettings = field(default_factory=TransformSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    stages: list[StageSettings] = field(default_factory=list)
    start: str | None = None
    split_lesions: SplitName = "components"
    cost: str = "not measured"

    @property
    def types(self) -> dict[LesionType, int]:
        """The network's class of each lesion type that it learns."""
        assert self.classes is not None, "those of the bundle are filled in before training"
        return {LesionType.from_label(name): number for name, number in self.classes.items()}

    @property
    def context_slices(self) -> int:
        """Neighbours on each side that a network of slices reads as further channels."""
        return int(
            self.sampling is not None
            and self.network is not None
            and self.network.arguments.get("in_channels", 1) == 3
        )

    @property
    def volumetric(self) -> bool:
        """Whether the network is a 3D one."""
        return self.patches is not None and len(self.patches.size) == 3


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name: str, *, small: bool = False, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of that name or file, or its small variant, with ``changes`` like ``cases.painted=0``.

    Raises InputError for an unknown name or key, with the nearest right one, and for a value out of range.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(name, recipe_names(), 1)
        known = f"There are {', '.join(recipe_names())}"
        raise InputError(f"no recipe {name!r}", todo=f"Did you mean {near[0]!r}? {known}" if near else known)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        variant = content.pop(SMALL, None) if isinstance(content, dict) else None
        if small:
            if not isinstance(variant, dict):
                raise ValueError("this recipe has no small variant")
            content = _merged(content, variant)
        for change in changes:
            content = _merged(content, _parsed(change))
        return parse_recipe(content)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise InputError(str(error), path) from error


def parse_recipe(content: Any) -> Recipe:
    """A recipe's plain content, checked; ValueError, naming the key, for what does not fit."""
    recipe: Recipe = parse(content, Recipe)
    _check_ranges(recipe, "")
    optimisation, sources = recipe.optimisation, (recipe.sampling, recipe.patches)
    problems = {
        "optimisation.steps or optimisation.epochs is missing": not (
            optimisation.steps or optimisation.epochs
        ),
        "optimisation.steps and optimisation.epochs are both given": optimisation.steps
        and optimisation.epochs,
        f"cases.programmes names other than {', '.join(PROGRAMMES)}, or none": not (
            recipe.cases.programmes.keys() <= PROGRAMMES.keys() and any(recipe.cases.programmes.values())
        ),
        "one of sampling and patches is needed": sources.count(None) != 1,
        f"optimisation.batch ({optimisation.batch}) does not divide by accumulate": optimisation.batch
        % optimisation.accumulate,
        "optimisation.epochs needs patches": optimisation.epochs and recipe.sampling,
        "network is missing, and start, which would give one": recipe.network is None and not recipe.start,
        "classes is missing, and start, which would give them": recipe.classes is None and not recipe.start,
        "inputs does not begin with FLAIR": recipe.inputs[:1] != ["FLAIR"],
        "inputs names one twice": len(set(recipe.inputs)) < len(recipe.inputs),
        "sampling reads the FLAIR alone": recipe.sampling and len(recipe.inputs) > 1,
        "instances needs patches with three sides": recipe.instances and not recipe.volumetric,
        "patches.size has neither two nor three sides": recipe.patches
        and len(recipe.patches.size) not in (2, 3),
        "patches.voxel_shares names a type that classes lacks": recipe.patches
        and not recipe.patches.voxel_shares.keys() <= (recipe.classes or {}).keys(),
        "split leaves no patient to train on": recipe.split.validation + recipe.split.test >= 1,
    }
    for problem, found in problems.items():
        if found:
            raise ValueError(problem)
    if recipe.classes is not None:
        numbers = set(recipe.types.values())
        if numbers != set(range(1, len(numbers) + 1)):
            raise ValueError(f"classes are numbered {sorted(numbers)}: expected 1, 2 and so on")
    return recipe


def _parsed(change: str) -> Any:
    """``a.b=1`` as content: {a: {b: 1}}; ValueError for anything else."""
    path, equals, value = change.partition("=")
    if not equals or not all(path.split(".")):
        raise ValueError(f"--set {change}: expected KEY=VALUE, for example cases.painted=0")
    content = yaml.safe_load(value)
    for key in reversed(path.split(".")):
        content = {key: content}
    return content


def _merged(content: Any, changes: Any) -> Any:
    """Content with the changes' values in place of its own, key by key."""
    if isinstance(content, dict) and isinstance(changes, dict):
        return content | {key: _merged(content.get(key), value) for key, value in changes.items()}
    return changes


# Lowest and highest value by a key's last name; the rest may have any.
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("steps", "epochs", "batch", "accumulate", "per_case", "moves"), (1, inf)),
    **dict.fromkeys(("learning_rate", "small_area"), (1e-12, inf)),
    **dict.fromkeys(("weight_decay", "warmup", "clip_norm", "synthetic_heads"), (0, inf)),
    **dict.fromkeys(("every", "patience"), (0, inf)),
    **dict.fromkeys(("real", "painted", "synthetic", "validation", "test", "momentum", "doubtful"), (0, 1)),
    **dict.fromkeys(("average_decay", "drop_at", "voxel_shares", "share", "alpha"), (0, 1)),
    **dict.fromkeys(("size", "crop"), (8, 4096)),
    **dict.fromkeys(("largest", "thickest_mm", "factor"), (1, 100)),
    **dict.fromkeys(("rotation_degrees", "shear_degrees"), (0, 180)),
    "programmes": (0, inf),
    "stroke_contrast": (0.01, 100),
    **dict.fromkeys(("gain", "blur_mm", "lesion_gain", "scale", "sd", "sd_mm", "noise", "bias"), (0, inf)),
    "tone": (0, 1),
    "least_contrast": (0, 5),
    **dict.fromkeys(("displacement_mm", "translation_mm", "coefficients", "log_gamma"), (0, inf)),
    **dict.fromkeys(("ghosts", "axes"), (0, 100)),
    "intensity": (0, inf),
    "control_points": (5, 100),  # torchio holds two at each border still
    "classes": (1, 200),
}


def _check_ranges(settings: Any, prefix: str) -> None:
    """ValueError for the first number that is out of its key's range."""
    for item in fields(settings):
        value, key = getattr(settings, item.name), prefix + item.name
        for part in value if isinstance(value, list) else [value]:
            if is_dataclass(part):
                _check_ranges(part, f"{key}.")
        known = _RANGES.get("share" if item.name.endswith("_share") else item.name)
        if known is None or value is None or is_dataclass(value):
            continue
        low, high = known
        parts = list(value.values()) if isinstance(value, dict) else value
        for number in parts if isinstance(parts, (list, tuple)) else [parts]:
            if not low <= number <= high:  # so that nan is refused too
                most = f" to {high:g}" if high < inf else " or more"
                least = "over 0" if 0 < low < 1e-6 else f"{low:g}{most}"
                raise ValueError(f"{key} is {number}: expected {least}")
        if isinstance(value, tuple) and value[0] > value[1]:
            raise ValueError(f"{key} is {list(value)}: expected the smaller number first")
