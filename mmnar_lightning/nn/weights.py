"""Loads weights of a network from a file, without unpickling; every tensor must fit."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from data_modules.errors import UserError
from mmnar_lightning.distributed import signals

WRAPPERS = ("state_dict", "model")
"""Keys under which training checkpoints hold the weights."""
ABSENT = ("num_batches_tracked", "strength")
"""Ends of the names of tensors that older files lack, and that keep their first value."""
REMEDY = "expected safetensors or a dict of tensors written by torch.save; nothing is unpickled"


class WeightsError(UserError):
    """A weights file is missing, corrupt or of another network."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file or a state dict written by torch.save.

    Args:
        path: the file; the suffix `.safetensors` selects the format.

    Returns:
        Name -> tensor.

    Raises:
        WeightsError: if the file is missing, corrupt or holds anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: this weights file does not exist")
    try:
        with signals.restored():
            content = _read(path)
    except Exception as error:  # the readers raise many types for corrupt files
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: these weights cannot be read ({problem}); {REMEDY}") from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path}: this file does not hold named tensors only; {REMEDY}")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _read(path: Path) -> object:
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True)
    from safetensors.torch import load_file

    return load_file(path)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], place: str, ignored: Collection[str] = ()) -> None:
    """Load weights strictly: no missing tensor, no unexpected tensor, no other shape.

    Args:
        network: the network, changed in place.
        weights: name -> tensor.
        place: names the weights in errors.
        ignored: prefixes of unexpected names that are allowed, for example of a classifier.

    Raises:
        WeightsError: naming the first tensor that does not fit.

    >>> load_weights(nn.Linear(2, 1), {"weight": torch.ones(1, 3), "bias": torch.ones(1)}, "file")
    Traceback (most recent call last):
    mmnar_lightning.nn.weights.WeightsError: file: weight has the shape (1, 3), expected (1, 2) for Linear
    """
    name, wanted = type(network).__name__, network.state_dict()
    for key, tensor in wanted.items():
        if key not in weights:
            # Older files lack batch norm's batch counter, which prediction does not use, and the strength, which is 1.
            if key.endswith(ABSENT):
                continue
            raise WeightsError(f"{place}: {key} of {name} is missing; these weights are of another network")
        if weights[key].shape != tensor.shape:
            raise WeightsError(
                f"{place}: {key} has the shape {tuple(weights[key].shape)}, expected {tuple(tensor.shape)} for {name}"
            )
    surplus = (
        key for key in weights if key not in wanted and not key.startswith(tuple(f"{part}." for part in ignored))
    )
    for key in surplus:
        raise WeightsError(f"{place}: unexpected {key}, not in {name}; these weights are of another network")
    network.load_state_dict({key: weights.get(key, tensor) for key, tensor in wanted.items()})


def fingerprint(network: nn.Module) -> str:
    """Digest of the network's weights.

    Args:
        network: the network.

    Returns:
        16 hexadecimal digits.

    >>> fingerprint(nn.LayerNorm(2)) == fingerprint(nn.LayerNorm(2))
    True
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
