"""The larger example of docs/cohort.md: `mmnar doctor`, a run with images, events and categories, and new rows."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmnar_lightning.saved.read import load
from tests.end_to_end.test_predict import QUIET, mmnar
from tests.helpers.paths import ROOT

WORDS = ("dataset=custom", "paths.cohort=my_cohort")
IMAGES = ("embed.image.encoder=small", 'embed.image.views=["*"]')


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cohort of the documentation, and a run on it."""
    place = tmp_path_factory.mktemp("kinds")
    code = "".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "cohort.md").read_text(), re.DOTALL))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        exec(compile(code, "docs/cohort.md", "exec"), {})
    mmnar(place, "train", *WORDS, *IMAGES, *QUIET)
    return place


def test_doctor_prints_what_is_in_it_and_what_will_be_masked_by_the_rule_of_the_results(place: Path) -> None:
    said = mmnar(place, "doctor", *WORDS)
    assert re.search(r"vitals +│ +table +│ +9", said), said
    assert re.search(r"scan +│ +images +│ +0", said)
    assert "the cohort follows the contract and can be trained on: data/cohorts/custom-" in said
    (run,) = (place / "runs" / "custom").iterdir()
    public = pl.read_json((run / "results.public.json").read_bytes())["tasks"][0]["died"]["patterns"]
    masked = {label for label, cell in public.items() if cell is None or cell["count"] is None}
    line = re.search(r"died +│ (.*) of (\d+) patterns(: (.*?))? +│", said)
    assert line, said
    assert (int(line[1]), int(line[2])) == (len(masked), len(public))
    assert set((line[4] or "").split(", ")) - {""} == masked


def test_doctor_refuses_what_training_would_refuse(place: Path, tmp_path: Path) -> None:
    rows = pl.read_parquet(place / "my_cohort" / "cohort.parquet")
    rows.with_columns(pl.lit("s").alias("label/died")).write_parquet(tmp_path / "cohort.parquet")
    said = mmnar(place, "doctor", "dataset=custom", f"paths.cohort={tmp_path}", status=1)
    assert "column 'label/died'" in said


def test_new_rows_with_other_levels_are_read_as_the_model_reads_them(place: Path) -> None:
    (run,) = (place / "runs" / "custom").iterdir()
    columns = {entry.name: entry.columns for entry in load(run / "model").description.modalities}
    assert columns["unit"] == ["unit/cardiac", "unit/medical", "unit/surgical", "unit/rare"]
    path = place / "my_cohort" / "modalities" / "unit" / "table.parquet"
    usual = pl.read_parquet(path)
    mmnar(place, "predict", *WORDS, "out=same")
    usual.with_columns(unit=pl.when(pl.col("row_id") == 0).then(pl.lit("new")).otherwise("unit")).write_parquet(path)
    try:
        mmnar(place, "predict", *WORDS, "out=other")
    finally:
        usual.write_parquet(path)
    same, other = (
        pl.read_parquet(place / name / "predictions.parquet")["probability/died"] for name in ("same", "other")
    )
    assert np.isclose(same[1:], other[1:], atol=1e-6).all()
    assert same[0] != other[0]
