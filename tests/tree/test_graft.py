"""Names put into trees, merged, removed, renamed and hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.errors import RecipeError
from qemu_viso.tree import graft
from qemu_viso.tree.nodes import ALL_NAMESPACES, Attributes, Directory, Link, Namespace

if TYPE_CHECKING:
    from qemu_viso.tree.nodes import Node

ISO, JOLIET, UDF = Namespace
ATTRIBUTES = Attributes(0o555, 0, 0)


def directory(**nodes: Node) -> Directory:
    made = Directory(ATTRIBUTES, None)
    made.listings[0].extend(nodes)
    return made


def leaf(text: str = "x") -> Link:
    return Link(text, ATTRIBUTES, None)


def paths(root: Directory, namespace: Namespace) -> set[str]:
    found = set()
    stack = [("", root)]
    while stack:
        path, top = stack.pop()
        for name, node in top.nodes(namespace).items():
            found.add(f"{path}/{name}")
            if isinstance(node, Directory):
                stack.append((f"{path}/{name}", node))
    return found


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/", []),
        ("//a///b/", ["a", "b"]),
        ("/a/./b/../c", ["a", "c"]),
        ("/../../a", ["a"]),
        ("a", ["a"]),
        ("/a/..", []),
    ],
)
def test_components(path: str, names: list[str]) -> None:
    assert graft.components(path) == names


def test_implied_directories_are_shared_while_namespaces_agree() -> None:
    root = directory()
    [(made, members)] = graft.directories(root, ["a", "b"], ALL_NAMESPACES, lambda: ATTRIBUTES)

    assert members == ALL_NAMESPACES
    assert graft.find(root, ["a", "b"], ISO) is made
    assert graft.find(root, ["A", "B"], UDF) is made
    assert root.listings[ISO] is root.listings[JOLIET]


def test_namespaces_part_where_names_do() -> None:
    root = directory()
    graft.place(root, "only", leaf(), frozenset((JOLIET,)), "/only")
    graft.place(root, "both", leaf(), frozenset((ISO, JOLIET)), "/both")

    assert [set(root.nodes(namespace)) for namespace in Namespace] == [{"both"}, {"only", "both"}, set()]


def test_names_that_differ_by_case_only_are_one() -> None:
    root = directory(readme=leaf())

    with pytest.raises(RecipeError, match="as 'readme': names that differ by case only"):
        graft.place(root, "README", leaf(), ALL_NAMESPACES, "/README")
    with pytest.raises(RecipeError, match="'/Readme' is not a directory"):
        graft.directories(root, ["Readme"], ALL_NAMESPACES, lambda: ATTRIBUTES)


def test_directories_merge_at_every_depth() -> None:
    root = directory(a=directory(b=directory(one=leaf())))
    graft.merge(root, directory(A=directory(b=directory(two=leaf()), c=leaf())), ALL_NAMESPACES, "/")

    assert paths(root, ISO) == {"/a", "/a/b", "/a/b/one", "/a/b/two", "/a/c"}
    with pytest.raises(RecipeError, match="already has '/a/b/one'"):
        graft.merge(root, directory(a=directory(b=directory(one=leaf()))), ALL_NAMESPACES, "/")


def test_a_source_whose_namespaces_differ_merges_into_each() -> None:
    source = directory(a=leaf())
    source.listings[JOLIET] = directory(b=leaf()).listings[0]
    source.listings[UDF] = directory().listings[0]
    root = directory(x=leaf())

    graft.merge(root, source, ALL_NAMESPACES, "/")

    assert [set(root.nodes(namespace)) for namespace in Namespace] == [{"x", "a"}, {"x", "b"}, {"x"}]


def test_what_is_removed_is_gone_under_all_its_names() -> None:
    node = leaf()
    root = directory(d=directory(), other=leaf())
    graft.place(root, "short", node, frozenset((ISO,)), "/short")
    graft.place(root, "a long name", node, frozenset((JOLIET,)), "/a long name")

    assert graft.remove(root, ["SHORT"], frozenset((ISO,)))
    assert paths(root, JOLIET) == {"/d", "/other"}
    assert not graft.remove(root, ["short"], ALL_NAMESPACES)
    assert not graft.remove(root, ["other", "below"], ALL_NAMESPACES)


def test_rename() -> None:
    root = directory(a=directory(one=leaf()), b=directory())
    graft.rename(root, ["a", "one"], ["b", "two"], ALL_NAMESPACES)
    assert paths(root, JOLIET) == {"/a", "/b", "/b/two"}
    graft.rename(root, ["b", "two"], ["b", "TWO"], ALL_NAMESPACES)
    assert paths(root, ISO) == {"/a", "/b", "/b/TWO"}

    for old, new, message in (
        (["none"], ["x"], "cannot be renamed"),
        (["b"], ["b", "c"], "below itself"),
        (["b"], ["none", "c"], "no directory to be in"),
        (["b"], ["a"], "already has"),
    ):
        with pytest.raises(RecipeError, match=message):
            graft.rename(root, old, new, ALL_NAMESPACES)


def test_hidden_names_stay_in_other_namespaces() -> None:
    root = directory(keep=leaf(), d=directory(secret=leaf()))
    graft.hide(root, lambda name, _, path: name == "secret" or path == "/d/keep", JOLIET)

    assert paths(root, ISO) == {"/keep", "/d", "/d/secret"}
    assert paths(root, JOLIET) == {"/keep", "/d"}


NAMES = st.sampled_from(["a", "b", "C", "c", "Straße", "STRASSE"])
PATHS = st.lists(NAMES, min_size=1, max_size=3)
STEPS = st.lists(st.tuples(st.booleans(), PATHS, st.sets(st.sampled_from(list(Namespace)), min_size=1)), max_size=12)


@given(STEPS)
def test_each_namespace_is_as_if_it_were_alone(steps: list[tuple[bool, list[str], set[Namespace]]]) -> None:
    """Sharing listings is not to be seen from outside: three trees of one namespace each end the same."""
    shared, alone = directory(), [directory() for _ in Namespace]
    for adds, path, members in steps:
        if not adds:
            # Removal crosses namespaces by design, so only removals from all of them are alike.
            graft.remove(shared, path, ALL_NAMESPACES)
            for namespace in Namespace:
                graft.remove(alone[namespace], path, frozenset((namespace,)))
            continue
        if all(_is_free(alone[namespace], path, namespace) for namespace in members):
            _add(shared, path, frozenset(members))
            for namespace in members:
                _add(alone[namespace], path, frozenset((namespace,)))
    for namespace in Namespace:
        assert paths(shared, namespace) == paths(alone[namespace], namespace)


def _is_free(root: Directory, path: list[str], namespace: Namespace) -> bool:
    above = [graft.find(root, path[:depth], namespace) for depth in range(1, len(path))]
    if any(node is not None and not isinstance(node, Directory) for node in above):
        return False
    return graft.find(root, path, namespace) is None


def _add(root: Directory, path: list[str], members: frozenset[Namespace]) -> None:
    node = leaf()
    for parent, groups in graft.directories(root, path[:-1], members, lambda: ATTRIBUTES):
        graft.place(parent, path[-1], node, groups, "/".join(path))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("README", "readme", True),
        ("\u00c4", "\u00e4", True),
        ("\u03a3", "\u03c2", True),
        ("\u1e9e", "\u1e9e", True),
        ("Stra\u00dfe", "STRASSE", False),  # only the full folding makes two letters of one
        ("\u1e9e", "\u00df", False),  # three bytes and two
        ("\u212a", "k", False),  # KELVIN SIGN: three bytes and one
        ("\u212a\u212a", "k\u212a", False),
        ("\udcff", "\udcfe", False),
        ("\u0130", "i\u0307", False),
    ],
)
def test_simple_folding(one: str, other: str, same: bool) -> None:
    root = directory(**{one: leaf()})

    assert (root.listings[ISO].find(other) is not None) is same
