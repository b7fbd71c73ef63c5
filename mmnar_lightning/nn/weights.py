"""Weights of a network from a file: read without running what is in it, refused unless every tensor fits."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from data_modules.errors import UserError

WRAPPERS = ("state_dict", "model")
"""Keys under which training scripts keep the weights beside an optimiser and the like."""
REMEDY = "only safetensors, or a dict of tensors that torch.save wrote, are read; nothing is unpickled"


class WeightsError(UserError):
    """A file of weights is missing, broken, or made for another network."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a state dict that torch.save wrote.

    Args:
        path: the file; the ending `.safetensors` tells the format.

    Raises:
        WeightsError: for a file that is missing, corrupt, or holds anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file of weights")
    try:
        content = _read(path)
    except Exception as error:  # bytes that are no weights make the readers raise nearly anything
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: these weights cannot be read ({problem}); {REMEDY}") from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path}: this file holds something else than named tensors; {REMEDY}")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _read(path: Path) -> object:
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True)
    from safetensors.torch import load_file

    return load_file(path)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], place: str, ignored: Collection[str] = ()) -> None:
    """Fill a network, refusing weights of which one tensor is missing, too many, or of another shape.

    Args:
        network: what is filled.
        weights: name -> tensor.
        place: names the weights in errors.
        ignored: beginnings of names that may be too many, for example those of a classifier.

    Raises:
        WeightsError: naming the first tensor that does not fit.

    >>> load_weights(nn.Linear(2, 1), {"weight": torch.ones(1, 3), "bias": torch.ones(1)}, "file")
    Traceback (most recent call last):
    mmnar_lightning.nn.weights.WeightsError: file: weight is (1, 3) there, but (1, 2) in Linear
    """
    name, wanted = type(network).__name__, network.state_dict()
    for key, tensor in wanted.items():
        if key not in weights:
            # Batch norm's count of batches came later than many a file; nothing that predicts reads it.
            if key.endswith("num_batches_tracked"):
                continue
            raise WeightsError(f"{place}: {key} of {name} is not there; these weights are of another network")
        if weights[key].shape != tensor.shape:
            raise WeightsError(
                f"{place}: {key} is {tuple(weights[key].shape)} there, but {tuple(tensor.shape)} in {name}"
            )
    surplus = (
        key for key in weights if key not in wanted and not key.startswith(tuple(f"{part}." for part in ignored))
    )
    for key in surplus:
        raise WeightsError(f"{place}: {key} is there, but not in {name}; these weights are of another network")
    network.load_state_dict({key: weights.get(key, tensor) for key, tensor in wanted.items()})


def fingerprint(network: nn.Module) -> str:
    """What tells these weights from all others, 16 hexadecimal digits.

    >>> fingerprint(nn.LayerNorm(2)) == fingerprint(nn.LayerNorm(2))
    True
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
