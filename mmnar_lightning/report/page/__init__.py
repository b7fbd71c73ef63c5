"""The page of a run or of several: one HTML file without network, from public results alone (docs/report.md)."""
