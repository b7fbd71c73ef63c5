"""From raw clinical releases to cohorts, and from cohorts to batches."""

__version__ = "0.1.0"
