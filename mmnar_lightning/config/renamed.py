"""Renamed and removed settings and experiments; each is refused with its replacement."""

from collections.abc import Iterator, Mapping
from typing import Any

EXPERIMENT = "experiment="
"""Prefix of entries for experiments; an entry that ends with `/` stands for all names below it."""

RENAMED: Mapping[str, str] = {
    "rival": "baseline",
    "embed.film.max_films": "embed.image.max_images",
    "embed.film": "embed.image",
    "embed.modalities.*.max_films": "embed.modalities.*.max_images",
    "embed.accelerator": "was removed: trainer.accelerator holds for frozen encoders too",
    "embed.text.overlap": "was removed: always an eighth of embed.text.window",
    "embed.text.width": "was removed: always 1024",
    "embed.text.vocabulary": "was removed: always 16384",
    "embed.text.dim": "was removed: always 64",
    "embed.text.lora_rank": "was removed: always 8",
    "embed.image.lora_rank": "was removed: always 8",
    "embed.modalities.*.overlap": "was removed: always an eighth of the window",
    "embed.modalities.*.width": "was removed: always 1024",
    "embed.modalities.*.vocabulary": "was removed: always 16384",
    "embed.modalities.*.dim": "was removed: always 64",
    "embed.modalities.*.lora_rank": "was removed: always 8",
    "simulate.films": "simulate.images",
    "simulate.film_rate": "simulate.image_rate",
    "simulate.sources": "simulate.databases",
    "simulate.readmission_rate": "was removed: always 0.2",
    "simulate.icu_rate": "was removed: always 0.12",
    "simulate.mortality_rate": "was removed: always 0.15",
    "simulate.site": "was removed: always 0.5",
    "simulate.diagnoses_rate": "was removed: always 0.7",
    "simulate.text_rate": "was removed: always 0.8",
    "simulate.treatments_rate": "was removed: always 0.75",
    "simulate.hospital_mortality_rate": "was removed: always 0.1",
    "simulate.unit_readmission_rate": "was removed: always 0.08",
    "rectifier.scale": "was removed: always logit",
    "rectifier.refresh": "was removed: the offset of the loss is fitted once",
    "rectifier.damping": "was removed: the offset of the loss is fitted once",
    "rectifier.gate_folds": "was removed: always 5",
    "rectifier.min_positives": "was removed: always a quarter of rectifier.min_rows",
    "rectifier.min_negatives": "was removed: always a quarter of rectifier.min_rows",
    "rectifier.min_class_rows": "was removed: always a quarter of rectifier.min_rows",
    "rectifier.max_offset": "was removed: always 2",
    "objective.auxiliary_floor": "was removed: always 0.1",
    "model.additive.inverse_penalty": "model.additive.inverse_penalties",
    "optim.gradient_clip": "was removed: always 1",
    "optim.warmup_fraction": "was removed: always 0.05",
    "optim.final_fraction": "was removed: always 0.05",
    "baseline.mask_only": "was removed: always a width of 32 and a dropout of 0.1",
    "baseline.late_fusion.dim": "was removed: always 128",
    "baseline.logistic_regression.inverse_penalties": "was removed: model.additive.inverse_penalties are its penalties",
    "baseline.boosted_trees.patience": "was removed: always 50",
    "baseline.boosted_trees.max_iterations": "was removed: always 1000",
    "baseline.boosted_trees.min_leaf_rows": "was removed: always 20",
    "baseline.boosted_trees.leaf_penalty": "was removed: always 1",
    "baseline.boosted_trees.max_features": "was removed: always 0.5",
    "baseline.boosted_trees.wide": "was removed: always 64",
    "wandb.entity": "was removed: set the environment variable WANDB_ENTITY",
    "wandb.project": "was removed: set the environment variable WANDB_PROJECT",
    "wandb.tags": "was removed: set the environment variable WANDB_TAGS, tags separated by commas",
    "experiment=rivals/": "experiment=baselines/",
    "experiment=films_frozen": "experiment=images_frozen",
    "experiment=films_timm": "experiment=images_timm",
    "experiment=films_trained": "experiment=images_trained",
}
"""Old key -> new key, or a sentence that follows the key. A group stands for all its keys, `*` for one part of a key;
the first matching entry applies."""

MAX_NAMED = 5
"""Maximum number of keys that one message names; the resolved configuration of an older run may have many."""


def explain(key: str) -> str | None:
    """Explain a renamed or removed key.

    Returns:
        A sentence; None for any other key.

    >>> explain("rival.name"), explain("rectifier.scale"), explain("baseline.name")
    ('rival.name is now called baseline.name', 'rectifier.scale was removed: always logit', None)
    >>> explain("rival.boosted_trees.wide")
    'rival.boosted_trees.wide was removed: always 64'
    """
    successor = _successor(key)
    if successor is None:
        return None
    return f"{key} {successor}" if " " in successor else f"{key} is now called {successor}"


def explain_experiment(name: str) -> str | None:
    """Explain a renamed experiment.

    Returns:
        A sentence; None for any other experiment.

    >>> explain_experiment("rivals/late_fusion")
    'it is now called baselines/late_fusion'
    """
    for old, new in RENAMED.items():
        key = f"{EXPERIMENT}{name}"
        if key == old or (old.startswith(EXPERIMENT) and old.endswith("/") and key.startswith(old)):
            return f"it is now called {new.removeprefix(EXPERIMENT)}{key.removeprefix(old)}"
    return None


def explain_all(plain: Mapping[Any, Any]) -> str | None:
    """Explain the renamed and removed keys among nested values, in their order.

    Returns:
        Sentences, joined; None without such keys.

    >>> explain_all({"seed": 1, "rectifier": {"scale": 3, "gate": True}})
    'rectifier.scale was removed: always logit'
    """
    found = [sentence for key in _keys(plain) if (sentence := explain(key))]
    if not found:
        return None
    more = f"; and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return "; ".join(found[:MAX_NAMED]) + more


def _successor(key: str) -> str | None:
    """The new key, or the sentence on a removed one; a renamed key may since have been removed."""
    parts = key.split(".")
    for old, new in RENAMED.items():
        pattern = old.split(".")
        matched, rest = parts[: len(pattern)], parts[len(pattern) :]
        if len(matched) < len(pattern) or not all(
            wanted in ("*", part) for wanted, part in zip(pattern, matched, strict=True)
        ):
            continue
        if " " in new:
            return new
        star = next((part for wanted, part in zip(pattern, matched, strict=True) if wanted == "*"), "*")
        renamed = ".".join([new.replace("*", star), *rest])
        return _successor(renamed) or renamed
    return None


def _keys(plain: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Full keys of nested values, including empty groups."""
    for name, value in plain.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _keys(value, f"{key}.")
        else:
            yield key
