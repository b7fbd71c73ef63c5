"""docs/databases.md lists what is declared: modalities, their tables, and the concepts of their columns."""

import re

import pytest

from data_modules.databases.eicu import concepts as eicu
from data_modules.databases.eicu import fluids as eicu_fluids
from data_modules.databases.eicu import infusions, nursing
from data_modules.databases.eicu import respiration as eicu_respiration
from data_modules.databases.eicu import scores as eicu_scores
from data_modules.databases.harmonised import concepts as harmonised
from data_modules.databases.mimic_iv import (
    coma,
    electrocardiograms,
    emergency,
    fluids,
    respiration,
    scores,
    vasoactives,
)
from data_modules.databases.mimic_iv import concepts as mimic_iv
from data_modules.databases.registry import database
from tests.helpers.paths import ROOT

HEADINGS = {"mimic": "MIMIC-IV", "eicu": "eICU"}


def names(concepts):
    return [concept.name for concept in concepts]


PANELS = {f"harmonised_{name}": names(harmonised.MIMIC_LABS[harmonised.of_panel(name)]) for name in harmonised.PANELS}
SHARED = {
    **PANELS,
    "harmonised_person": list(harmonised.PERSON_NAMES),
    "harmonised_body": list(harmonised.BODY_NAMES),
    "harmonised_vitals": names(harmonised.MIMIC_VITALS),
    "harmonised_oxygen": names(harmonised.MIMIC_OXYGEN),
    "harmonised_respiration": names(harmonised.EICU_RESPIRATION),
    "harmonised_neurology": names(harmonised.NEUROLOGY),
    "harmonised_nurse_vitals": names(harmonised.MIMIC_NURSE_VITALS),
    "harmonised_vasoactives": names(infusions.WRITTEN),
    "harmonised_infusion_rates": names(eicu.INFUSED),
    "harmonised_fluids": list(eicu_fluids.NAMES),
    "harmonised_scores": list(eicu_scores.COLUMNS),
}
NAMED = {
    "mimic": {
        **SHARED,
        "labs": names(mimic_iv.LABS),
        "vitals": names(mimic_iv.VITALS),
        "special_labs": names(mimic_iv.SPECIAL_LABS),
        "urinalysis": names(mimic_iv.URINALYSIS),
        "neurology": names(coma.WRITTEN),
        "respiration": names(respiration.RESPIRATION),
        "vasoactives": names(vasoactives.WRITTEN),
        "fluids": list(fluids.NAMES),
        "scores": list(scores.COLUMNS),
        "ed_triage": names(emergency.ED_TRIAGE),
        "ed_vitals": names(emergency.ED_VITALS),
        "ecg": names(electrocardiograms.ELECTROCARDIOGRAM),
    },
    "eicu": {
        **SHARED,
        "labs": names(eicu.LABS),
        "vitals_periodic": names(eicu.PERIODIC),
        "vitals_aperiodic": names(eicu.APERIODIC),
        "vasoactives": names(infusions.WRITTEN),
        "infusion_rates": names(eicu.INFUSED),
        "fluids": list(eicu_fluids.NAMES),
        "respiration": names(eicu_respiration.RESPIRATION),
        "neurology": names(nursing.NEUROLOGY),
        "nurse_vitals": names(nursing.NURSE_VITALS),
        "scores": list(eicu_scores.COLUMNS),
    },
}
"""Dataset -> modality -> what its columns are named for, where that is declared."""


def rows_of(dataset):
    """Modality -> act, time, tables and columns on the page."""
    text = (ROOT / "docs" / "databases.md").read_text(encoding="utf-8")
    part = text.split(f"\n## {HEADINGS[dataset]}\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in part.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in cells}


def listed(cell):
    return re.findall(r"`([^`]+)`", cell)


def tables_of(spec, name):
    """Tables that a modality needs, and those that it reads where they exist."""
    parts = [spec.modalities[part] for part in spec.modalities[name].parts or (name,)]
    needed = list(dict.fromkeys(table for part in parts for table in part.tables))
    optional = list(dict.fromkeys(table for part in parts for table in part.optional))
    return (needed, optional) if needed or optional else (list(spec.schema.core_tables), [])


@pytest.mark.parametrize("dataset", HEADINGS)
def test_every_modality_is_on_the_page_with_its_act_and_time(dataset):
    rows = rows_of(dataset)
    declared = database(dataset).modalities
    assert [name for name in declared if name in rows] == list(rows)
    assert set(rows) == set(declared)
    assert all(act and time and columns for act, time, _, columns in rows.values())


@pytest.mark.parametrize("dataset", HEADINGS)
def test_the_tables_on_the_page_are_those_that_are_read(dataset):
    spec = database(dataset)
    for name, (_, _, cell, _) in rows_of(dataset).items():
        optional = re.findall(r"\(`([^`]+)`\)", cell)
        needed = [table for table in listed(cell) if table not in optional]
        assert (needed, optional) == tables_of(spec, name), name


@pytest.mark.parametrize("dataset", HEADINGS)
def test_the_columns_on_the_page_are_named_for_the_declared_concepts(dataset):
    rows = rows_of(dataset)
    for name, expected in NAMED[dataset].items():
        assert (
            listed(rows[name][3].split(", the running rate")[0].split(": each")[0].split(", by hour")[0]) == expected
        ), name


@pytest.mark.parametrize("dataset", HEADINGS)
def test_a_modality_of_parts_names_them(dataset):
    for name, modality in database(dataset).modalities.items():
        if modality.parts:
            assert all(part in rows_of(dataset)[name][3] for part in modality.parts), name
