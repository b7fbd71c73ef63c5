"""Settings of the baselines."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from data_modules.errors import UserError
from data_modules.settings import check_minima, read_when

NAMES = (
    "none", "late_fusion", "mask_only", "boosted_trees", "logistic_regression", "pattern_submodels", "modality_stack",
    "published_score",
    "shaspec", "drfuse", "mmtm", "medfuse", "cm_ae",
    "tabm",
    "flex_moe",
    "m3care",
    "muse",
    "grape",
)  # fmt: skip
"""Baselines of this project, and the model itself."""
NUM_EXPERTS = 16
"""Experts of a mixture: one for each pattern of four modalities."""


@dataclass(kw_only=True)
class PublishedScoreConfig:
    """Published predictions of the cohort's rows."""

    name: str = "apache_iva"
    """Name of one of the published scores that the cohort holds; points without an equation are calibrated on train."""


@dataclass(kw_only=True)
class LateFusionConfig:
    """Late fusion of modalities."""

    version: Literal["weighted", "concatenation"] = "weighted"
    """`weighted`: mean of the logits of present modalities; `concatenation`: of encodings, zeros where absent."""
    dropout: float = 0.1
    """Probability of dropping a hidden unit."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.dropout < 1:
            raise UserError(f"baseline.late_fusion.dropout={self.dropout} must be in [0, 1)")


@dataclass(kw_only=True)
class BoostedTreesConfig:
    """Gradient-boosted trees, one ensemble per task."""

    learning_rate: float = 0.05
    """Shrinkage of every tree."""
    max_leaf_nodes: int = 15
    """Most leaves of a tree."""
    num_components: int = 32
    """Principal components of vectors of more than 64 floats; tables are never reduced."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_minima(self, "baseline.boosted_trees", max_leaf_nodes=2, num_components=1)
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"baseline.boosted_trees.learning_rate={self.learning_rate} must be above 0 and finite")


@dataclass(kw_only=True)
class LogisticRegressionConfig:
    """Logistic regression."""

    refit: Literal["none", "pooled", "joint"] = "none"
    """Rows of the target in the fit: `none`; `pooled`: those of its calibration split, beside the train rows; `joint`:
    likewise, and each pattern has an intercept of its own at the target."""


@dataclass(kw_only=True)
class ShaSpecConfig:
    """Shared and specific features."""

    alignment: float = 0.1
    """Weight of the distance between the shared features of the modalities of a row."""
    modality: float = 0.02
    """Weight of the cross-entropy of a classifier that predicts the modality from its specific features."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_weights(self, "baseline.shaspec", "alignment", "modality")


@dataclass(kw_only=True)
class DrFuseConfig:
    """Disentangled representations."""

    disentanglement: float = 1.0
    """Weight of the divergence between shared representations and of their overlap with the distinct ones."""
    ranking: float = 1.0
    """Weight of the ranking of attention by the loss of each token alone."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_weights(self, "baseline.drfuse", "disentanglement", "ranking")


@dataclass(kw_only=True)
class CrossModalAutoencoderConfig:
    """Cross-modal autoencoder."""

    reconstruction: float = 1.0
    """Weight of the decoding of all present modalities, beside the loss of the tasks."""
    blanking: float = 0.3
    """Probability of blanking a present modality in training, never the last one of a row."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_weights(self, "baseline.cm_ae", "reconstruction")
        if not 0 <= self.blanking < 1:
            raise UserError(f"baseline.cm_ae.blanking={self.blanking} must be in [0, 1)")


def _check_weights(config: Any, group: str, *names: str) -> None:
    """Refuse weights of loss terms that are negative or infinite."""
    for name in names:
        weight = getattr(config, name)
        if not 0 <= weight < math.inf:
            raise UserError(f"{group}.{name}={weight} must be at least 0 and finite")


@dataclass(kw_only=True)
class TabMConfig:
    """An ensemble of networks that share their weights."""

    dropout: float = 0.1
    """Probability of dropping a hidden unit."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.dropout < 1:
            raise UserError(f"baseline.tabm.dropout={self.dropout} must be in [0, 1)")


