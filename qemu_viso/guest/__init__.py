"""Guests, how they are built, and what they say of the medium they see."""
