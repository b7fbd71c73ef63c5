"""The comparison of docs/results.md: `make results` trains, scores and writes it, and goes on where it was stopped."""