@dataclass(kw_only=True)
class FlexMoEConfig:
    """A mixture of experts with a bank for absent modalities."""

    top_k: int = 4
    """Experts of a token, of 16."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not 1 <= self.top_k < NUM_EXPERTS:
            raise UserError(f"baseline.flex_moe.top_k={self.top_k} must be from 1 to {NUM_EXPERTS - 1}")


@dataclass(kw_only=True)
class BaselineConfig:
    """The chosen baseline and the settings of each; settings of one that is neither chosen nor blended are refused."""

    name: str = "none"
    """Baseline to train in place of the model: `none` (the model itself), `late_fusion`, `mask_only`, `boosted_trees`,
    `logistic_regression`, `pattern_submodels`, `modality_stack`, `published_score`, `shaspec`, `drfuse`, `mmtm`,
    `medfuse`, `cm_ae`, `tabm`, `flex_moe`, `m3care`, `muse`, `grape`, or `package.module:Name` of another
    package."""
    settings: dict[str, Any] = field(default_factory=dict, metadata=read_when(".name has :"))
    """Keyword arguments of a baseline of another package."""
    inverse_probability: float | None = None
    """Weights train rows by the inverse probability of their missingness pattern given the modalities that are always
    present; larger weights are clipped at this quantile, 1 clips none. Null weights every row alike."""
    late_fusion: LateFusionConfig = field(default_factory=LateFusionConfig, metadata=read_when(".name = late_fusion"))
    """Late fusion."""
    boosted_trees: BoostedTreesConfig = field(
        default_factory=BoostedTreesConfig,
        metadata=read_when(".name = boosted_trees or .name = none and evaluation.blend = true"),
    )
    """Gradient-boosted trees."""
    logistic_regression: LogisticRegressionConfig = field(
        default_factory=LogisticRegressionConfig, metadata=read_when(".name = logistic_regression")
    )
    """Logistic regression."""
    published_score: PublishedScoreConfig = field(
        default_factory=PublishedScoreConfig, metadata=read_when(".name = published_score")
    )
    """Published predictions."""
    shaspec: ShaSpecConfig = field(default_factory=ShaSpecConfig, metadata=read_when(".name = shaspec"))
    """Shared and specific features."""
    drfuse: DrFuseConfig = field(default_factory=DrFuseConfig, metadata=read_when(".name = drfuse"))
    """Disentangled representations."""
    cm_ae: CrossModalAutoencoderConfig = field(
        default_factory=CrossModalAutoencoderConfig, metadata=read_when(".name = cm_ae")
    )
    """Cross-modal autoencoder."""
    tabm: TabMConfig = field(default_factory=TabMConfig, metadata=read_when(".name = tabm"))
    """An ensemble of networks that share their weights."""
    flex_moe: FlexMoEConfig = field(default_factory=FlexMoEConfig, metadata=read_when(".name = flex_moe"))
    """A mixture of experts with a bank for absent modalities."""

    def __post_init__(self) -> None:
        """Refuse a name that is neither one of this project's nor a path to another package's, and weights of nothing.

        Raises:
            UserError: with the names that there are, and for a quantile outside of its range or without a baseline.
        """
        if self.name not in NAMES and not re.fullmatch(r"[\w.]+:\w+", self.name):
            raise UserError(
                f"baseline.name={self.name}: expected one of {', '.join(NAMES)}, or package.module:Name for a baseline "
                "of another package"
            )
        quantile = self.inverse_probability
        if quantile is not None and not 0 < quantile <= 1:
            raise UserError(
                f"baseline.inverse_probability={quantile} must be a quantile above 0 and at most 1, for example 0.99, "
                "or null"
            )
        if quantile is not None and self.name == "none":
            raise UserError(
                f"baseline.inverse_probability={quantile} weights the fit of a baseline, and baseline.name=none; "
                "choose one, for example experiment=mimic,baselines/late_fusion,baselines/inverse_probability"
            )

    @property
    def refit(self) -> Literal["none", "pooled", "joint"]:
        """How rows of the target enter the fit of the chosen baseline."""
        return self.logistic_regression.refit if self.name == "logistic_regression" else "none"
