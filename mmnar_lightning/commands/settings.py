"""`mmnar settings`: what there is to set, with type, default, meaning, and when it is read; reads no experiment."""

from collections.abc import Sequence

from mmnar_lightning.config import hints
from mmnar_lightning.config.experiment import ConfigError, datasets
from mmnar_lightning.config.reference import Setting, settings_of
from mmnar_lightning.console import say


def show_settings(prefix: str = "", dataset: str = "mimic") -> list[Setting]:
    """Print the settings whose keys begin with a prefix.

    Args:
        prefix: a key, a group, or the beginning of either; empty prints all.
        dataset: whose cohort settings are shown.

    Returns:
        The settings.

    Raises:
        ConfigError: if the dataset is unknown, or no key begins with the prefix.
    """
    if dataset not in datasets():
        raise ConfigError(f"dataset={dataset}: expected one of {', '.join(datasets())}")
    known = settings_of(dataset)
    found = [one for one in known if one.key.startswith(prefix)]
    if not found:
        near = hints.meant(prefix, [one.key for one in known])
        hint = f"did you mean {near}?" if near else "`mmnar settings` prints all"
        raise ConfigError(f"no setting begins with {prefix!r}; {hint}")
    say("\n".join(line for one in found for line in _lines(one)))
    return found


def _lines(one: Setting) -> list[str]:
    lines = [f"{one.key}: {one.kind} = {one.default}", f"    {one.meaning}"]
    if one.condition:
        lines.append(f"    read when {one.condition}")
    if one.commands:
        lines.append(f"    read by mmnar {', '.join(one.commands)}")
    return lines


def run(config: object, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    prefixes = [word for word in words if not word.startswith("dataset=")]
    if len(prefixes) > 1 or any("=" in word for word in prefixes):
        raise ConfigError(
            f"settings takes one prefix and dataset=, for example `mmnar settings trainer dataset=eicu`; "
            f"given: {' '.join(words)}"
        )
    given = [word.removeprefix("dataset=") for word in words if word not in prefixes]
    show_settings(prefixes[0] if prefixes else "", given[-1] if given else "mimic")
    return 0
