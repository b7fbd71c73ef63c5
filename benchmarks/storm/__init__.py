"""A storm of kills, damaged files and bad inputs, each followed by the same command (docs/reliability.md)."""
