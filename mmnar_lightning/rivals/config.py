"""Which rival is trained in the place of the model, and the settings of each."""

from dataclasses import dataclass, field
from typing import Literal

from mmnar_lightning.rivals.boosted_trees import BoostedTreesConfig
from mmnar_lightning.rivals.late_fusion import LateFusionConfig
from mmnar_lightning.rivals.logistic_regression import LogisticRegressionConfig
from mmnar_lightning.rivals.mask_only import MaskOnlyConfig
from mmnar_lightning.rivals.published_score import PublishedScoreConfig


@dataclass(kw_only=True)
class RivalConfig:
    """A rival; settings of another one than the chosen are refused."""

    name: Literal["none", "late_fusion", "mask_only", "boosted_trees", "logistic_regression", "published_score"] = (
        "none"
    )
    """What is trained in the place of the model; `none` is the model itself."""
    late_fusion: LateFusionConfig = field(default_factory=LateFusionConfig)
    """Late fusion."""
    mask_only: MaskOnlyConfig = field(default_factory=MaskOnlyConfig)
    """Presence alone."""
    boosted_trees: BoostedTreesConfig = field(default_factory=BoostedTreesConfig)
    """Gradient-boosted trees."""
    logistic_regression: LogisticRegressionConfig = field(default_factory=LogisticRegressionConfig)
    """Logistic regression."""
    published_score: PublishedScoreConfig = field(default_factory=PublishedScoreConfig)
    """Someone else's predictions."""
