"""Going through data in epochs, each in an order drawn from (seed, epoch), so that the whole state is two numbers."""

from __future__ import annotations

from typing import Any


class Epochs:
    """An iterator over epochs: its state is the epoch and the position in it."""

    epoch = position = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the position in it."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self._shuffle()

    def _shuffle(self) -> None:
        """Draw the order of the epoch from (seed, epoch)."""
        raise NotImplementedError
