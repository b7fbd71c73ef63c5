"""A table that only a modality needs: its modality is dropped loudly, or the build refuses."""

import json

import pytest

from data_modules.cohorts.build import plan
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.registry import database


def test_a_missing_event_table_drops_its_modality_in_plan_and_manifest(synthetic, build):
    synthetic.path("labevents").unlink()
    folder = build(synthetic)
    manifest = json.loads((folder / "manifest.json").read_text())
    line = "labs is dropped: hosp/labevents.csv.gz is missing"
    assert manifest["dropped"] == [line]
    assert [modality["name"] for modality in manifest["modalities"]] == ["demographics", "vitals", "medications"]
    planned = plan(database("mimic"), synthetic.release(), MIMICCohortConfig(modalities=["demographics", "labs"]))
    assert (planned.dropped, list(planned.parts)) == ([line], ["demographics"])


def test_a_missing_part_of_structured_is_dropped_and_the_rest_stays(synthetic):
    synthetic.path("prescriptions").unlink()
    planned = plan(database("mimic"), synthetic.release(), MIMICCohortConfig(modalities=["structured"]))
    assert planned.parts == {"structured": ["demographics", "labs", "vitals"]}
    assert "structured/medications is dropped: hosp/prescriptions.csv.gz is missing" in planned.dropped


def test_what_holds_without_a_table_that_a_modality_only_may_read_is_said(synthetic):
    config = MIMICCohortConfig(modalities=["medications"], missing_tables="error")
    assert "pharmacy" in plan(database("mimic"), synthetic.release(), config).tables
    synthetic.path("pharmacy").unlink()
    planned = plan(database("mimic"), synthetic.release(), config)
    lost = "hosp/pharmacy.csv.gz is missing, so an order counts from its start, also if it was entered later"
    assert planned.dropped == [f"medications: {lost}"]
    assert planned.parts == {"medications": ["medications"]}
    assert "pharmacy" not in planned.tables


def test_missing_tables_error_refuses_instead(synthetic, refused):
    synthetic.path("labevents").unlink()
    message = refused(synthetic, missing_tables="error")
    assert "hosp/labevents.csv.gz: this table of mimiciv is missing" in message
    assert "MIMIC_ROOT" in message


def test_no_modality_left_is_refused_with_what_was_dropped(synthetic, refused):
    synthetic.path("labevents").unlink()
    message = refused(synthetic, modalities=["labs"])
    assert "none is left (labs is dropped: hosp/labevents.csv.gz is missing)" in message


@pytest.mark.parametrize("restored", [True, False])
def test_a_table_that_is_put_back_is_found_without_a_new_process(synthetic, restored):
    text = synthetic.path("labevents").read_bytes()
    synthetic.path("labevents").unlink()
    assert not synthetic.release().has("labevents")
    if restored:
        synthetic.path("labevents").write_bytes(text)
    assert synthetic.release().has("labevents") is restored
