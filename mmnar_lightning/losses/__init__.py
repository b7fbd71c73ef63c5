"""Loss terms, one function per file."""
