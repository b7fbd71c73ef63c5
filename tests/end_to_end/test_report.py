"""`mmnar report` by the installed program, on a run that was trained here."""

import json
import shutil
from pathlib import Path

from mmnar_lightning.runs import folders
from tests.end_to_end.test_predict import mmnar
from tests.end_to_end.test_run import whole
from tests.helpers.pages import Page

__all__ = ["whole"]  # a fixture


def test_the_page_of_a_trained_run_is_written_from_public_files_alone(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in (folders.CONFIG, folders.PUBLIC, "metrics.csv"):
        shutil.copy(whole / name, run / name)
    assert f"page: {tmp_path}/here/report.html" in mmnar(tmp_path, "report", f"run={run}", f"out={tmp_path}/here")
    text = (tmp_path / "here" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.wrong
    assert "//" not in text.replace("</", "")
    shown = json.loads((whole / folders.PUBLIC).read_text())
    cell = shown["rectified"]["first"]["all"]
    assert f"{cell['auroc']['value']:.2f}" in page.text
    assert f"{cell['count']:,} test rows, {cell['positives']:,} positive" in page.text
    assert "rows of 120 subjects" in page.text, "the attrition of the cohort, whose folder is in config.yaml"
    assert "The vertical line is epoch" in page.text
    assert str(tmp_path) not in text
    assert str(whole.parent) not in text


def test_a_run_that_was_not_evaluated_is_refused_in_one_line(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(whole / folders.CONFIG, tmp_path / "run")
    said = mmnar(tmp_path, "report", "run=run", status=1)
    assert said.strip().count("\n") == 0
    assert "run has no results.public.json; `mmnar evaluate run=run` writes it" in said
