"""The figures of docs/simulation.md: `python -m benchmarks.figures_of_simulation FOLDER`."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit

from data_modules.simulate import image, latent, text
from data_modules.simulate.config import SimulateConfig
from mmnar_lightning.report.style import ON_PAGE, PAGE_DPI, draw_patterns, new_figure, save, styled, words

PEOPLE = 40_000
STRENGTHS = (0.0, 1.0, 2.0)
SHADES = (-1.5, 0.0, 1.5)


@styled
def presence_against_severity() -> Figure:
    """Share of people with each modality by severity, for several strengths of missing not at random."""
    figure = new_figure(11, 3.4)
    for axes, strength in zip(figure.subplots(1, len(STRENGTHS), sharey=True), STRENGTHS, strict=True):
        world = latent.solve(SimulateConfig(rho=strength))
        people = latent.draw(world, PEOPLE, np.random.default_rng(0))
        reaches = ~people.excluded
        severity, present = people.health[reaches, 0], people.present[reaches]
        edges = np.quantile(severity, np.linspace(0, 1, 13))
        middle = (edges[1:] + edges[:-1]) / 2
        bins = np.digitize(severity, edges[1:-1])
        for position, name in enumerate(world.setting.modalities):
            share = [present[bins == number, position].mean() for number in range(len(middle))]
            axes.plot(middle, share, "o-", markersize=3, label=f"{words(name)} ({present[:, position].mean():.1%})")
        axes.set(title=f"rho = {strength:g} (n={len(severity):,})", xlabel="severity", ylim=(0, 1))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18))
    figure.axes[0].set_ylabel("share with the modality")
    return figure


@styled
def examples() -> Figure:
    """A image, and what a note and a report say, for a low, a middle and a high reading."""
    figure = new_figure(9, 5.4)
    generator = np.random.default_rng(3)
    rows = figure.subplots(2, len(SHADES), height_ratios=(1, 1.15))
    for column, shade in enumerate(SHADES):
        pictured, written = rows[0][column], rows[1][column]
        pictured.imshow(image.draw_image(np.array([shade, shade]), generator), cmap="gray", vmin=0, vmax=255)
        pictured.set_title(f"reading {shade:+.1f}: image, note and report", fontsize=10)
        note = text.discharge_notes(np.array([[shade, shade]]), generator)[0]
        report = text.radiology_reports(np.array([shade]), generator)[0]
        said = "\n".join(_wrap(line) for line in (_middle(note) + "\n\n" + report).splitlines())
        written.text(0, 1, said, va="top", fontsize=5, family="monospace", transform=written.transAxes)
        for axes in (pictured, written):
            axes.set_axis_off()
    return figure


def _middle(note: str) -> str:
    return note[note.index("Past Medical History") : note.index("Discharge Instructions")].strip()


def _wrap(line: str, width: int = 62) -> str:
    words, lines = line.split(" "), [""]
    for word in words:
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f"{word} "
    return "\n".join(lines)


@styled
def outcome_against_presence() -> Figure:
    """Risk of each outcome by pattern: what the pattern alone shows."""
    world = latent.solve(SimulateConfig())
    people = latent.draw(world, PEOPLE, np.random.default_rng(0))
    risk = expit(world.outcome_logit(people.health, people.worry, people.pattern))
    figure = new_figure(5, 3.6)
    axes, below = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True)
    patterns = np.unique(people.pattern)
    for task, name in enumerate(world.setting.tasks):
        means = [risk[people.pattern == pattern, task].mean() for pattern in patterns]
        axes.plot(range(len(patterns)), means, "o-", label=words(name))
    names = ["".join("1" if people.present[people.pattern == p][0, m] else "0" for m in range(3)) for p in patterns]
    axes.set(ylabel="mean risk", ylim=(0, None))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(world.setting.tasks))
    draw_patterns(below, names, world.setting.modalities, down=False)
    return figure


def main(folder: Path) -> None:
    """Draw all figures into a folder."""
    save(presence_against_severity(), folder / "presence.png", ON_PAGE, PAGE_DPI)
    save(outcome_against_presence(), folder / "risk.png", ON_PAGE, PAGE_DPI)
    save(examples(), folder / "examples.png", ON_PAGE, dpi=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
