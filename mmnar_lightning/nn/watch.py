"""Watches values of a training for NaN and infinity, without waiting for the device at every step."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Watch:
    """Records which named values were NaN or infinite in the first step in which any was: afterwards, all are."""

    def __init__(self) -> None:
        self._finite: dict[tuple[str, ...], Tensor] = {}
        self._before: Tensor | None = None

    def step(self) -> None:
        """Begin a step."""
        if self._finite:
            self._before = torch.cat(list(self._finite.values())).all()

    def see(self, values: Mapping[str, Tensor]) -> None:
        """Look at values that are seen together at every step.

        Args:
            values: name for the message -> value of any shape, all on one device.
        """
        names, seen = tuple(values), [value.detach() for value in values.values()]
        if all(value.ndim == 0 for value in seen):
            finite = torch.stack(seen).isfinite()  # few operations: each is launched on its own
        else:
            finite = torch.stack([value.isfinite().all() for value in seen])
        if self._before is not None:
            finite = finite | ~self._before
        self._finite[names] = self._finite[names] & finite if names in self._finite else finite

    def broken(self) -> list[str]:
        """Names of the values that were not finite.

        Returns:
            Names, in the order in which they were first seen.

        >>> watch = Watch()
        >>> for loss, other in ((1.0, 1.0), (float("nan"), 1.0), (float("nan"), float("nan"))):
        ...     watch.step()
        ...     watch.see({"task/death": torch.tensor(loss), "contrast": torch.tensor(other)})
        >>> watch.broken()
        ['task/death']
        """
        found = []
        for names, finite in self._finite.items():
            found += [name for name, is_finite in zip(names, finite.tolist(), strict=True) if not is_finite]
        return found
