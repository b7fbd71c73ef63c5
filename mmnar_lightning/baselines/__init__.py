"""Other methods in the same harness: same splits, inputs, objective, metrics and report (docs/baselines.md)."""
