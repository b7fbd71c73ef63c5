"""Keeps the text of settings that are declared as text: YAML would read `run=0123` as 83 and `run=1e999` as inf.

Words and YAML files are YAML to OmegaConf, so the scalars of such settings are quoted before it reads them.
"""

import json
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

Kinds = Mapping[str, Any]
"""Full key -> declared type; `*` stands for one part of a key."""

_NULL, _STR = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"
_QUOTES = ("'", '"')


def quote_word(word: str, kinds: Kinds) -> str:
    r"""Quote the text of a word as YAML.

    A value in quotes is YAML already. `null` is no text where a setting may be null. Members of lists and groups are
    quoted where they are text.

    Args:
        word: `key=value`.
        kinds: of all settings; any other key is YAML.

    Returns:
        The word whose value YAML reads as it was given.

    >>> kinds = {"run": str, "held": list[str] | None, "seed": int}
    >>> quote_word("run=12e4", kinds), quote_word("run=/a #b", kinds), quote_word("run='a b'", kinds)
    ('run="12e4"', 'run="/a #b"', "run='a b'")
    >>> quote_word("held=[007, b]", kinds), quote_word("held=null", kinds), quote_word("seed=007", kinds)
    ('held=["007", "b"]', 'held=null', 'seed=007')
    """
    key, _, value = word.partition("=")
    node = _node(value)
    kind, is_optional = _without_none(_kind_of(key, kinds))
    if _is_text(kind):
        is_null = is_optional and (value == "" or (node is not None and node.tag == _NULL))
        return word if _is_quoted(node) or is_null else f"{key}={json.dumps(value, ensure_ascii=False)}"
    if node is None or isinstance(node, yaml.ScalarNode):
        return word
    _quote(node, key, kind, kinds)
    return f"{key}={_text_of(node)}"


def quote(node: yaml.Node, kinds: Kinds) -> str:
    """Quote the text settings of a YAML file.

    Args:
        node: of the file, which is changed.
        kinds: of all settings; others are left as they are.

    Returns:
        The same YAML, without its comments.

    >>> quote(yaml.compose("seed: 007  # kept"), {"seed": int}), quote(yaml.compose("run: 007"), {"run": str})
    ('seed: 007', 'run: "007"')
    """
    _quote(node, "", None, kinds)
    return _text_of(node)


def _quote(node: Any, key: str, kind: Any, kinds: Kinds) -> None:
    """Quote the scalars below a node that are text; null is no text."""
    kind, _ = _without_none(kind)
    if isinstance(node, yaml.MappingNode):
        for name, child in node.value:
            below = f"{key}.{name.value}".removeprefix(".")
            _quote(child, below, _kind_of(below, kinds), kinds)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _quote(child, key, _member(kind, list), kinds)
    elif _is_text(kind) and node.tag != _NULL:
        node.tag, node.style = _STR, '"'


def _text_of(node: Any) -> str:
    text: str = yaml.serialize(node, Dumper=yaml.SafeDumper, width=float("inf"), allow_unicode=True)
    return text.rstrip("\n")


def _kind_of(key: str, kinds: Kinds) -> Any:
    """Declared type of a setting, or of a member of a dictionary; None if neither is declared."""
    if key in kinds:
        return kinds[key]
    group = key.rpartition(".")[0]
    if member := _member(_without_none(kinds.get(group))[0], dict):
        return member
    parts = key.split(".")
    starred = (".".join([*parts[:part], "*", *parts[part + 1 :]]) for part in range(len(parts)))
    return next((kinds[pattern] for pattern in starred if pattern in kinds), None)


def _member(kind: Any, container: type) -> Any:
    """Type of the members of a list or dictionary; None for any other type."""
    return get_args(kind)[-1] if get_origin(kind) is container else None


def _without_none(kind: Any) -> tuple[Any, bool]:
    """A type without None, and whether it had it."""
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    if NoneType not in parts:
        return kind, False
    others = [part for part in parts if part is not NoneType]
    return (others[0] if len(others) == 1 else Union[tuple(others)]), True  # noqa: UP007


def _is_text(kind: Any) -> bool:
    return kind is str or (get_origin(kind) is Literal and all(isinstance(choice, str) for choice in get_args(kind)))


def _is_quoted(node: Any) -> bool:
    """Whether a value is one scalar in quotes."""
    return isinstance(node, yaml.ScalarNode) and node.style in _QUOTES


def _node(value: str) -> Any:
    """The YAML of a value; None if it is empty, or no YAML, which OmegaConf refuses."""
    try:
        return yaml.compose(value, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
