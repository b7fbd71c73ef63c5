"""Speed and memory, as figures beside their targets: `make bench`."""
