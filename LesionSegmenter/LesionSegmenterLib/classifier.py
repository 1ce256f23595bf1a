"""The cascade's second stage: a small network that types each lesion from its features (Llambias et al.)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from .errors import BundleError, InputError
from .features import FEATURE_NAMES
from .labels import LesionType

TYPES = (LesionType.WMH, LesionType.STROKE, LesionType.MS)  # the order of the outputs
_SKEWED = torch.tensor([name.endswith(("_mm3", "_mm2", "_mm")) for name in FEATURE_NAMES])

_EM_ROUNDS = 50
_COUNTERPARTS = "counterparts"
_COUNTERPART_EDGES = (0.1, 0.5)  # none, some, or as much on the other side
_MIDLINE = 0.04  # of the brain's width: a lesion this near to the midline lies on both sides


class CascadeClassifier(nn.Module):
    """Eleven features to three types: 11 -> 400 -> 400 -> 3, ReLU; 166,403 parameters.

    Volume, area and lengths are taken as log(1 + x), since they span orders of magnitude; then every feature
    is standardised with the training set's mean and standard deviation, which are stored with the weights.
    """

    mean: torch.Tensor
    sd: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(len(FEATURE_NAMES), 400),
            nn.ReLU(),
            nn.Linear(400, 400),
            nn.ReLU(),
            nn.Linear(400, len(TYPES)),
        )
        self.register_buffer("mean", torch.zeros(len(FEATURE_NAMES)))
        self.register_buffer("sd", torch.ones(len(FEATURE_NAMES)))
        self.metadata: dict[str, str] = {}
        # (type, bin of `counterparts`): how often lesions of a type have them; None in older classifiers.
        self.counterpart_shares: NDArray[np.float64] | None = None

    def fit_standardisation(self, features: torch.Tensor) -> None:
        """Set mean and standard deviation from training features (n, 11); a constant feature keeps sd 1."""
        transformed = _log_skewed(features)
        sd = transformed.std(dim=0, correction=0)
        self.mean.copy_(transformed.mean(dim=0))
        self.sd.copy_(torch.where(sd > 0, sd, 1.0))

    def standardise(self, features: torch.Tensor) -> torch.Tensor:
        """Raw features (n, 11) to what the layers see."""
        return (_log_skewed(features) - self.mean) / self.sd

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (n, 3) of raw features (n, 11)."""
        return self.layers(self.standardise(features))

    @torch.inference_mode()
    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities (n, 3), ordered WMH, stroke, MS, of features (n, 11) from ``lesion_features``.

        Raises InputError when a feature is not finite or the array is not (n, 11).
        """
        array = np.asarray(features, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != len(FEATURE_NAMES) or not np.isfinite(array).all():
            raise InputError(f"lesion features must be finite, (n, {len(FEATURE_NAMES)}); got {array.shape}")
        logits = self(torch.from_numpy(array).to(self.mean.device))
        return logits.double().softmax(dim=1).cpu().numpy()

    def classify_scan(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities (n, 3) of all lesions (n, 11) of one scan: what `classify` makes of each by itself,
        and whether the other side of the brain has lesions too (`counterparts`).
        """
        probabilities = self.classify(features)
        if self.counterpart_shares is None or len(features) == 0:
            return probabilities
        probabilities *= self.counterpart_shares[:, _counterpart_bins(features)].T
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def save(self, path: str | Path, metadata: Mapping[str, str]) -> None:
        """Write weights, standardisation and metadata as safetensors; the same ones give the same bytes."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        if self.counterpart_shares is not None:
            metadata = {**metadata, _COUNTERPARTS: json.dumps(self.counterpart_shares.round(4).tolist())}
        save_file(tensors, path, metadata=dict(metadata) or None)

    @classmethod
    def load(cls, path: str | Path) -> CascadeClassifier:
        """A classifier on the CPU, ready to classify, its metadata in ``metadata``.

        Raises BundleError when the file is missing, cut short, or holds another network.
        """
        model = cls()
        try:
            with safe_open(path, framework="pt") as file:
                model.metadata = file.metadata() or {}
                model.counterpart_shares = _read_shares(model.metadata.get(_COUNTERPARTS))
                model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, RuntimeError, TypeError, ValueError) as error:
            todo = "Install the model bundle again"
            raise BundleError("cannot be read as weights of the lesion classifier", path, todo) from error
        if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
            raise BundleError(
                "the lesion classifier has weights that are not numbers", path, "Train it again"
            )
        return model.eval()


def counterparts(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lesion volume on the other side of the brain over each lesion's own, at most 1, of a scan's (n, 11).

    WMH and MS come on both sides, an infarct on one: what else a scan holds says much about a lesion that
    its own shape and place leave open.
    """
    volume = features[:, FEATURE_NAMES.index("volume_mm3")]
    right = np.clip((features[:, FEATURE_NAMES.index("centroid_r")] - 0.5) / _MIDLINE, -1, 1) / 2 + 0.5
    on_right, on_left = volume * right, volume * (1 - right)
    others = right * (on_left.sum() - on_left) + (1 - right) * (on_right.sum() - on_right)
    return np.minimum(others / volume, 1.0)


