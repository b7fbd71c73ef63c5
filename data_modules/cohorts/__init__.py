"""From raw tables to one row per unit of analysis, with labels, presence and splits."""
