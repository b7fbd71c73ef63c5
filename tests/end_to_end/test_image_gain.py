"""Adding the image helps as it should: published embeddings, and pictures that a small network learns from."""

from pathlib import Path

from tests.helpers.gains import check_gain, scored

WORDS = [
    "experiment=mimic",
    "simulate.subjects=4000",  # with fewer, the small network does not learn to see
    "simulate.image_rate=0.9",  # so that a cohort of a few minutes is large enough to see the gain
    "optim.lr=5.0e-4",
    "trainer.max_epochs=8",
    "embed.text.encoder=hashed_ngrams",
]
READ_BY_BOTH = "structured,radiology_report"


def test_images_gain_at_least_half_of_what_the_oracle_gains(workplace: Path) -> None:
    without = scored(workplace / "without", *WORDS, f"cohort.modalities=[{READ_BY_BOTH}]")
    for encoder in ("release", "small"):
        words = [f"cohort.modalities=[{READ_BY_BOTH},cxr]", f"embed.image.encoder={encoder}"]
        with_images = scored(workplace / encoder, *WORDS, *words)
        check_gain("image", with_images, without, workplace / "data")
