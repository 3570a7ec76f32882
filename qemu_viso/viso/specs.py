"""File specs: `[name=[name=...]]source`, split at every `=`, for there is no way to escape one."""

from __future__ import annotations

REMOVE = ":remove:"
MUST_REMOVE = ":must-remove:"
REMOVALS = (REMOVE, MUST_REMOVE)
CHAIN = ":iprtvfs:"
"""What a source begins with that is a chain (`qemu_viso.viso.chains`), not a path."""
# VirtualBox's RTPATH_MAX counts bytes and includes the terminator.
PATH_LIMIT = 4096


class BadValueError(ValueError):
    """What is wrong with a value, as the end of a sentence that begins with the value; and a hint."""

    def __init__(self, wrong: str, hint: str | None = None) -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.hint = hint


def parse_spec(word: str, count: int) -> tuple[tuple[str | None, ...], str]:
    """The names, one for each of the `count` specifiers in force, and the source.

    Raises:
        BadValueError: too many `=`, no source, or a part of 4,096 bytes or more.
    """
    if len(word) * 4 >= PATH_LIMIT:
        for part in word.split("="):
            checked_length(part)
    name, equals, source = word.rpartition("=")
    if not source:
        raise BadValueError(*_NO_SOURCE[bool(word)])
    if source[0] == ":":
        checked_source(source)
    if not equals:
        return (name_of(source),) * count, source
    if "=" not in name:
        return ((name if name[:1] == "/" else "/" + name) if name else None,) * count, source
    return _names(name, count, and_source=True), source


_NO_SOURCE = {
    False: ("is an empty word, and a file spec has a source", "are there two quotes with nothing between them?"),
    True: ("has no source after its last '='", "it is written NAME=SOURCE, or NAME=:remove: to take a name away"),
}


def parse_names(word: str, count: int) -> tuple[str | None, ...]:
    """Names without a source.

    Raises:
        BadValueError: too many `=`, a part of 4,096 bytes or more, or a name that is `.` or `..`.
    """
    for part in word.split("="):
        checked_length(part)
        if (last := part.rstrip("/").rpartition("/")[2]) in (".", ".."):
            raise BadValueError(f"ends in '{last}', which nothing can be called", "write the name itself")
    return _names(word, count, and_source=False)


def _names(text: str, count: int, *, and_source: bool) -> tuple[str | None, ...]:
    parts = text.split("=")
    if len(parts) > count:
        given = f"has {len(parts)} names" + (" and a source" if and_source else "")
        allowed = "one name is" if count == 1 else f"{count} names are"
        raise BadValueError(
            f"{given}, and {allowed} allowed here",
            "'=' cannot be escaped; a file with '=' in its name comes in with its directory"
            if count == 1
            else "--name-setup says how many names there are",
        )
    names = tuple(with_slash(part) if part else None for part in parts)
    return names + names[-1:] * (count - len(names))


def name_of(source: str) -> str:
    """The name of a source that is given without one: its last component; trailing slashes stay.

    `.` stands for what is in a directory, so it goes to the root. A chain's name is that of the path that it ends in.
    """
    if source.startswith(CHAIN):
        from qemu_viso.viso.chains import parse_chain

        source = parse_chain(source).path
        if not source:
            raise BadValueError("has no name of its own", "give it one, as in /x=:iprtvfs:…")
    bare = source.rstrip("/")
    last = bare[bare.rfind("/") + 1 :]
    if last == "..":
        raise BadValueError("has no name of its own", "give it one, as in /x=.., or write /=.. for what is in it")
    if last in ("", "."):
        return "/"
    return "/" + last + source[len(bare) :]


def with_slash(name: str) -> str:
    """`name` with one slash in front at least."""
    return name if name.startswith("/") else "/" + name


def checked_length(part: str) -> str:
    """The part itself, if it is shorter than VirtualBox's longest path."""
    if len(part) * 4 >= PATH_LIMIT and len(part.encode(errors="surrogatepass")) >= PATH_LIMIT:
        raise BadValueError("has a part of 4,096 bytes or more", "paths have at most 4,095 bytes")
    return part


def checked_source(source: str) -> str:
    """The source itself, if it is one that exists outside VirtualBox and is not too long."""
    checked_length(source)
    if source.startswith(CHAIN):
        from qemu_viso.viso.chains import parse_chain

        parse_chain(source)
    return source
