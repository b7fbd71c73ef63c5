"""One file a loss, one function a term."""
