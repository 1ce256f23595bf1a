"""What a recipe's network is to the engine: the specification of its bundle, and the reverse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from LesionSegmenterLib.bundle import Architecture, BundleSpec, ModelInput, Output
from LesionSegmenterLib.engine.normalisation import NORMALISATION
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType

from .recipe import NetworkSettings, Recipe


def specification(
    recipe: Recipe, name: str = "run", version: str = "0", normalisation: str = NORMALISATION
) -> BundleSpec:
    """The bundle specification of a recipe's network: what it reads, how, and what its channels mean.

    A channel that several lesion types share means a lesion of no stated type.
    """
    assert recipe.network is not None
    types: dict[int, list[LesionType]] = {}
    for kind, channel in recipe.types.items():
        types.setdefault(channel, []).append(kind)
    label_map = {
        channel: int(kinds[0] if len(kinds) == 1 else LesionType.LESION)
        for channel, kinds in sorted(types.items())
    }
    preprocessing: dict[str, Any] = {"normalisation": normalisation}
    if recipe.patches is not None:
        preprocessing["patch"] = recipe.patches.size
    else:
        preprocessing |= {"context_slices": recipe.context_slices, "planes": "agreed"}
    output = "instances" if recipe.instances else "binary" if len(label_map) == 1 else "types"
    return BundleSpec(
        name=name,
        version=version,
        title=recipe.purpose,
        architecture=Architecture(recipe.network.name, recipe.network.arguments),
        inputs=[ModelInput(modality) for modality in recipe.inputs],
        preprocessing=preprocessing,
        output=Output(output, label_map),  # type: ignore[arg-type]
        shape="patch" if recipe.volumetric else "slice",
        training_data=[],
        licence="Apache-2.0; the training data keep their own",
        split=recipe.split_lesions,
    )


def completed(recipe: Recipe, start: BundleSpec | None) -> Recipe:
    """The recipe with network and classes of the bundle that it starts from, where it leaves them open.

    InputError where the bundle's network is not of the recipe's kind.
    """
    if start is None or recipe.network is not None:
        return recipe
    if start.architecture.name == "ensemble":
        raise InputError(
            f"model {start.name} is an ensemble, which is not trained as a whole",
            todo="Start from one of its members, such as the default model",
        )
    context = start.preprocessing.get("context_slices", 0)
    if start.shape != "slice" or len(start.inputs) > 1 or context > 1:
        raise InputError(
            f"model {start.name} reads something other than slices of the FLAIR",
            todo="Train it further with the recipe that it came from: lesion-train fit RECIPE --start MODEL",
        )
    named = {label: channel for channel, label in start.output.label_map.items() if label}
    classes = {kind.label: named[kind] for kind in LesionType if kind in named}
    if LesionType.LESION in named:
        classes |= {kind.label: named[LesionType.LESION] for kind in LesionType if kind not in named}
    network = NetworkSettings(start.architecture.name, start.architecture.arguments)
    return replace(recipe, network=network, classes=recipe.classes or classes)
