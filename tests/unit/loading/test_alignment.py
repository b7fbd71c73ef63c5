"""A cohort is not read with the model of another where both hold what was learnt from one of them alone."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from data_modules.features.store import Statistics
from data_modules.features.tokens import TokenWriter
from data_modules.loading.alignment import Source, TransferError, align
from data_modules.loading.arrays import CohortArrays, ModalityArray, Store
from data_modules.loading.items import STORE, RowItems, TokenItems
from data_modules.loading.opened import OpenedCohort
from data_modules.vocabulary import Kind, Modality

WIDTH = 4


def tokens(folder: Path, *documents: list[int]) -> TokenItems:
    """One document a row, of one window each."""
    folder.mkdir()
    (folder / STORE).write_text(json.dumps({"width": WIDTH}))
    with TokenWriter(folder) as writer:
        for document in documents:
            writer.add([document])
    rows = np.arange(len(documents))
    RowItems.save(folder, len(documents), rows, rows)
    return TokenItems(folder)


def vectors(mean: float) -> ModalityArray:
    """One vector a row, of two rows."""
    scale = Statistics(np.full(WIDTH, mean, np.float32), np.ones(WIDTH, np.float32))
    return ModalityArray(np.zeros((2, WIDTH), np.float32), scale)


def opened(store: Store) -> OpenedCohort:
    """A cohort of two rows with one modality; documents with one vector a row are vectors."""
    kind: Kind = "vectors" if isinstance(store, ModalityArray) else "documents"
    table = pl.DataFrame({"row_id": [0, 1], "subject": [0, 1], "label/death": [True, False], "present/note": True})
    return OpenedCohort(
        folder=Path(),
        manifest={},
        table=table,
        tasks=["death"],
        modalities=[Modality(name="note", kind=kind, width=WIDTH)],
        left_out=[],
        arrays=CohortArrays(table, ["death"], {"note": store}),
    )


def test_tokens_are_refused_since_each_cohort_has_a_vocabulary_of_its_own(tmp_path: Path) -> None:
    source, target = (tokens(tmp_path / name, [3, 4], [5]) for name in ("source", "target"))
    with pytest.raises(TransferError, match="note: its documents are encoded with parameters fitted on one cohort"):
        align(opened(target), Source.of(opened(source)))


def test_tokens_and_vectors_of_one_width_are_refused(tmp_path: Path) -> None:
    words = tokens(tmp_path / "tokens", [3, 4], [5])
    for source, target in ((words, vectors(0)), (vectors(0), words)):
        with pytest.raises(TransferError, match=r"note is (documents|vectors) of width 4 in the source, but"):
            align(opened(target), Source.of(opened(source)))


def test_vectors_of_documents_are_read_in_the_scale_of_the_source() -> None:
    aligned = align(opened(vectors(1)), Source.of(opened(vectors(3))))
    note = aligned.arrays.arrays["note"]
    assert isinstance(note, ModalityArray)
    assert note.statistics.mean.tolist() == [3.0] * WIDTH


def test_all_rows_of_a_target_are_rows_of_the_target_and_none_of_a_source_is() -> None:
    source = opened(vectors(3))
    rows = torch.tensor([1, 0])
    assert source.arrays.gather(rows).site is None
    assert align(opened(vectors(1)), Source.of(source)).arrays.gather(rows).site.tolist() == [True, True]
