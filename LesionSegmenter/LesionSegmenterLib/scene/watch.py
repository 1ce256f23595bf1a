"""Tells whether lesions that are shown were painted on, without a look at the voxels: that takes long."""

from __future__ import annotations

from typing import Any


class PaintWatch:
    """Whether anyone but us has changed an image since it was shown, by its modification time."""

    def __init__(self) -> None:
        self._time, self._is_pending = -1, False

    def saw(self, image: Any) -> bool:
        """Whether an image is as it was shown last."""
        return image.GetMTime() == self._time

    def showed(self, image: Any, is_pending: bool = False) -> None:
        """An image was shown as lesions are, or as a change that is yet to be made will leave them."""
        self._time, self._is_pending = image.GetMTime(), is_pending

    def is_settled(self, image: Any) -> bool:
        """Whether there is nothing to read back from an image."""
        return self.saw(image) and not self._is_pending
