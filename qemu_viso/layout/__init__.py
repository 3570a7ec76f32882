"""A tree laid out as an image: sizes first, then places, then regions."""
