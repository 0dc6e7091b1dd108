"""What users hold: `Volume` and what it returns."""
