"""How often the intervals of each metric hold the true value: docs/coverage.md."""
