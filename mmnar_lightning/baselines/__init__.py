"""Other methods in the same harness: equal splits, inputs, objective, metrics and report (docs/baselines.md)."""
