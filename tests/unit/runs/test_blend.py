"""What is refused before a run with a blend is trained."""

from types import SimpleNamespace
from typing import Any

import pytest

from data_modules.errors import UserError
from data_modules.vocabulary import Modality
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import blend

COHORT: Any = SimpleNamespace(
    modalities=[Modality(name="labs", kind="table", width=3), Modality(name="notes", kind="documents", width=8)]
)


def test_items_of_an_encoder_in_the_model_are_refused_before_training_and_a_frozen_one_is_named() -> None:
    expected = (
        r"^evaluation\.blend=true: boosted_trees needs one vector per row, but notes has documents; .*"
        r"embed\.text\.encoder=hashed_ngrams"
    )
    with pytest.raises(UserError, match=expected):
        blend.check(load(["evaluation.blend=true"]), COHORT)
    blend.check(load([]), COHORT)
