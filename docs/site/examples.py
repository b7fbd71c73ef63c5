"""An extension of griffe for the Python interface: examples of docstrings are shown as code."""

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
"""The lines from a prompt to the next empty one."""


class Examples(Extension):
    """Encloses each example, which Markdown would take as a quotation and its brackets as links."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of what was read from a file."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    r"""Enclose the examples of a docstring.

    Args:
        text: of the docstring.

    Returns:
        The same with a fence around each example.

    >>> fenced("One.\n\n>>> 1 + 1\n2")
    'One.\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    return EXAMPLE.sub(lambda found: f"{found.group(1)}```pycon\n{found.group()}\n{found.group(1)}```", text)
