"""Clinical prediction from several modalities that are missing not at random."""

__version__ = "0.1.0"
