"""The databases that cohorts can be built from: the only list of them.

A database is a package with two modules: `config`, whose `CohortConfig` holds the settings of its cohorts and which
imports nothing heavy, and `spec`, whose `SPEC` says how cohorts are built. One outside of this project is found by an
entry point of the group `mmnar.databases`: `<dataset> = "<package>"`.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_modules.cohorts.config import ReleaseCohortConfig
    from data_modules.cohorts.spec import DatabaseSpec

OWN = {"mimic": "data_modules.databases.mimic_iv", "eicu": "data_modules.databases.eicu"}
"""Dataset -> package, of the databases of this project."""
HARMONISED = {"mimic": "data_modules.databases.harmonised.mimic_iv", "eicu": "data_modules.databases.harmonised.eicu"}
"""Dataset -> module whose `MODALITIES` are recorded alike by several databases."""
GROUP = "mmnar.databases"
"""Entry points that name the packages of other databases."""


def packages() -> dict[str, str]:
    """Dataset -> package, of every database that is installed."""
    return {**{entry.name: entry.value for entry in entry_points(group=GROUP)}, **OWN}


def cohort_config(dataset: str) -> type[ReleaseCohortConfig]:
    """The class of the settings of a dataset's cohorts."""
    found: type[ReleaseCohortConfig] = import_module(f"{packages()[dataset]}.config").CohortConfig
    return found


def database(dataset: str) -> DatabaseSpec:
    """How the cohorts of a dataset are built.

    >>> sorted(database("eicu").modalities)[:3]
    ['admission_diagnosis', 'apache', 'apache_conditions']
    """
    spec: DatabaseSpec = import_module(f"{packages()[dataset]}.spec").SPEC
    if dataset not in HARMONISED:
        return spec
    shared = import_module(HARMONISED[dataset]).MODALITIES
    return replace(spec, modalities={**spec.modalities, **shared})
