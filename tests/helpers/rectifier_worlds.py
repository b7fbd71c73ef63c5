"""Rows with an effect of the pattern, for tests of what estimates it."""

import numpy as np
from scipy.special import expit

from mmnar_lightning.rectifier.estimate import Minimum

MODALITIES = np.array([bin(pattern).count("1") for pattern in range(8)])
MINIMUM = Minimum(rows=20, class_rows=5)


def drawn(seed, num_subjects=400, effect=0.7, share=None, max_rows=3):
    """(logit, label, subject, pattern) of subjects with up to three rows, over the patterns of three modalities."""
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(num_subjects), generator.integers(1, max_rows + 1, num_subjects))
    pattern = generator.choice(8, len(subject), p=share)
    tau = effect * generator.standard_normal(8)
    logit = -1 + generator.standard_normal(len(subject)) + 0.5 * generator.standard_normal(num_subjects)[subject]
    label = (generator.random(len(subject)) < expit(logit + tau[pattern])).astype(float)
    return logit, label, subject, pattern


def as_dicts(logit, label, subject, pattern):
    names = ("logit", "label", "subject", "pattern")
    return [dict(zip(names, row, strict=True)) for row in zip(logit, label, subject, pattern, strict=True)]
