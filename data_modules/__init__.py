"""Raw clinical releases become cohorts, and cohorts become batches."""

__version__ = "0.1.0"
