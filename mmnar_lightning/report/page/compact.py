"""Makes the SVG of a figure small: a page has dozens of them, and matplotlib writes for other readers than a page."""

import re

DIGITS = 2
"""Decimals of coordinates: a hundredth of a point."""
INHERITED = "font-family: system-ui, sans-serif, sans-serif; "
"""What the page gives every text anyway."""
_TAG = re.compile(r"<(/?)(\w+)([^<>]*?)(/?)>")
_GEOMETRY = re.compile(r'\b(d|x|y|transform|viewBox|width|height)="([^"]*)"')
_NUMBER = re.compile(r"-?\d+\.\d+")
_STEP = re.compile(r"\s*([A-Za-z])\s*")
_ID = re.compile(r'\s+id="([^"]+)"')
_POINTER = re.compile(r'(?:href="#|url\(#)([^")]+)')
_NUMBERED = re.compile(r'(\bid="|href="#|url\(#)([^")]+-\d+)(?=["\)])')
_STYLE = re.compile(r'\bstyle="([^"]*)"')
_RULES = re.compile(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", re.DOTALL)
_INVISIBLE = re.compile(r'<path d="[^"]*" style="fill: none"/>')
_UNTURNED = re.compile(r'\s+transform="rotate\(-?0 [^"]*\)"')
_BETWEEN = re.compile(r">\s+<")


def compact(svg: str) -> str:
    r"""Write the same drawing in fewer characters.

    Coordinates are rounded, and what draws nothing is left out: ids that nothing names, groups without attributes,
    paths without line and area, turns by 0 degrees, spaces. The two rules for lines are in the style of the page.

    Args:
        svg: an element as matplotlib writes it, its ids already unique.

    Returns:
        The element.

    >>> compact('<svg><g id="a"><path id="b" d="M 1.23456 2 \nL 3.999 4.5 \n" style="stroke: red"/></g></svg>')
    '<svg><path d="M1.23 2L4 4.5" style="stroke: red"/></svg>'
    """
    text = _INVISIBLE.sub("", _UNTURNED.sub("", _RULES.sub("", svg))).replace(INHERITED, "")
    text = _GEOMETRY.sub(lambda found: f'{found[1]}="{_geometry(found[1], found[2])}"', text)
    named = set(_POINTER.findall(text))
    text = _ID.sub(lambda found: found[0] if found[1] in named else "", text)
    return _without_bare_groups(_BETWEEN.sub("><", text))


def _geometry(attribute: str, value: str) -> str:
    if "scale(" in value or "matrix(" in value:  # a factor may be smaller than the rounding
        return value
    rounded = _NUMBER.sub(lambda found: f"{round(float(found[0]), DIGITS):g}", value)
    return _STEP.sub(r"\1", rounded).strip() if attribute == "d" else rounded


def _without_bare_groups(text: str) -> str:
    """Leave out the tags of groups that have no attribute, and groups without content."""
    kept: list[str] = []
    groups: list[int | None] = []  # place of the start of each open group in `kept`; None if it was left out
    end = 0
    for tag in _TAG.finditer(text):
        kept.append(text[end : tag.start()])
        end = tag.end()
        if tag[2] != "g":
            kept.append(tag[0])
        elif not tag[1]:
            groups.append(len(kept) if tag[3].strip() else None)
            if tag[3].strip():
                kept.append(tag[0])
        else:
            start = groups.pop()
            if start is not None and not "".join(kept[start + 1 :]):
                del kept[start:]
            elif start is not None:
                kept.append(tag[0])
    return "".join([*kept, text[end:]])


def share(page: str, rules: str) -> str:
    """Write the styles of all figures of a page as classes, and their ids as short ones.

    Args:
        page: HTML whose `style` attributes and ids with a number at their end are those of figures.
        rules: text of the page after which the rules of the classes are put.

    Returns:
        The page with the same look.

    >>> share('<style>a{}</style><i style="fill: red"/><b style="fill: red" id="plot-7"/><u href="#plot-7"/>', "a{}")
    '<style>a{}.p0{fill: red}</style><i class="p0"/><b class="p0" id="f0"/><u href="#f0"/>'
    """
    classes: dict[str, int] = {}
    text = _STYLE.sub(lambda found: f'class="p{classes.setdefault(found[1], len(classes))}"', page)
    ids: dict[str, int] = {}
    text = _NUMBERED.sub(lambda found: f"{found[1]}f{ids.setdefault(found[2], len(ids))}", text)
    return text.replace(rules, rules + "".join(f".p{number}{{{style}}}" for style, number in classes.items()), 1)
