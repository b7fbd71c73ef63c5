"""Reads YAML files: values and references to other settings, no tags, no environment, no functions."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.config.text import Kinds, quote

_REFERENCE = re.compile(r"\$\{\.*[A-Za-z_]\w*(\.\w+)*\}")
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq")}
_MERGE = "tag:yaml.org,2002:merge"
REMEDY = "${seed} may name another setting, and nothing else is resolved; write the value itself"


def is_reference(key: str, text: str) -> bool:
    r"""Whether every `${` of a text refers to another setting.

    OmegaConf calls functions as `${oc.env:HOME}`. An escaped `\${` would be one when the resolved file is read again.

    Args:
        key: of the setting.
        text: its value.

    Returns:
        False for anything but references, nested ones included.

    >>> [is_reference("name", text) for text in ("a-${seed}-${.b}", "${oc.env:HOME}", r"\${seed}", "${a.${b}}")]
    [True, False, False, False]
    """
    return "\\${" not in text and "${" not in _REFERENCE.sub("", text)


def read_yaml(path: Path, kinds: Kinds | None = None, allowed: Callable[[str, str], bool] = is_reference) -> str:
    """Read a YAML file.

    Args:
        path: of the file; what cannot be read is left to the caller.
        kinds: full key -> declared type, of settings whose text is quoted; None leaves all as they are.
        allowed: full key and text -> whether what it has in `${...}` is.

    Returns:
        The same YAML, without comments, as `checked` returns it.
    """
    return checked(text_of(path), path, kinds, allowed)


def text_of(path: Path) -> str:
    """Read the text of a YAML file.

    Returns:
        It.

    Raises:
        ConfigError: if it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8 text; save the file in UTF-8") from None


def checked(
    text: str, path: Path, kinds: Kinds | None = None, allowed: Callable[[str, str], bool] = is_reference
) -> str:
    """Check and quote the text of a YAML file.

    Args:
        text: of the file.
        path: of the file, named in errors.
        kinds: full key -> declared type, of settings whose text is quoted; None leaves all as they are.
        allowed: full key and text -> whether what it has in `${...}` is.

    Returns:
        The same YAML, without comments.

    Raises:
        ConfigError: naming file, line and key of a tag, of a group within itself, or of `${...}` that is not allowed.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this file is not readable YAML ({' '.join(str(error).split())})") from error
    if node is None:
        return text
    for line, key, problem in _problems(node, "", (), allowed):
        raise ConfigError(f"{path}, line {line}: {key}: {problem}" if key else f"{path}, line {line}: {problem}")
    return quote(node, kinds or {})


def check_word(word: str, quoted: str) -> None:
    """Refuse a tag in a `key=value` word, and `${...}`, which has a meaning in files only.

    Args:
        word: as given.
        quoted: the same, with its text quoted; what is no YAML is left to the caller.

    Raises:
        ConfigError: naming the word.
    """
    if "${" in word or word.endswith("=???"):
        raise ConfigError(f"{word}: ${{...}} and ??? have a meaning of their own in YAML files; give the value itself")
    try:
        node = yaml.compose(quoted.partition("=")[2], Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return
    for *_, problem in _problems(node, "", (), is_reference) if node is not None else ():
        raise ConfigError(f"{word}: {problem}")


def _problems(
    node: Any, key: str, above: tuple[Any, ...], allowed: Callable[[str, str], bool]
) -> Iterator[tuple[int, str, str]]:
    """Line, key and description of everything in a YAML node that is not read."""
    line = node.start_mark.line + 1
    if any(node is one for one in above):
        yield line, key, "this group contains itself"
    elif node.tag not in _TAGS and not (node.tag == _MERGE and node.value == "<<"):
        yield line, key, f"YAML tags, here {node.tag.replace('tag:yaml.org,2002:', '!!')}, are not read; remove it"
    elif isinstance(node, yaml.MappingNode):
        for name, child in node.value:
            yield from _problems(name, key, (*above, node), allowed)
            own = str(name.value)
            yield from _problems(child, f"{key}.{own}" if key else own, (*above, node), allowed)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _problems(child, key, (*above, node), allowed)
    elif not allowed(key, node.value):
        yield line, key, f"{node.value}: {REMEDY}"
