"""What is compared: worlds that differ in one property, methods, and which methods each world needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from data_modules import stage

REPLICATES = (1, 2, 3)
TRAIN_ROWS, TEST_ROWS = 8_000, 10_000
FRACTIONS = {"train": 0.6, "calibration": 0.15, "val": 0.1}
"""Of the default splits; calibration and val are in proportion to train."""
FEW_LABELS = 1_500
"""Fewer labels than this are used with inner folds, by every method alike."""
INNER_FOLDS = "evaluation.inner_folds=3"

COMMON = (
    "dataset=custom",
    "wandb.enabled=false",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "evaluation.num_replicates=100",
)
SHARED = "model.additive.slopes=shared"
BINS = "model.encoder.bins=8"
NETWORK = ("model.fusion.dim=64", "model.fusion.num_heads=4", "loader.batch_size=256")
"""Beside experiments/tuned.yaml: the size of the network."""
EPOCHS, PRETRAIN_EPOCHS = 12, 8
LARGE, LARGE_EPOCHS = 20_000, 8
"""From as many train rows a network needs fewer epochs for at least as many steps."""
CANONICAL = "model.additive.canonical=2"
PRETRAINED = (f"objective.pretrain_epochs={PRETRAIN_EPOCHS}", f"trainer.max_epochs={PRETRAIN_EPOCHS + EPOCHS}")


@dataclass(frozen=True, kw_only=True)
class Method:
    """Something that is trained.

    Attributes:
        layers: of experiments/, laid over custom.
        words: settings.
        components: its own `model.encoder.components`; None is that of the cell, and 'unread' where it has none.
        network: whether it reads the words of a cell for networks.
        version: of what its settings do not show; 2: a table in bins has straight columns beside them; 3: a network
            has a strength; 4: these columns are standardised.
    """

    layers: str
    words: tuple[str, ...] = ()
    components: int | str | None = None
    network: bool = False
    version: int = 2


def _full(*words: str, layer: str = "", components: int | None = None) -> Method:
    """The full method, with a layer of experiments/ablations/ and further words."""
    layers = ",".join(("tuned", f"ablations/{layer}")) if layer else "tuned"
    return Method(layers=layers, words=(*NETWORK, *words), components=components, network=True, version=4)


def _regression(*words: str) -> Method:
    return Method(layers="baselines/logistic_regression", words=words, version=4)


METHODS = {
    "full": _full(),
    "no_conditioning": _full(layer="no_conditioning"),
    "no_reconstruction": _full(layer="no_reconstruction"),
    "no_contrast": _full(layer="no_contrast"),
    "no_rectifier": _full(layer="no_rectifier"),
    "no_additive": _full(layer="no_additive"),
    "no_canonical": _full(layer="no_canonical"),
    "no_piecewise": _full("model.encoder.bins=0"),
    "components_only": _full(components=8),
    "pretrained": _full(*PRETRAINED),
    "canonical_regression": _regression(BINS, SHARED, CANONICAL),
    "linear": replace(_regression("model.encoder.bins=0", SHARED), version=2),
    "piecewise": _regression(BINS, SHARED),
    "products": _regression(BINS, "model.additive.slopes=presence"),
    "hierarchical": _regression(BINS, "model.additive.slopes=pattern"),
    "submodels": Method(layers="baselines/pattern_submodels", words=(BINS,), version=4),
    "trees": Method(layers="baselines/boosted_trees", components="unread", version=1),
}
"""Name -> method."""
BASELINES = {
    "linear": "linear regression",
    "piecewise": "piecewise regression",
    "products": "presence products",
    "hierarchical": "hierarchical slopes",
    "submodels": "one regression per pattern",
    "trees": "boosted trees",
}
"""Fair baselines, and their names on the page."""
BEST, ORACLE, BEFORE = "best", "oracle", "before_rectifier"
"""The best baseline on val; the simulator's optimum; the full method's output before its rectifier."""
PAIRS = {
    "conditioning": ("full", "no_conditioning"),
    "reconstruction": ("full", "no_reconstruction"),
    "contrast": ("full", "no_contrast"),
    "rectifier": ("full", "no_rectifier"),
    "additive": ("full", "no_additive"),
    "piecewise": ("full", "no_piecewise"),
    "columns": ("full", "components_only"),
    "pretraining": ("pretrained", "full"),
    "canonical": ("full", "no_canonical"),
    "axes": ("canonical_regression", "piecewise"),
    "fusion": ("full", "piecewise"),
    "lead": ("full", BEST),
    "trees": ("trees", "linear"),
    "headroom": (ORACLE, "linear"),
    "gap": (ORACLE, "full"),
}
"""Part -> the methods whose difference it is."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A world, its size, and what is trained in it.

    Attributes:
        knobs: settings of the simulator that are not at their defaults.
        train_rows: number of train rows.
        ablations: methods beside the full one and the baselines.
        components: `model.encoder.components` of every method that reads it.
        words: further settings of networks.
    """

    knobs: Mapping[str, float] = field(default_factory=dict)
    train_rows: int = TRAIN_ROWS
    ablations: tuple[str, ...] = ()
    components: int = 8
    words: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods of the cell that are trained."""
        return ("full", *self.ablations, *BASELINES)

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """Part -> the two methods, of the parts that are measured in the cell."""
        known = {*self.methods, BEST, ORACLE, *([BEFORE] if AT_TARGET in self.words else [])}
        pairs = PAIRS | ({"rectifier": ("full", BEFORE)} if AT_TARGET in self.words else {})
        return {part: both for part, both in pairs.items() if known.issuperset(both)}

    def cohort(self, replicate: int) -> str:
        """Name of the folder of its cohort, which changes with the world."""
        return f"cohort-{stage.digest([dict(self.knobs), self.train_rows, TEST_ROWS, replicate, WRITER])}"

    @property
    def has_few_labels(self) -> bool:
        """Whether inner folds choose."""
        return self.train_rows * self.knobs.get("label_share", 1.0) < FEW_LABELS

    def rows_of(self, split: str) -> int:
        """Number of rows of a split."""
        if split == "test":
            return TEST_ROWS
        return round(self.train_rows * FRACTIONS[split] / FRACTIONS["train"])


