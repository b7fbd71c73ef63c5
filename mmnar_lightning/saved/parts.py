"""What is stored of a model: its tensors, and the fixed maps of its inputs."""

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from mmnar_lightning.baselines.inputs import BaselineInputs
from mmnar_lightning.baselines.registry import Estimator
from mmnar_lightning.baselines.stored import Storable, Tensors, prefixed
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.encoders import ArrayEncoder
from mmnar_lightning.nn.inputs import InputMap, InputMaps
from mmnar_lightning.rectifier.rectifier import Rectifier

OF_SUBJECTS = ("fitted_subjects", "fingerprint")
"""Buffers of a rectifier that show who it was fitted on; they are not stored."""
NETWORK, ESTIMATOR, LOSS_OFFSET, RECTIFIER, MAPS = "network/", "estimator/", "loss_offset/", "rectifier/", "maps/"
"""Prefixes of the names of tensors."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a model that its cohort does not hold.

    Attributes:
        tensors: name in weights.safetensors -> tensor.
        maps: modality -> the fixed map of its vector.
        beside: modalities whose own columns a linear model reads beside their map.
    """

    tensors: Tensors
    maps: InputMaps
    beside: Collection[str]


def of_module(module: MMNARModule) -> Parts:
    """The parts of a network.

    Args:
        module: with its best weights and, if it has one, its fitted rectifier.

    Returns:
        The parts.
    """
    maps, beside = inputs_of(module.model)
    tensors = prefixed(module.model.state_dict(), NETWORK)
    tensors |= prefixed(_without_subjects(module.loss_offset), LOSS_OFFSET)
    tensors |= prefixed(_without_subjects(module.rectifier), RECTIFIER)
    return Parts(tensors=tensors | _tensors_of(maps), maps=maps, beside=beside)


def of_estimator(estimator: Estimator, inputs: BaselineInputs) -> Parts:
    """The parts of a fitted estimator.

    Args:
        estimator: fitted.
        inputs: that it was built from.

    Returns:
        The parts.

    Raises:
        SavedModelError: if it has no methods `store` and `restore`.
    """
    if not isinstance(estimator, Storable):
        raise SavedModelError(
            f"{type(estimator).__name__} has no methods `store` and `restore` (docs/baselines.md), so it cannot "
            "predict without its cohort"
        )
    tensors = prefixed(estimator.store(), ESTIMATOR) | _tensors_of(inputs.maps)
    return Parts(tensors=tensors, maps=inputs.maps, beside=inputs.beside)


def inputs_of(model: nn.Module) -> tuple[dict[str, InputMap], set[str]]:
    """Find the fixed maps of a network's inputs.

    Args:
        model: any network of this project.

    Returns:
        Modality -> its map; and the modalities whose own columns an additive head reads beside theirs.
    """
    maps: dict[str, InputMap] = {}
    beside: set[str] = set()
    for place, part in model.named_modules():
        if isinstance(part, ArrayEncoder) and part.mapped is not None:
            maps[place.rpartition(".")[2].removesuffix("_encoder")] = part.mapped
        if isinstance(part, AdditiveHead):
            maps |= {name.removesuffix("_map"): own for name, own in part.maps.items()}  # type: ignore[misc]  # ModuleDict is not generic
            beside |= set(part.beside)
    return maps, beside


def _tensors_of(maps: InputMaps) -> Tensors:
    found: Tensors = {}
    for name, own in maps.items():
        found |= prefixed(own.state_dict(), f"{MAPS}{name}/")
    return found


def _without_subjects(rectifier: Rectifier | None) -> Tensors:
    if rectifier is None:
        return {}
    return {name: value for name, value in rectifier.state_dict().items() if name not in OF_SUBJECTS}
