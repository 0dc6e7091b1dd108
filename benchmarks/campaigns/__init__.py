"""Long runs that look for damage: fuzzing and torture, with a seed, and a small sample of each as a test."""
