"""Several processes: launch, collectives, signals."""
