"""Subject-level splits and folds by salted hash: no person is in two of them, whatever the cohort holds."""

import hashlib
import math
from dataclasses import dataclass
from itertools import accumulate

import polars as pl

from data_modules.vocabulary import SPLITS


@dataclass(kw_only=True)
class SplitConfig:
    """Fractions of the subjects, and the salt that draws them."""

    train: float = 0.60
    """Fraction whose rows fit the weights, scalers, imputers and vocabularies."""
    calibration: float = 0.15
    """Fraction kept for the rectifier."""
    val: float = 0.10
    """Fraction for early stopping and sweeps."""
    test: float = 0.15
    """Fraction read once, by `evaluate`."""
    num_folds: int = 5
    """Subject-level folds, for cross-fitting and small cohorts."""
    salt: str = "mmnar"
    """Another salt draws other splits."""

    def __post_init__(self) -> None:
        """Refuse fractions that are negative or do not add up to one."""
        fractions = self.fractions
        if min(fractions.values()) < 0 or not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
            raise ValueError(f"cohort.split: the fractions {fractions} must be at least 0 and add up to 1")
        if self.train <= 0:
            raise ValueError("cohort.split.train must be above 0: nothing could be fitted")
        if self.num_folds < 2:
            raise ValueError(f"cohort.split.num_folds={self.num_folds} must be at least 2")

    @property
    def fractions(self) -> dict[str, float]:
        """Split -> fraction, in the order of `SPLITS`."""
        return {split: float(getattr(self, split)) for split in SPLITS}


def unit_interval(subject_id: str, salt: str) -> float:
    """A number in [0, 1) that depends on the subject and the salt alone.

    >>> 0 <= unit_interval("10000032", "mmnar") < 1
    True
    """
    digest = hashlib.blake2b(f"{salt}:{subject_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def draw(subject_ids: pl.Series, config: SplitConfig) -> pl.DataFrame:
    """Draw a split and a fold for every subject.

    Args:
        subject_ids: text, any number of times each.
        config: fractions, salt and number of folds.

    Returns:
        One row a subject: `subject_id`, `split`, `fold`. Python hashes each subject once, so that the draw
        does not depend on the version of any library.

    >>> draw(pl.Series(["a", "b", "a"]), SplitConfig()).columns
    ['subject_id', 'split', 'fold']
    """
    subjects = subject_ids.unique().sort()
    position = pl.Series([unit_interval(name, config.salt) for name in subjects], dtype=pl.Float64)
    turn = pl.Series([unit_interval(name, f"{config.salt}/fold") for name in subjects], dtype=pl.Float64)
    *bounds, _ = accumulate(config.fractions.values())
    split = sum(((position >= bound).cast(pl.Int8) for bound in bounds), pl.zeros(len(subjects), pl.Int8, eager=True))
    return pl.DataFrame(
        {
            "subject_id": subjects,
            "split": split.replace_strict(range(len(SPLITS)), SPLITS, return_dtype=pl.String),
            "fold": (turn * config.num_folds).cast(pl.Int8),
        }
    )
