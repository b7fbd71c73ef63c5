"""`python -m mmnar_lightning` is `mmnar`."""

from mmnar_lightning.cli import run

run()
