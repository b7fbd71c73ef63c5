"""What each part of the method earns in worlds that differ in one property (docs/phases.md)."""
