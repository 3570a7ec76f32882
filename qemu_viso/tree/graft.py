"""Putting nodes into a tree, and taking them out: paths, implied parents, merging, removal (sections D5 to D7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qemu_viso.errors import RecipeError
from qemu_viso.tree.nodes import ALL_NAMESPACES, Directory, is_boot_catalog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qemu_viso.tree.nodes import Attributes, Namespace, Node

Group = tuple[Directory, frozenset["Namespace"]]
"""A directory, and the namespaces in which a path leads to it."""
Met = Callable[[str], None]
Refuse = Callable[[RecipeError, frozenset["Namespace"]], None]
"""Is told what cannot be done in some namespaces, and raises it; what returns instead leaves these as they are."""


def at_once(error: RecipeError, _: frozenset[Namespace]) -> None:
    """Raise what is refused, whatever the namespace."""
    raise error


def ends_in_dots(path: str) -> bool:
    """Is the last name on a path `.` or `..`?"""
    return path.rstrip("/").rpartition("/")[2] in (".", "..")


def components(path: str) -> list[str]:
    """The names on a path. Empty ones and `.` vanish; `..` goes up, and stays at the root."""
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return names


def find(root: Directory, path: Iterable[str], namespace: Namespace) -> Node | None:
    """The node that the names on a path lead to in one namespace, or None."""
    node: Node = root
    for name in path:
        if not isinstance(node, Directory):
            return None
        found = node.listings[namespace].find(name)
        if found is None:
            return None
        node = found[1]
    return node


def directories(
    root: Directory,
    path: list[str],
    namespaces: frozenset[Namespace],
    new_attributes: Callable[[], Attributes],
    refuse: Refuse = at_once,
) -> list[Group]:
    """The directories that a path leads to, made where they are missing.

    Namespaces in which the path leads to the same directory stay together, also in what is made.

    Raises:
        RecipeError: something on the path is not a directory.
    """
    groups: list[Group] = [(root, namespaces)]
    for depth, name in enumerate(path):
        step: list[Group] = []
        for directory, members in groups:
            missing: set[Namespace] = set()
            for listing, sharing in directory.groups(members):
                found = listing.find(name)
                if found is None:
                    missing |= sharing
                elif isinstance(found[1], Directory):
                    step.append((found[1], sharing))
                else:
                    error = RecipeError(
                        f"'/{'/'.join(path[: depth + 1])}' is not a directory, so nothing can be below it",
                        hint="remove it first with ':remove:', or choose another name",
                    )
                    refuse(error, sharing)
            if missing:
                lacking = frozenset(missing)
                made = Directory(new_attributes(), None, lacking)
                for listing in directory.own_listings(lacking):
                    listing.add(name, made)
                step.append((made, lacking))
        groups = _together(step)
    return groups


def _together(groups: list[Group]) -> list[Group]:
    if len(groups) == 1:
        return groups
    joined: dict[int, Group] = {}
    for directory, members in groups:
        _, known = joined.get(id(directory), (directory, frozenset()))
        joined[id(directory)] = (directory, known | members)
    return list(joined.values())


def place(
    directory: Directory,
    name: str,
    node: Node,
    namespaces: frozenset[Namespace],
    path: str,
    met: Met | None = None,
    refuse: Refuse = at_once,
) -> None:
    """Give a node a name in a directory; a directory merges with one that has the name already, see `merge`.

    Raises:
        RecipeError: the name is taken; `path` tells which in the message.
    """
    free: set[Namespace] = set()
    for listing, members in list(directory.groups(namespaces)):
        found = listing.find(name)
        if found is None:
            free |= members
        elif isinstance(found[1], Directory) and isinstance(node, Directory):
            merge(found[1], node, members, path, met, refuse)
        else:
            refuse(taken(path, found, name), members)
    if free:
        for listing in directory.own_listings(frozenset(free)):
            listing.add(name, node)


def taken(path: str, found: tuple[str, Node], name: str) -> RecipeError:
    """The sentence for a name that something else has, which is listed so."""
    listed, node = found
    other = "" if listed == name else f" (as '{listed}': names that differ by case only are one name)"
    return RecipeError(
        f"the image already has '{path}'{other}",
        hint="it is the boot catalog, which cannot be removed; -c can give it another name"
        if is_boot_catalog(node)
        else f"put '{path}=:remove:' before it to replace what is there",
    )


def merge(
    target: Directory,
    source: Directory,
    namespaces: frozenset[Namespace],
    path: str,
    met: Met | None = None,
    refuse: Refuse = at_once,
) -> None:
    """Put all that is in `source`, a node that nothing else refers to, into `target`, at every depth.

    Args:
        target: the directory that stays.
        source: the one that is used up.
        namespaces: where.
        path: the target's.
        met: is called with the path of each directory below both that both have.
        refuse: is called with what cannot be merged.

    Raises:
        RecipeError: both have a name for different things. Names that differ by case only may come together out of
            one source, but not out of two.
    """
    stack = [(target, source, namespaces, path)]
    while stack:
        into, out_of, members, at = stack.pop()
        for sharing in _agreeing(into, out_of, members):
            incoming = out_of.nodes(min(sharing))
            if not incoming:
                continue
            listing = next(into.own_listings(sharing))
            fresh: dict[str, Node] = {}  # names of one source are not compared with each other
            for name, node in incoming.items():
                found = listing.find(name) if listing.nodes else None
                if found is None:
                    fresh[name] = node
                elif isinstance(found[1], Directory) and isinstance(node, Directory):
                    stack.append((found[1], node, sharing, f"{at.rstrip('/')}/{name}"))
                    if met is not None:
                        met(stack[-1][3])
                else:
                    refuse(taken(f"{at.rstrip('/')}/{name}", found, name), sharing)
            listing.extend(fresh)


def _agreeing(one: Directory, other: Directory, namespaces: frozenset[Namespace]) -> list[frozenset[Namespace]]:
    """The namespaces in groups, each of which shares a listing in both directories."""
    return [within for _, sharing in list(one.groups(namespaces)) for _, within in list(other.groups(sorted(sharing)))]


def remove(
    root: Directory,
    path: list[str],
    namespaces: Iterable[Namespace],
    off: frozenset[Namespace] = frozenset(),
    refuse: Refuse = at_once,
) -> bool:
    """Take what a path leads to in some namespaces out of all, again and again until nothing is found (section D2).

    In a namespace that is off, VirtualBox has no names. Here it has those that it would show if it were turned on
    later, so what the path leads to there has no name in it any more; its names in those that are on stay.

    Args:
        root: the root directory.
        path: the names on the path.
        namespaces: where it is looked up.
        off: those that are off.
        refuse: is called with what cannot be removed.

    Returns:
        whether anything was removed that is in a namespace which is on.

    Raises:
        RecipeError: it is the boot catalog.
    """
    removed = False
    for namespace in sorted(namespaces):
        while (found := _entry(root, path, namespace)) is not None:
            parent, name, node = found
            if is_boot_catalog(node):
                error = RecipeError(
                    f"'/{'/'.join(path)}' is the boot catalog, which cannot be removed",
                    hint="--rename moves it; without -c it has no name",
                )
                refuse(error, frozenset((namespace,)))
                break
            if namespace in off:
                unname(root, node, off)
            else:
                _unname(root, parent, name, node)
                removed = True
    return removed


def _entry(root: Directory, path: list[str], namespace: Namespace) -> tuple[Directory, str, Node] | None:
    """What a path leads to in a namespace, with the directory that lists it and its name there."""
    parent = find(root, path[:-1], namespace)
    found = parent.listings[namespace].find(path[-1]) if isinstance(parent, Directory) else None
    return None if found is None or not isinstance(parent, Directory) else (parent, *found)


def _unname(root: Directory, parent: Directory, name: str, node: Node) -> None:
    """Remove every name of a node: those beside the one found, then, where namespaces differ, all others."""
    left = set(ALL_NAMESPACES)
    for listing, members in list(parent.groups(ALL_NAMESPACES)):
        if listing.nodes.get(name) is node:
            listing.remove(name)
            left -= members
    for namespace in left:
        _unname_everywhere(root, namespace, node)


def _unname_everywhere(root: Directory, namespace: Namespace, node: Node) -> None:
    stack = [root]
    seen = {id(root)}
    while stack:
        listing = stack.pop().listings[namespace]
        for name in [name for name, other in listing.nodes.items() if other is node]:
            listing.remove(name)
        for other in listing.nodes.values():
            if isinstance(other, Directory) and id(other) not in seen:
                seen.add(id(other))
                stack.append(other)


def unname(root: Directory, node: Node, namespaces: frozenset[Namespace]) -> None:
    """Take every name that a node has in some namespaces; what shares listings with them keeps its own."""
    stack: list[Group] = [(root, namespaces)]
    while stack:
        directory, within = stack.pop()
        for listing, members in list(directory.groups(within)):
            names = [name for name, other in listing.nodes.items() if other is node]
            if names:
                own = next(directory.own_listings(members))
                for name in names:
                    own.remove(name)
            stack += ((other, members) for other in listing.nodes.values() if isinstance(other, Directory))


def rename(
    root: Directory, old: list[str], new: list[str], namespaces: frozenset[Namespace], refuse: Refuse = at_once
) -> None:
    """Move what one path leads to, to another path, in each of the namespaces that holds anything (section D9).

    Raises:
        RecipeError: nothing to move, no directory to move it to, the name is taken, or a directory would move below
            itself.
    """
    movable = set()
    for namespace in sorted(namespaces):
        if root.nodes(namespace):
            error = _obstacle(root, old, new, namespace)
            if error is None:
                movable.add(namespace)
            else:
                refuse(error, frozenset((namespace,)))
    for namespace in sorted(movable):
        parent, target = find(root, old[:-1], namespace), find(root, new[:-1], namespace)
        found = parent.listings[namespace].find(old[-1]) if isinstance(parent, Directory) else None
        if found is None or not isinstance(parent, Directory) or not isinstance(target, Directory):
            continue  # moved together with a namespace that shares the listing
        name, node = found
        for listing, members in list(parent.groups(movable)):
            if namespace in members and listing.nodes.get(name) is node:
                next(parent.own_listings(members)).remove(name)
                place(target, new[-1], node, members, "/" + "/".join(new))


def _obstacle(root: Directory, old: list[str], new: list[str], namespace: Namespace) -> RecipeError | None:
    """Why something cannot be moved in a namespace."""
    old_path, new_path = "/" + "/".join(old), "/" + "/".join(new)
    node, target = find(root, old, namespace), find(root, new[:-1], namespace)
    if node is None:
        return RecipeError(
            f"'{old_path}' is not in the image's {namespace.title} names, so it cannot be renamed",
            hint="put --rename behind what adds it; with a --name-setup, give the name that it has in each namespace",
        )
    if not isinstance(target, Directory):
        return RecipeError(
            f"'{new_path}' has no directory to be in", hint="add the directory first: --rename makes none"
        )
    if any(find(root, new[:depth], namespace) is node for depth in range(len(new))):
        return RecipeError(
            f"'{old_path}' cannot be moved to '{new_path}', which is below itself",
            hint="name a directory outside of it",
        )
    found = target.listings[namespace].find(new[-1])
    return taken(new_path, found, new[-1]) if found is not None and found[1] is not node else None


def hide(root: Directory, matches: Callable[[str, Node, str], bool], namespace: Namespace) -> None:
    """Take what matches, a name, a node and its path, out of one namespace; the nodes stay in the others."""
    stack = [("", root)]
    while stack:
        path, directory = stack.pop()
        hidden = [name for name, node in directory.nodes(namespace).items() if matches(name, node, f"{path}/{name}")]
        if hidden:
            listing = next(directory.own_listings(frozenset((namespace,))))
            for name in hidden:
                listing.remove(name)
        for name, node in directory.nodes(namespace).items():
            if isinstance(node, Directory):
                stack.append((f"{path}/{name}", node))
