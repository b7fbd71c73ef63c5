"""Diagnosis codes of every phenotype, which depend on the readings of a stay; only of releases that ask for them."""

import numpy as np
from scipy.special import expit

from data_modules.cohorts.icd_blocks import BLOCKS
from data_modules.simulate.frames import Int
from data_modules.simulate.latent import Array

UNCODED = 0.05
"""Share of the stays without a code."""
ICD9 = tuple(block.ranges[0][0] for block in BLOCKS)
ICD10 = tuple(block.ranges[-1][0] for block in BLOCKS)
"""A category of each block, of either revision."""


def draw(readings: Array, generator: np.random.Generator) -> tuple[Int, Int]:
    """Draw the phenotypes of stays.

    Args:
        readings: (S, 8) of the stays.
        generator: of the phenotypes.

    Returns:
        Stay and position in `BLOCKS` of each, in order.
    """
    number = np.arange(len(BLOCKS))
    intercept = -2.2 + 1.5 * np.sin(number)
    found = generator.random((len(readings), len(BLOCKS))) < expit(intercept + 0.8 * readings[:, number % 8])
    found &= generator.random((len(readings), 1)) >= UNCODED
    stay, block = np.nonzero(found)
    return stay, block
