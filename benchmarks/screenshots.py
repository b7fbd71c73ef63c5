"""Takes pictures of the page of a run by Chromium: two widths, light and dark, and a PDF.

`make screenshots PAGE=runs/mimic/RUN/report.html OUT=pictures` writes `narrow-light.png` (400 pixels wide),
`wide-dark.png` (1280) and so on, and `page.pdf`. `--docs FILE` also writes the top of the wide page as a small picture.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = "no Chromium here: install it, for example by `apt-get install chromium`, or name its program by --browser"
WIDTHS = {"narrow": 400, "wide": 1280}
HEIGHT = 16_000
"""Pixels of the window; what lies below the page is cut off."""
SCHEMES = {"light": 1, "dark": 0}
"""Name of a colour scheme -> Chromium's number of it."""
TOP = 900
"""Pixels of the small picture."""
FRAME = """<!doctype html>
<style>body {{ margin: 0 }} iframe {{ border: 0; width: {width}px; height: {height}px }}</style>
<iframe src="{page}"></iframe>"""
"""Chromium's window has a least width of 500 pixels; a frame within it has not."""


def browser(named: str) -> str:
    """The program of Chromium; the script ends if there is none."""
    found = named or next((program for program in map(shutil.which, BROWSERS) if program), None)
    if found is None or not shutil.which(found):
        sys.exit(MISSING)
    return found


def call(program: str, words: Sequence[str]) -> None:
    """Call Chromium without a screen and without network."""
    with tempfile.TemporaryDirectory() as profile:
        usual = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
        offline = ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--no-first-run"]
        done = subprocess.run(
            [program, *usual, *offline, f"--user-data-dir={profile}", *words],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{program} ended with {done.returncode}: {done.stderr[-2000:]}")


def picture(program: str, page: Path, width: int, scheme: int, target: Path) -> None:
    """Take the whole page at one width in one colour scheme."""
    with tempfile.TemporaryDirectory() as place:
        frame = Path(place) / "frame.html"
        frame.write_text(FRAME.format(width=width, height=HEIGHT, page=page.resolve().as_uri()), encoding="utf-8")
        window = [f"--window-size={max(width, 500)},{HEIGHT}", f"--blink-settings=preferredColorScheme={scheme}"]
        call(program, [f"--screenshot={target}", *window, frame.as_uri()])
    with Image.open(target) as whole:
        framed = whole.convert("RGB").crop((0, 0, width, whole.height))
    last = framed.crop((0, framed.height - 1, width, framed.height)).resize(framed.size)
    box = ImageChops.difference(framed, last).getbbox()
    framed.crop((0, 0, width, box[3] if box else framed.height)).save(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Take all pictures.

    Args:
        arguments: words of the command line; None takes those of the process.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--docs", type=Path, help="also write the top of the page here, as a small PNG")
    parser.add_argument("--browser", default="")
    given = parser.parse_args(arguments)
    if not given.page.is_file():
        sys.exit(f"{given.page} is no file; `mmnar report` writes one")
    program = browser(given.browser)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, width in WIDTHS.items():
        for scheme, number in SCHEMES.items():
            picture(program, given.page, width, number, given.out / f"{name}-{scheme}.png")
    pdf = given.out.resolve() / "page.pdf"
    call(program, [f"--print-to-pdf={pdf}", "--no-pdf-header-footer", given.page.resolve().as_uri()])
    if given.docs:
        with Image.open(given.out / "wide-light.png") as whole:
            top = whole.crop((0, 0, whole.width, min(TOP, whole.height)))
            top.quantize(64).save(given.docs, optimize=True)
    print(f"pictures: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
