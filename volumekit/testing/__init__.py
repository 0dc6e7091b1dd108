"""Kits that test your own stores, codecs and formats against what volumekit promises; they need pytest."""