WRITER = 1
"""Version of `cohorts.py`."""
PARTS = ("no_conditioning", "no_reconstruction", "no_contrast", "no_rectifier")
ALL = (*PARTS, "no_additive", "no_piecewise")
HIDDEN = ("no_reconstruction", "no_contrast")
AXES = ("no_canonical", "canonical_regression")
AT_TARGET = "rectifier.loss_offset=false"
"""With it the full method is trained as without a rectifier, so that its output before the rectifier is that ablation.
With τ⁰, which calibration rows fit, train would be fitted to the target."""


def _nuisance(shared: float, label_share: float) -> Cell:
    knobs = {"shared": shared, "nuisance": 2.5, "label_share": label_share}
    return Cell(knobs=knobs, components=0, ablations=(*(HIDDEN if label_share == 1 else ()), "pretrained", *AXES))


def _shift(strength: float) -> Cell:
    return Cell(knobs={"shift": strength}, words=(AT_TARGET,))


CELLS = {
    "base": Cell(ablations=(*ALL, *AXES)),
    "base-2k": Cell(train_rows=2_000, ablations=AXES),
    "base-30k": Cell(train_rows=30_000),
    "base-60k": Cell(train_rows=60_000),
    "nu-0.4": Cell(knobs={"nu": 0.4}, ablations=("no_piecewise",)),
    "nu-0.8": Cell(knobs={"nu": 0.8}, ablations=(*PARTS, "no_piecewise")),
    "kappa-0.4": Cell(knobs={"kappa": 0.4}),
    "kappa-0.7": Cell(knobs={"kappa": 0.7}, ablations=PARTS),
    "kappa-0.7-2k": Cell(knobs={"kappa": 0.7}, train_rows=2_000),
    "kappa-0.7-30k": Cell(knobs={"kappa": 0.7}, train_rows=30_000),
    "pi-0.5": Cell(knobs={"pi": 0.5}, ablations=("no_conditioning",)),
    "pi-0.9": Cell(knobs={"pi": 0.9}, ablations=PARTS),
    "pi-0.9-30k": Cell(knobs={"pi": 0.9}, train_rows=30_000, ablations=("no_conditioning",)),
    "phi-1.5": Cell(knobs={"phi": 1.5}, components=0, ablations=("components_only",)),
    "phi-2.5": Cell(knobs={"phi": 2.5}, components=0, ablations=("components_only",)),
    "shared-fewest": _nuisance(1.0, 0.02),
    "shared-few": _nuisance(1.0, 0.05),
    "shared-some": _nuisance(1.0, 0.2),
    "shared-all": _nuisance(1.0, 1.0),
    "unshared-few": _nuisance(0.0, 0.05),
    "shift-0": _shift(0.0),
    "shift-0.5": _shift(0.5),
    "shift-1": _shift(1.0),
}
"""Name -> cell."""


def words(cell: str, method: str, replicate: int, folder: str) -> list[str]:
    """The command line of a run.

    Args:
        cell: its name.
        method: its name.
        replicate: seed of the subjects and of the training.
        folder: of the cell's replicate.

    Returns:
        Words for `mmnar train`.

    >>> words("base", "trees", 2, "out")[-2:]
    ['paths.runs=out/runs/trees', 'seed=2']
    """
    world, chosen = CELLS[cell], METHODS[method]
    own = list(chosen.words)
    if chosen.network:
        epochs = LARGE_EPOCHS if world.train_rows >= LARGE else EPOCHS
        own = [f"trainer.max_epochs={epochs}", *own, *world.words]
    if chosen.components != "unread":
        components = world.components if chosen.components is None else chosen.components
        own.append(f"model.encoder.components={components}")
    own += [INNER_FOLDS] if world.has_few_labels else []
    cohort = world.cohort(replicate)
    places = [f"paths.cohort={folder}/{cohort}", f"paths.data={folder}/data", f"paths.runs={folder}/runs/{method}"]
    return [f"experiment=custom,{chosen.layers}", *COMMON, *own, *places, f"seed={replicate}"]
