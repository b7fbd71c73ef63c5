"""Adding the discharge note helps as it should: as hashed words, and by a small encoder that learns from nothing."""

from pathlib import Path

from tests.helpers.gains import check_gain, scored

WORDS = [
    "simulate.subjects=2000",
    "simulate.note_rate=0.9",  # so that a small cohort is large enough to see the gain
    "optim.lr=1.0e-3",
    "trainer.max_epochs=4",
    "simulate.images=false",
]


def test_notes_gain_at_least_half_of_what_the_oracle_gains(workplace: Path) -> None:
    alone = "cohort.modalities=[structured]"
    without = scored(workplace / "without", "experiment=texts_frozen", *WORDS, alone)
    for experiment in ("texts_frozen", "texts_trained"):
        words = [f"experiment={experiment}", *WORDS, "cohort.modalities=[structured,discharge_note]"]
        check_gain("note", scored(workplace / experiment, *words), without, workplace / "data")
