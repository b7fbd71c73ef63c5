"""What a stored network is built from; no code that it names is imported."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from data_modules.errors import UserError
from data_modules.settings import refuse_interpolation
from data_modules.vocabulary import ARRAY_KINDS, Modality
from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.baselines.inputs import BaselineInputs
from mmnar_lightning.baselines.registry import BASELINES, EstimatorBaseline, NetworkBaseline
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.trainable import item_parts
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import ModelConfig
from mmnar_lightning.nn.inputs import InputMap, InputMaps, PiecewiseLinear, Projection
from mmnar_lightning.nn.weights import load_weights

Config = TypeVar("Config")


class SavedModelError(UserError):
    """A stored model cannot be written, read or used for these rows."""


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """Everything that determines a network but its tensors.

    Attributes:
        settings: of the run, as its checkpoints hold them.
        tasks: T names.
        modalities: M modalities.
        patterns: pattern ids of the cohort.
        auxiliary: the trained terms among reconstruction, contrast and assignment.
        beside: modalities whose own columns an additive head reads beside their map.
        inner_folds: K.
        inner_repeats: R.
    """

    settings: Mapping[str, Any]
    tasks: Sequence[str]
    modalities: Sequence[Modality]
    patterns: Sequence[int]
    auxiliary: Collection[str]
    beside: Collection[str]
    inner_folds: int
    inner_repeats: int

    def network(self, maps: InputMaps) -> nn.Module:
        """Build the network with new weights.

        Args:
            maps: modality -> the fixed map of its vector.

        Returns:
            The network; with inner folds one for each fold and repeat.
        """
        members = [self._member(maps) for _ in range(self.inner_folds * self.inner_repeats or 1)]
        return FoldEnsemble(members, self.inner_folds) if self.inner_folds else members[0]

    def inputs(self, maps: InputMaps) -> BaselineInputs:
        """What a baseline is built from.

        Args:
            maps: modality -> the fixed map of its vector.

        Returns:
            The inputs, with a prior of 0, which the weights replace.
        """
        embed = typed(EmbedConfig, self.settings["embed"])
        return BaselineInputs(
            modalities=self.modalities,
            tasks=self.tasks,
            prior=torch.zeros(len(self.tasks)),
            maps=maps,
            items={entry.name: item_parts(entry, embed) for entry in self.modalities if entry.kind not in ARRAY_KINDS},
            beside=self.beside,
            additive=typed(ModelConfig, self.settings["model"]).additive,
        )

    def _member(self, maps: InputMaps) -> nn.Module:
        inputs, baseline = self.inputs(maps), typed(BaselineConfig, self.settings["baseline"])
        if baseline.name != "none":
            found = own_baseline(baseline.name)
            assert isinstance(found, NetworkBaseline), "the stored model says so"
            return found.build(inputs, baseline)
        return MMNARModel(
            self.modalities,
            len(self.tasks),
            typed(ModelConfig, self.settings["model"]),
            auxiliary=self.auxiliary,
            maps=maps,
            items=inputs.items,
            patterns=self.patterns,
            beside=self.beside,
        )


def own_baseline(name: str) -> NetworkBaseline | EstimatorBaseline:
    """Find a baseline of this project.

    Args:
        name: `baseline.name`.

    Returns:
        The baseline.

    Raises:
        SavedModelError: for one of another package.
    """
    if name not in BASELINES:
        raise SavedModelError(
            f"baseline.name={name}: loading a stored model does not import code of other packages; build the baseline "
            "yourself and give it the stored tensors"
        )
    return BASELINES[name]


def restored_map(state: Mapping[str, Tensor], width: int, place: str) -> InputMap:
    """Build the map that has a state dict.

    Args:
        state: of a projection or of bins.
        width: columns that the map reads.
        place: names the state in errors.

    Returns:
        The map.
    """
    if "axes" in state:
        return Projection(state["axes"])
    restored = PiecewiseLinear.restored(state, width)
    load_weights(restored, state, place)
    return restored


def maps_within(state: Mapping[str, Tensor], modalities: Sequence[Modality], place: str) -> dict[str, InputMap]:
    """Find the maps in the state dict of a network, whose parts share them.

    Args:
        state: of the network.
        modalities: of the network.
        place: names the state in errors.

    Returns:
        Modality -> its map.

    >>> own = [Modality(name="labs", kind="table", width=3)]
    >>> list(maps_within({"encoders.labs_encoder.mapped.axes": torch.ones(3, 2)}, own, ""))
    ['labs']
    """
    found: dict[str, InputMap] = {}
    for entry in modalities:
        name = re.compile(rf"(?:^|.*\.){re.escape(entry.name)}_(?:encoder\.mapped|map)\.(\w+)")
        own = {match[1]: value for key, value in state.items() if (match := name.fullmatch(key))}
        if own:
            found[entry.name] = restored_map(own, entry.width, place)
    return found


def typed(kind: type[Config], plain: Mapping[str, Any]) -> Config:
    """Build a settings class; no value may refer to another, or to the environment.

    Args:
        kind: dataclass.
        plain: its values, nested.

    Returns:
        An instance.

    Raises:
        SavedModelError: for an interpolation, and for settings or values that the class does not know.

    >>> from mmnar_lightning.nn.config import EncoderConfig
    >>> typed(EncoderConfig, {"bins": 8})
    EncoderConfig(components=0, bins=8)
    """
    try:
        refuse_interpolation(plain, "the stored settings")
        found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), plain))
    except OmegaConfBaseException as error:
        raise SavedModelError(f"the model has settings that this version does not know ({error})") from error
    except UserError as error:
        raise SavedModelError(str(error)) from error
    assert isinstance(found, kind)
    return found
