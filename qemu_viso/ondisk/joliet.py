"""Joliet: what a supplementary volume adds to ECMA-119 (Joliet Specification, Microsoft 1995)."""

from __future__ import annotations

ESCAPE_SEQUENCES = {1: b"%/@", 2: b"%/C", 3: b"%/E"}
"""UCS-2 levels 1 to 3, in the Escape Sequences field of ECMA-119 8.5.6; the rest of the field is zero."""

NAME_UNITS = 110
"""UTF-16 units of a name that a directory record holds (the specification says 64; readers take what fits)."""

ILLEGAL = "*/:;?\\"
"""Characters that a name must not have, beside the control characters (table 7)."""
