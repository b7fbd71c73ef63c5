"""Windows and images a second of the embed stage with frozen encoders, beside bare loops over batches in memory."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import embed, images
from benchmarks.gpu.clock import timed
from mmnar_lightning.encoders.image.backbone import image_backbone, image_input
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.frozen import FrozenImages
from mmnar_lightning.encoders.image.keys import JPEG
from mmnar_lightning.encoders.image.selection import read_images
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.frozen import FrozenText, load_backbone
from mmnar_lightning.nn.backbone import autocast_bf16
from mmnar_lightning.nn.images import ImageBackbone

BERT: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
"""The shape of a BERT-base; its weights are random."""
WINDOW = 512


def measure_text(folder: Path, documents: int) -> list[dict[str, Any]]:
    """Windows a second of the embed stage with a BERT-base, beside a bare loop; print a table."""
    for part in ("model", "note", "tokens"):
        (folder / part).mkdir(parents=True)
    embed.write_model(folder / "model", WINDOW, BERT)
    embed.write_documents(folder / "note", documents)
    usual = TextConfig(encoder="transformers", model=str(folder / "model"), window=WINDOW, batch_windows=64)
    batches = embed.ideal_batches(folder / "note", folder / "model", usual, folder / "tokens")
    ready = [(tokens.to("cuda"), length.to("cuda")) for tokens, length in batches]
    count, few = sum(len(length) for _, length in batches), ready[: len(ready) // 8]
    table = []
    for name, bf16 in (("TF32", False), ("bf16", True)):
        config = replace(usual, bf16=bf16)
        backbone = load_backbone(folder / "model", config).to("cuda").eval()
        torch.set_float32_matmul_precision("high")
        first = timed(partial(embed.bare_loop, backbone, ready))
        bare = timed(partial(embed.bare_loop, backbone, ready))
        torch.set_float32_matmul_precision("highest")
        plain = None if bf16 else timed(partial(embed.bare_loop, backbone, few))
        encoder = FrozenText(config, folder / f"store-{name}", torch.device("cuda"))
        stage = timed(partial(encoder.prepare, folder / "note"))
        print(f"BERT-base, {name}: bare loop {count / bare:,.0f} windows/s; at its first pass {count / first:,.0f}")
        print(f"  stage, with tokens and model: {count / stage:,.0f}, {bare / stage:.2f} of it", flush=True)
        if plain is not None:
            longest = sum(len(length) for _, length in few)
            print(f"BERT-base, float32: bare loop over the longest {longest / plain:,.0f} windows/s", flush=True)
        table.append({"name": name, "windows": count, "first": first, "bare": bare, "stage": stage, "float32": plain})
    return table


def contiguous_loop(backbone: ImageBackbone, batches: Sequence[torch.Tensor]) -> None:
    """The network over batches in memory, with the channels first."""
    with torch.no_grad():
        for batch in batches:
            pixels = (batch.to("cuda").float() / 255 - backbone.mean) / backbone.std
            with autocast_bf16(pixels.device, backbone.bf16):
                backbone.network(pixels).float().cpu()


def measure_images(folder: Path, count: int, workers: int) -> list[dict[str, Any]]:
    """Images a second of the embed stage with a DenseNet-121, beside a bare loop; print a table."""
    listed = images.write_images(folder / "images", count, 256)
    source = folder / "cohorts" / "made" / "modalities" / "cxr"
    source.mkdir(parents=True)
    listed.write_parquet(source / "images.parquet")
    weights = str(images.write_weights(folder / "weights.safetensors", "densenet121"))
    usual = ImageConfig(encoder="timm", model="densenet121", weights=weights, batch_size=128, num_workers=workers)
    paths = [folder / "images" / f"{file}.jpg" for file in listed["file"]]
    shown: Any = list(read_images(paths, image_input(usual), workers))
    batches = list(torch.split(torch.from_numpy(np.stack(shown)), usual.batch_size))
    decoding = timed(lambda: list(read_images(paths, image_input(usual), workers)))
    table = []
    for name, bf16 in (("TF32", False), ("bf16", True)):
        config = replace(usual, bf16=bf16)
        encoder = FrozenImages(config, folder / f"data-{name}", folder / "images", JPEG, torch.device("cuda"))
        torch.set_float32_matmul_precision("high")
        images.bare_loop(encoder.backbone, batches[:2], torch.device("cuda"))
        bare = timed(partial(images.bare_loop, encoder.backbone, batches, torch.device("cuda")))
        plain = image_backbone(config).to("cuda")
        contiguous_loop(plain, batches[:2])
        contiguous = timed(partial(contiguous_loop, plain, batches))
        torch.set_float32_matmul_precision("highest")
        stage = timed(partial(encoder.prepare, source))
        rates = [count / seconds for seconds in (bare, contiguous, stage, decoding)]
        print(f"DenseNet-121, {name}: bare loop {rates[0]:,.0f} images/s, with channels first {rates[1]:,.0f}")
        print(
            f"  stage {rates[2]:,.0f} ({100 * bare / stage:.0f} %); decoding alone, {workers} threads {rates[3]:,.0f}",
            flush=True,
        )
        table.append({"name": name, "bare": bare, "contiguous": contiguous, "stage": stage, "decoding": decoding})
    return table
