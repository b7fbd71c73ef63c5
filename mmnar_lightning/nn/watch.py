"""Watches values of a training for NaN and infinity, without waiting for the device at every step."""

import torch
from torch import Tensor


class Watch:
    """Records which named values were NaN or infinite in the first step in which any was: afterwards, all are."""

    def __init__(self) -> None:
        self._finite: dict[str, Tensor] = {}
        self._before: Tensor | None = None

    def step(self) -> None:
        """Begin a step."""
        if self._finite:
            self._before = torch.stack(list(self._finite.values())).all()

    def see(self, name: str, value: Tensor) -> None:
        """Look at a value of any shape.

        Args:
            name: for the message.
            value: on any device.
        """
        finite = value.detach().isfinite().all()
        if self._before is not None:
            finite = finite | ~self._before
        self._finite[name] = self._finite[name] & finite if name in self._finite else finite

    def broken(self) -> list[str]:
        """Names of the values that were not finite.

        Returns:
            Names, in the order in which they were first seen.

        >>> watch = Watch()
        >>> for loss, other in ((1.0, 1.0), (float("nan"), 1.0), (float("nan"), float("nan"))):
        ...     watch.step()
        ...     watch.see("task/death", torch.tensor(loss))
        ...     watch.see("contrast", torch.tensor(other))
        >>> watch.broken()
        ['task/death']
        """
        return [name for name, finite in self._finite.items() if not finite]
