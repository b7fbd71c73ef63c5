"""The registry of the databases from which cohorts are built.

A database is a package with two modules: `config`, whose `CohortConfig` has the settings of its cohorts and which
imports no heavy library, and `spec`, whose `SPEC` defines how cohorts are built. Other packages register a database by
an entry point of the group `mmnar.databases`: `<dataset> = "<package>"`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_modules.cohorts.config import CohortConfig
    from data_modules.cohorts.spec import DatabaseSpec

OWN = {"mimic": "data_modules.databases.mimic_iv", "eicu": "data_modules.databases.eicu"}
"""Dataset -> package of the databases of this project."""
MEDS = "meds"
"""The dataset of MEDS data, whose modalities a file of the user's declares: it has settings, and no `DatabaseSpec`."""
HARMONISED = {"mimic": "data_modules.databases.harmonised.mimic_iv", "eicu": "data_modules.databases.harmonised.eicu"}
"""Dataset -> module with its `MODALITIES` that have the same columns in several databases."""
GROUP = "mmnar.databases"
"""Group of the entry points of other databases."""


def packages() -> dict[str, str]:
    """Dataset -> package of all installed databases."""
    return {**{entry.name: entry.value for entry in _registered()}, **OWN, MEDS: "data_modules.databases.meds"}


@cache
def _registered() -> tuple[EntryPoint, ...]:
    """The entry points of other databases; finding them reads a file of every installed package."""
    return tuple(entry_points(group=GROUP))


def cohort_config(dataset: str) -> type[CohortConfig]:
    """The settings class of the cohorts of a dataset."""
    found: type[CohortConfig] = import_module(f"{packages()[dataset]}.config").CohortConfig
    return found


def database(dataset: str) -> DatabaseSpec:
    """Return the specification of a dataset, with its harmonised modalities.

    >>> sorted(database("eicu").modalities)[:3]
    ['admission_diagnosis', 'apache', 'apache_conditions']
    """
    spec: DatabaseSpec = import_module(f"{packages()[dataset]}.spec").SPEC
    if dataset not in HARMONISED:
        return spec
    shared = import_module(HARMONISED[dataset]).MODALITIES
    return replace(spec, modalities={**spec.modalities, **shared})
