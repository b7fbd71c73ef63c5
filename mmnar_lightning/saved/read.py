"""Reads a model folder; no code that it names is imported, and nothing is unpickled."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from data_modules import stage
from data_modules.features.store import Statistics
from data_modules.vocabulary import ARRAY_KINDS
from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.baselines.folded import FoldedEstimator
from mmnar_lightning.baselines.inputs import BaselineInputs
from mmnar_lightning.baselines.registry import BASELINES, EstimatorBaseline, NetworkBaseline
from mmnar_lightning.baselines.stored import Storable, below
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.trainable import item_parts
from mmnar_lightning.ensemble import FoldEnsemble
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import ModelConfig
from mmnar_lightning.nn.inputs import InputMap, PiecewiseLinear, Projection
from mmnar_lightning.nn.weights import WeightsError, load_weights, read_weights
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.saved.description import AGAIN, WEIGHTS, Description, SavedModelError
from mmnar_lightning.saved.model import FittedEstimator, Ranges, SavedModel
from mmnar_lightning.saved.parts import ESTIMATOR, LOSS_OFFSET, MAPS, NETWORK, OF_SUBJECTS, RECTIFIER
from mmnar_lightning.saved.settings import typed


def load(path: Path | str) -> SavedModel:
    """Load a stored model.

    Args:
        path: a model folder, or the folder of a run that has one.

    Returns:
        The model, on the CPU, ready to predict.

    Raises:
        SavedModelError: if the folder is damaged, of another version, or of a baseline of another package.

    """
    folder = Path(path)
    folder = folder / "model" if (folder / "model").is_dir() else folder
    described = Description.load(folder)
    stage.verify(folder, AGAIN)
    tensors = read_weights(folder / WEIGHTS)
    try:
        return _assembled(folder, described, tensors)
    except (KeyError, WeightsError) as error:
        raise SavedModelError(f"{folder / WEIGHTS} does not fit model.json ({error}); write it again") from error


def _assembled(folder: Path, described: Description, tensors: dict[str, Tensor]) -> SavedModel:
    place = str(folder / WEIGHTS)
    if described.kind == "network":
        network = _network(described, tensors)
        load_weights(network, below(tensors, NETWORK), place)
    else:
        network = _estimator(described, tensors)
    config = typed(RectifierConfig, described.settings["rectifier"])
    rectifiers = {}
    for name, prefix in (("loss_offset", LOSS_OFFSET), ("rectifier", RECTIFIER)):
        own = below(tensors, prefix)
        rectifiers[name] = _rectifier(described, config, own, place) if own else None
    statistics = {
        name: Statistics(*(tensors[f"statistics/{name}/{part}"].numpy() for part in ("mean", "scale")))
        for name in described.names
        if f"statistics/{name}/mean" in tensors
    }
    ranges = {
        name: Ranges(tensors[f"range/{name}/low"], tensors[f"range/{name}/high"])
        for name in described.names
        if f"range/{name}/low" in tensors
    }
    return SavedModel(folder, described, network.eval(), statistics, ranges, **rectifiers)


def _network(described: Description, tensors: dict[str, Tensor]) -> nn.Module:
    """The network with new weights."""
    count = described.inner_folds * described.inner_repeats or 1
    maps = _maps(described, tensors)
    members = [_member(described, maps) for _ in range(count)]
    return FoldEnsemble(members, described.inner_folds) if described.inner_folds else members[0]


def _member(described: Description, maps: dict[str, InputMap]) -> nn.Module:
    inputs, baseline = _inputs(described, maps), typed(BaselineConfig, described.settings["baseline"])
    if baseline.name != "none":
        found = _own(baseline.name)
        assert isinstance(found, NetworkBaseline), "model.json says so"
        return found.build(inputs, baseline)
    return MMNARModel(
        inputs.modalities,
        len(described.tasks),
        typed(ModelConfig, described.settings["model"]),
        auxiliary=described.auxiliary,
        maps=maps,
        items=inputs.items,
        patterns=described.patterns,
        beside=inputs.beside,
    )


def _estimator(described: Description, tensors: dict[str, Tensor]) -> FittedEstimator:
    """The fitted estimator."""
    baseline = typed(BaselineConfig, described.settings["baseline"])
    found = _own(baseline.name)
    assert isinstance(found, EstimatorBaseline), "model.json says so"
    build = partial(found.build, _inputs(described, _maps(described, tensors)), baseline)
    seed, folds = int(described.settings["seed"]), described.inner_folds
    estimator = FoldedEstimator(build, described.tasks, folds, seed) if folds else build(seed)
    assert isinstance(estimator, Storable), "only such an estimator is stored"
    estimator.restore(below(tensors, ESTIMATOR))
    return FittedEstimator(estimator)


def _own(name: str) -> NetworkBaseline | EstimatorBaseline:
    """A baseline of this project."""
    if name not in BASELINES:
        raise SavedModelError(
            f"baseline.name={name}: a model folder does not import code of other packages; build the baseline "
            "yourself and give it the tensors of weights.safetensors"
        )
    return BASELINES[name]


def _inputs(described: Description, maps: dict[str, InputMap]) -> BaselineInputs:
    settings, modalities = described.settings, [entry.modality for entry in described.modalities]
    embed = typed(EmbedConfig, settings["embed"])
    return BaselineInputs(
        modalities=modalities,
        tasks=described.tasks,
        prior=torch.zeros(len(described.tasks)),
        maps=maps,
        items={entry.name: item_parts(entry, embed) for entry in modalities if entry.kind not in ARRAY_KINDS},
        beside=[entry.name for entry in described.modalities if entry.beside],
        additive=typed(ModelConfig, settings["model"]).additive,
    )


def _maps(described: Description, tensors: dict[str, Tensor]) -> dict[str, InputMap]:
    return {
        entry.name: _map(entry.map, below(tensors, f"{MAPS}{entry.name}/"), entry.width)
        for entry in described.modalities
        if entry.map
    }


def _map(kind: str, state: dict[str, Tensor], width: int) -> InputMap:
    if kind == "projection":
        return Projection(state["axes"])
    restored = PiecewiseLinear.restored(state, width)
    load_weights(restored, state, WEIGHTS)
    return restored


def _rectifier(described: Description, config: RectifierConfig, state: dict[str, Tensor], place: str) -> Rectifier:
    rectifier = Rectifier(len(described.tasks), len(described.modalities), described.patterns, 1, config)
    empty = {name: value for name, value in rectifier.state_dict().items() if name in OF_SUBJECTS}
    load_weights(rectifier, {**state, **empty}, place)
    return rectifier
