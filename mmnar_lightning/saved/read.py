"""Reads a model folder; no code that it names is imported, and nothing is unpickled."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from data_modules import stage
from data_modules.features.store import Statistics
from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.baselines.folded import FoldedEstimator
from mmnar_lightning.baselines.registry import EstimatorBaseline
from mmnar_lightning.baselines.stored import Storable, below
from mmnar_lightning.blueprint import Blueprint, SavedModelError, own_baseline, restored_map, typed
from mmnar_lightning.nn.inputs import InputMap
from mmnar_lightning.nn.weights import WeightsError, load_weights, read_weights
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.saved.description import AGAIN, WEIGHTS, Description
from mmnar_lightning.saved.model import FittedEstimator, Ranges, SavedModel
from mmnar_lightning.saved.parts import ESTIMATOR, LOSS_OFFSET, MAPS, NETWORK, OF_SUBJECTS, RECTIFIER


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
        network = _blueprint(described).network(_maps(described, tensors))
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


def _blueprint(described: Description) -> Blueprint:
    return Blueprint(
        settings=described.settings,
        tasks=described.tasks,
        modalities=[entry.modality for entry in described.modalities],
        patterns=described.patterns,
        auxiliary=described.auxiliary,
        beside=[entry.name for entry in described.modalities if entry.beside],
        inner_folds=described.inner_folds,
        inner_repeats=described.inner_repeats,
    )


def _estimator(described: Description, tensors: dict[str, Tensor]) -> FittedEstimator:
    """The fitted estimator."""
    baseline = typed(BaselineConfig, described.settings["baseline"])
    found = own_baseline(baseline.name)
    assert isinstance(found, EstimatorBaseline), "model.json says so"
    inputs = replace(_blueprint(described).inputs(_maps(described, tensors)), kind=described.task_kind)
    build = partial(found.build, inputs, baseline)
    seed, folds = int(described.settings["seed"]), described.inner_folds
    kind = described.task_kind
    estimator = FoldedEstimator(build, described.tasks, folds, seed, kind) if folds else build(seed)
    assert isinstance(estimator, Storable), "only such an estimator is stored"
    estimator.restore(below(tensors, ESTIMATOR))
    return FittedEstimator(estimator, kind)


def _maps(described: Description, tensors: dict[str, Tensor]) -> dict[str, InputMap]:
    return {
        entry.name: restored_map(below(tensors, f"{MAPS}{entry.name}/"), entry.width, WEIGHTS)
        for entry in described.modalities
        if entry.map
    }


def _rectifier(described: Description, config: RectifierConfig, state: dict[str, Tensor], place: str) -> Rectifier:
    sizes = len(described.tasks), len(described.modalities)
    rectifier = Rectifier(*sizes, described.patterns, 1, config, described.task_kind)
    empty = {name: value for name, value in rectifier.state_dict().items() if name in OF_SUBJECTS}
    load_weights(rectifier, {**state, **empty}, place)
    return rectifier
