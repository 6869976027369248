"""Seeded players of bad input: each plays one case, and says which promise it has broken, if any."""
