"""The index of a listing, against a search from the first name on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.tree.nodes import Attributes, Directory, Listing, folded

NODE = Directory(Attributes(0, 0, 0), None)
NAMES = st.sampled_from(["a", "A", "b", "B", "ab", "Ab", "aB", "AB", "ß", "ẞ"])


@given(
    steps=st.lists(st.tuples(st.sampled_from(["add", "extend", "remove", "find", "copy"]), st.lists(NAMES, max_size=4)))
)
def test_a_listing_finds_the_first_name_that_differs_by_case_only(steps: list[tuple[str, list[str]]]) -> None:
    listing = Listing()
    for step, names in steps:
        if step == "copy":
            listing = listing.copy()
        if step == "extend":
            listing.extend({name: NODE for name in names if name not in listing.nodes})
        for name in names:
            if step == "add" and name not in listing.nodes:
                listing.add(name, NODE)
            elif step == "remove" and name in listing.nodes:
                listing.remove(name)
            elif step == "find":
                wanted = [name] if name in listing.nodes else []
                wanted += [listed for listed in listing.nodes if folded(listed) == folded(name)]
                found = listing.find(name)
                assert (None if found is None else found[0]) == (wanted[0] if wanted else None)
