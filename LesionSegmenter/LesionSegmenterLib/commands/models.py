"""``lesion-segmenter models``: the model bundles of this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..bundle import CARD, add_bundle, find_bundles, load_bundle, read_spec, resolve_bundle
from ..errors import BundleError


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("models", help="list, show, check and add model bundles")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the models that --model knows by name")
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", help="print a model's card")
    show.add_argument("model", metavar="NAME|DIR")
    show.set_defaults(run=_show)
    validate = actions.add_parser(
        "validate", help="check a bundle: files, checksums, and weights against network"
    )
    validate.add_argument("folder", type=Path, metavar="DIR")
    validate.set_defaults(run=_validate)
    add = actions.add_parser("add", help="check a bundle and copy it to where --model finds it by name")
    add.add_argument("folder", type=Path, metavar="DIR")
    add.set_defaults(run=_add)


def _list(_: argparse.Namespace) -> None:
    for folder in find_bundles():
        try:
            spec = read_spec(folder)
        except BundleError as error:
            print(f"{folder.name:<24} unusable: {error.what}")
        else:
            print(f"{spec.name:<24} {spec.version:<10} {spec.title}  ({folder})")


def _show(options: argparse.Namespace) -> None:
    bundle = resolve_bundle(options.model)
    print((bundle.folder / CARD).read_text(encoding="utf-8", errors="replace").rstrip())


def _validate(options: argparse.Namespace) -> None:
    from ..classifier import CascadeClassifier
    from ..engine.device import choose_device
    from ..engine.model import load_model

    bundle = load_bundle(options.folder)
    load_model(bundle, choose_device("cpu"))
    if bundle.classifier is not None:
        CascadeClassifier.load(bundle.classifier)
    print(
        f"{bundle.spec.name} {bundle.spec.version} is complete and unaltered, and its weights fit its network"
    )


def _add(options: argparse.Namespace) -> None:
    bundle = add_bundle(options.folder)
    print(f"{bundle.spec.name} {bundle.spec.version} is in {bundle.folder}")