def counterpart_shares(
    scans: Sequence[tuple[LesionType, NDArray[np.floating]]],
) -> NDArray[np.float64]:
    """How often lesions of each type have counterparts: (3, bins), each row a distribution.

    ``scans`` are of one type each, with their lesions' features (n, 11). Scans weigh the same, and in them
    lesions as their diameter; one scan more in each bin keeps everything possible.
    """
    counts = np.ones((len(TYPES), len(_COUNTERPART_EDGES) + 1))
    for kind, features in scans:
        weights = np.cbrt(features[:, FEATURE_NAMES.index("volume_mm3")])
        bins = _counterpart_bins(features)
        counts[TYPES.index(kind)] += np.bincount(bins, weights / weights.sum(), counts.shape[1])
    return counts / counts.sum(axis=1, keepdims=True)


def _counterpart_bins(features: NDArray[np.floating]) -> NDArray[np.intp]:
    return np.digitize(counterparts(features), _COUNTERPART_EDGES)


def _read_shares(text: str | None) -> NDArray[np.float64] | None:
    """The table that `CascadeClassifier.save` wrote; ValueError for anything else."""
    if text is None:
        return None
    shares = np.array(json.loads(text), float)
    if shares.shape != (len(TYPES), len(_COUNTERPART_EDGES) + 1) or not (shares > 0).all():
        raise ValueError(f"{_COUNTERPARTS} must be positive shares by type and bin")
    return shares


def adjusted_to_scan(
    probabilities: NDArray[np.floating], volumes_mm3: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Type probabilities (n, 3) of one scan's lesions, given the mix of types that the scan seems to hold.

    The classifier was trained on equal shares of the types; one person rarely has all. The scan's own shares
    are estimated by expectation maximisation and multiplied in (Saerens, Latinne and Decaestecker 2002,
    Neural Computation 14:21-41). Lesions weigh as their diameter, as in training; a pseudo-count of one
    average lesion a type keeps every type possible.
    """
    if len(probabilities) == 0:
        return np.empty((0, len(TYPES)))
    weights = np.cbrt(volumes_mm3)
    shares = np.full(len(TYPES), 1 / len(TYPES))
    for _ in range(_EM_ROUNDS):
        adjusted = probabilities * shares
        adjusted /= adjusted.sum(axis=1, keepdims=True)
        shares = weights @ adjusted + weights.mean()
        shares /= shares.sum()
    return adjusted


def _log_skewed(features: torch.Tensor) -> torch.Tensor:
    return torch.where(_SKEWED.to(features.device), features.clamp(min=0).log1p(), features)
