"""`mmnar embed`: encodes the documents and images of a cohort."""

import time
from collections.abc import Sequence
from pathlib import Path

from data_modules import stage
from data_modules.loading.items import open_store
from data_modules.loading.opening import ENCODE
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.config.ignored import check_ignored
from mmnar_lightning.console import say, show, warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.runs import build
from mmnar_lightning.runs.cohorts import print_simulated


@signals.handled()
def make_embeddings(config: ExperimentConfig) -> dict[str, Path]:
    """Encode the documents and images of an experiment's cohort, and show the encoded modalities."""
    print_simulated(config)
    datamodule = build.build_datamodule(config)
    started = time.monotonic()
    encoded = datamodule.encode(datamodule.build())
    rows = []
    for name, folder in encoded.items():
        manifest = stage.verify(folder, ENCODE)
        store = open_store(folder)
        present = store.present
        share = "all" if present is None else f"{present.mean():.1%}"
        rows.append([name, share, store.width, folder])
        for line in manifest["left_out"]:
            warn(f"{name}: {line}")
    if rows:
        show("encoded", ["modality", "rows that have it", "floats", "folder"], rows)
    else:
        say("nothing to encode: no modality has an encoder (embed.text.encoder, embed.image.encoder)")
    say(f"embed: {time.monotonic() - started:.1f} s")
    return dict(encoded)


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    for line in check_ignored(config):
        warn(line)
    make_embeddings(config)
    return 0
