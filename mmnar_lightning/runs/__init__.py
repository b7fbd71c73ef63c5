"""One run, and several runs of one protocol: their folders, parts and results."""
