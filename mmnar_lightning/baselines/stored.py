"""Fitted estimators as tensors, for model folders; nothing is pickled."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

Tensors = dict[str, Tensor]


@runtime_checkable
class Storable(Protocol):
    """An estimator that can be stored and restored."""

    def store(self) -> Tensors:
        """The fitted state."""

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Take a fitted state; the estimator was built with the same settings."""


def below(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """Select the tensors whose names begin with a prefix.

    Args:
        tensors: name -> tensor.
        prefix: of names.

    Returns:
        The tensors, their names without the prefix.

    >>> below({"a/b": torch.zeros(1), "c": torch.ones(1)}, "a/")
    {'b': tensor([0.])}
    """
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """Put a prefix before every name.

    Args:
        tensors: name -> tensor.
        prefix: of names.

    Returns:
        The same tensors.

    >>> prefixed({"b": torch.zeros(1)}, "a/")
    {'a/b': tensor([0.])}
    """
    return {prefix + name: value for name, value in tensors.items()}


def of_sklearn(estimator: Any) -> Tensor:
    """An estimator of scikit-learn as bytes.

    Args:
        estimator: fitted.

    Returns:
        (n,) uint8, an archive of skops.
    """
    import skops.io

    return torch.from_numpy(np.frombuffer(skops.io.dumps(estimator), np.uint8).copy())


def to_sklearn(stored: Tensor, trusted: Sequence[str]) -> Any:
    """The estimator that bytes hold; other types than those of scikit-learn, numpy and `trusted` are refused.

    Args:
        stored: of `of_sklearn`.
        trusted: full names of further types.

    Returns:
        The estimator.
    """
    import skops.io

    return skops.io.loads(stored.numpy().tobytes(), trusted=list(trusted))
