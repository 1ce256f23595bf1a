"""The checkpoint of a run: all that a stopped run needs to go on as if it had not been stopped."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from LesionSegmenterLib.atomic import atomic_file
from LesionSegmenterLib.errors import InputError

CHECKPOINT = "checkpoint.pt"


def write_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint whole or not at all; InputError where the disk is full."""
    # In memory first: torch's own writer turns a full disk into errors that do not say so.
    content = io.BytesIO()
    torch.save(state, content)
    with atomic_file(run / CHECKPOINT) as unfinished:
        unfinished.write_bytes(content.getbuffer())


def read_checkpoint(run: Path, device: torch.device) -> dict[str, Any]:
    """The checkpoint's content; InputError where it is cut short or no checkpoint."""
    path = run / CHECKPOINT
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        lacking = {"step", "loss", "seconds", "seed", "network", "averaged", "optimiser"} - state.keys()
    except Exception as error:
        raise unreadable(path) from error
    if lacking:
        raise unreadable(path)
    return state


def unreadable(path: Path) -> InputError:
    """The one clear line for a checkpoint that is of no use."""
    return InputError("the checkpoint cannot be read", path, "Remove it to start anew")


def result_weights(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights that a run arrived at, and how far it got (step, loss, seconds, seed, validation).

    Those of the best validation, else the averaged ones. InputError without a usable checkpoint.
    """
    if not (run / CHECKPOINT).is_file():
        raise InputError("no checkpoint of a run here", run, "Train one with lesion-train fit")
    state = read_checkpoint(run, torch.device("cpu"))
    best = state.get("best")
    weights = best["weights"] if best else state["averaged"]
    progress = {key: state[key] for key in ("step", "loss", "seconds", "seed")}
    progress |= {"validation": best["score"], "step": best["step"]} if best else {"validation": None}
    return {name: value.contiguous() for name, value in weights.items()}, progress
