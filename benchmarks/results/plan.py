"""What is compared: simulated settings, methods, and the settings that each method is tuned over."""

from dataclasses import dataclass

SETTINGS = {
    "rho 0": {"rho": 0.0},
    "rho 1": {"rho": 1.0},
    "rho 2": {"rho": 2.0},
    "drawn a": {
        "gamma": 0.12, "tau": 0.5, "calendar": 0.31, "note_rate": 0.84, "image_rate": 0.2, "report_rate": 0.43,
    },
    "drawn b": {
        "gamma": 0.6, "tau": 0.56, "calendar": 0.47, "note_rate": 0.72, "image_rate": 0.48, "report_rate": 0.76,
    },
    "drawn c": {
        "gamma": 0.75, "tau": 0.59, "calendar": 0.14, "note_rate": 0.75, "image_rate": 0.2, "report_rate": 0.79,
    },
}  # fmt: skip
"""Name -> knobs of the simulator; the drawn ones were drawn once, uniformly, before any method was run on them."""

SEEDS = (1, 2, 3, 4, 5)
"""Of the releases that are scored."""
TUNING = ("rho 1", 100)
"""Setting and seed of the release that every method is tuned on; it is not scored."""
SUBJECTS = 11_200
"""Of a release; about 10,000 reach the landmark."""

COMMON = (
    "simulate.images=false",
    "embed.text.encoder=hashed_ngrams",
    "embed.image.encoder=release",
    "wandb.enabled=false",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "evaluation.num_replicates=100",
)
NETWORK = ("trainer.max_epochs=8", "trainer.patience=8")


@dataclass(frozen=True)
class Method:
    """Something that is trained.

    Attributes:
        layer: of experiments/, laid over mimic.
        words: settings of every trial.
        trials: settings of each tuning trial.
        tuned_as: the method whose chosen settings it takes; empty is its own.
    """

    layer: str
    words: tuple[str, ...]
    trials: tuple[tuple[str, ...], ...] = ()
    tuned_as: str = ""


def _ablation(name: str, *words: str) -> Method:
    return Method(f"tuned,ablations/{name}", words, tuned_as="full")


METHODS = {
    "full": Method(
        "tuned",
        (),
        (
            ("model.encoder.components=8",),
            ("model.encoder.components=16",),
            ("model.encoder.components=8", "optim.lr=2e-3"),
            ("model.encoder.components=8", "model.additive.slopes=shared"),
        ),
    ),
    "late_fusion": Method(
        "baselines/late_fusion",
        NETWORK,
        (
            ("model.encoder.components=8",),
            ("model.encoder.components=8", "baseline.late_fusion.version=concatenation"),
            ("model.encoder.components=16", "baseline.late_fusion.version=concatenation"),
            (
                "model.encoder.components=8",
                "baseline.late_fusion.version=concatenation",
                "baseline.late_fusion.dropout=0.3",
                "optim.lr=5e-4",
            ),
        ),
    ),
    "mask_only": Method(
        "baselines/mask_only", NETWORK, ((), ("optim.lr=5e-4",), ("optim.lr=1e-3",), ("optim.lr=3e-3",))
    ),
    "boosted_trees": Method(
        "baselines/boosted_trees",
        (),
        (
            ("baseline.boosted_trees.num_components=8",),
            ("baseline.boosted_trees.num_components=32",),
            ("baseline.boosted_trees.num_components=8", "baseline.boosted_trees.max_leaf_nodes=4"),
            (
                "baseline.boosted_trees.num_components=8",
                "baseline.boosted_trees.max_leaf_nodes=4",
                "baseline.boosted_trees.learning_rate=0.02",
            ),
        ),
    ),
    "logistic_regression": Method(
        "baselines/logistic_regression",
        (),
        tuple((f"model.encoder.components={count}",) for count in (4, 8, 16, 32)),
    ),
    "no_rectifier": _ablation("no_rectifier"),
    "no_rectified_loss": _ablation("no_rectified_loss"),
    "no_reconstruction": _ablation("no_reconstruction"),
    "no_contrast": _ablation("no_contrast"),
    "no_assignment": _ablation("no_assignment"),
    "no_conditioning": _ablation("no_conditioning"),
    "no_additive": _ablation("no_additive"),
}
"""Name -> method; every one that is tuned has the same number of trials."""
BASELINES = ("late_fusion", "boosted_trees", "mask_only", "logistic_regression")
ABLATIONS = tuple(name for name, method in METHODS.items() if method.tuned_as)


def words(method: str, setting: str, seed: int, chosen: tuple[str, ...], folder: str) -> list[str]:
    """The command line of a run.

    >>> words("mask_only", "rho 1", 3, (), "out")[0]
    'experiment=mimic,baselines/mask_only'
    """
    layer = METHODS[method].layer
    knobs = [f"simulate.{name}={value}" for name, value in SETTINGS[setting].items()]
    drawn = [f"simulate.seed={seed}", f"simulate.subjects={SUBJECTS}", f"seed={seed}"]
    unread = METHODS[METHODS[method].tuned_as or method].trials
    own = [word for word in (*METHODS[method].words, *chosen) if not _undone(method, word)]
    assert chosen == () or chosen in unread
    return [f"experiment=mimic,{layer}", f"paths.data={folder}/data", *COMMON, *knobs, *drawn, *own]


def _undone(method: str, word: str) -> bool:
    """Whether a setting is what an ablation takes away."""
    taken = {"no_additive": "model.additive.", "no_rectifier": "rectifier.", "no_rectified_loss": "rectifier.start"}
    return method in taken and word.startswith(taken[method])
