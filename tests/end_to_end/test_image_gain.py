"""Adding the image helps as it should: published embeddings, and pictures that a small network learns from."""

from pathlib import Path

from tests.helpers.gains import check_gain, scored

WORDS = [
    "experiment=mimic",
    "simulate.subjects=3400",  # with fewer, the small network does not learn to see
    "simulate.image_rate=0.9",  # so that a cohort of a few minutes is large enough to see the gain
    "optim.lr=2.0e-3",
    "embed.text.encoder=hashed_ngrams",
    "objective.reconstruction=0",
    "objective.contrast=0",
    "model.fusion.dim=32",
]
READ_BY_BOTH = "structured,radiology_report"
EPOCHS = {"release": 3, "small": 8}
"""Vectors are read sooner than pictures; the run without either has as many as the longer one."""


def test_images_gain_at_least_half_of_what_the_oracle_gains(workplace: Path) -> None:
    longest = f"trainer.max_epochs={max(EPOCHS.values())}"
    without = scored(workplace / "without", *WORDS, longest, f"cohort.modalities=[{READ_BY_BOTH}]")
    for encoder, epochs in EPOCHS.items():
        words = [f"cohort.modalities=[{READ_BY_BOTH},cxr]", f"embed.image.encoder={encoder}"]
        words += [f"trainer.max_epochs={epochs}"]
        with_images = scored(workplace / encoder, *WORDS, *words)
        check_gain("image", with_images, without, workplace / "data")
