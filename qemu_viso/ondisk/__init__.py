"""Definitions of the structures on the medium, field by field as the standards name them."""
