"""Runs `mmnar` as `python -m mmnar_lightning`."""

from mmnar_lightning.cli import run

run()
