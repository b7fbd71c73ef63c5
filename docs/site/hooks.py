"""Hooks of the documentation site: the page of all settings, and equations as MathML, which need no script."""

import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SETTINGS = Path(__file__).parents[2] / "experiments" / "README.md"

PLACES = re.compile(r"(```.*?^ *```|`[^`\n]*`|\[[^\]]*\]\([^)]*\))|(?<![\w/=])docs/(\w+)\.md", re.DOTALL | re.MULTILINE)
"""Code and links, which stay, or the name of a document."""
INLINE = re.compile(r'<span class="arithmatex">\\\((.+?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.+?)\\\]\s*</div>', re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page of experiments and settings, whose one source is experiments/README.md."""
    text = SETTINGS.read_text().replace("](../docs/", "](")
    files.append(File.generated(config, "settings.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let the name of a document, as comments and messages write it, lead to its page.

    Args:
        markdown: of a page.

    Returns:
        The same with links.

    >>> on_page_markdown("as docs/cohort.md describes (`docs/cohort.md`)")
    'as [docs/cohort.md](cohort.md) describes (`docs/cohort.md`)'
    """
    return PLACES.sub(lambda found: found[1] or f"[docs/{found[2]}.md]({found[2]}.md)", markdown)


def on_page_content(html: str, **_: Any) -> str:
    r"""Replace the equations of a page.

    Args:
        html: of the page's text.

    Returns:
        The same with MathML elements.

    >>> "<mfrac>" in on_page_content(r'<span class="arithmatex">\(\frac{1}{2}\)</span>')
    True
    """
    html = BLOCK.sub(lambda found: _math(found.group(1), "block"), html)
    return INLINE.sub(lambda found: _math(found.group(1), "inline"), html)


def _math(source: str, display: str) -> str:
    return str(convert(unescape(source).strip(), display=display))
