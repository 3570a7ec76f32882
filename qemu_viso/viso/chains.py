r"""Chains of VirtualBox's file system providers: `:iprtvfs:file(stdfile,FILE)|vfs(isofs)|PATH` (section D4).

Of the providers, those of a host file and of an ISO image mean something outside VirtualBox. The characters
`( ) { } \ , | :` are meant literally behind a backslash.
"""

from __future__ import annotations

from qemu_viso.frozen import Frozen
from qemu_viso.viso.source import shown
from qemu_viso.viso.specs import CHAIN, BadValueError

_SPECIAL = frozenset("(){},|:")
_ISO_OPTIONS = ("nojoliet", "norock")
_HINT = "a chain is written :iprtvfs:file(stdfile,FILE)|vfs(isofs)|PATH; --push-iso FILE opens an image as well"


class Chain(Frozen):
    """What a chain leads to.

    Attributes:
        file: a host file.
        in_image: the file is an image, and `path` is in it; otherwise the file itself is meant.
        joliet: may the image's Joliet names be used?
        rock: may its Rock Ridge be used?
        path: a path in the image; "" for none.
    """

    file: str
    in_image: bool = False
    joliet: bool = True
    rock: bool = True
    path: str = ""


class _Element:
    """An element: a provider with its arguments, or, without parentheses, a path."""

    def __init__(self) -> None:
        self.name = ""
        self.arguments: list[str] | None = None
        self.closed = False

    def __str__(self) -> str:
        if self.arguments is None:
            return self.name
        return f"{self.name}({','.join(self.arguments)}{')' if self.closed else ''}"

    def of(self, kind: str, provider: str) -> list[str] | None:
        """The further arguments if this is such a provider."""
        if self.name != kind or not self.arguments or self.arguments[0] != provider:
            return None
        return self.arguments[1:]


def parse_chain(text: str) -> Chain:
    """Take a chain apart.

    Raises:
        BadValueError: it is not written as a chain is, or has an element that exists in VirtualBox only.
    """
    first, *others = _elements(text)
    file = first.of("file", "stdfile")
    if file is None or len(file) not in (1, 2) or not file[0] or file[1:] not in ([], ["r"]):
        raise _unknown(first, "only file(stdfile,FILE) can be there")
    if not others:
        return Chain(file[0])
    image, *path = others
    options = image.of("vfs", "isofs")
    if options is None or not set(options) <= set(_ISO_OPTIONS):
        raise _unknown(image, f"only vfs(isofs), with {' or '.join(_ISO_OPTIONS)}, can be there")
    for element in path:
        if element is not path[0] or element.arguments is not None or not element.name:
            raise _unknown(element, "only one path in the image can be there, as the last")
    inside = path[0].name if path else ""
    return Chain(file[0], True, "nojoliet" not in options, "norock" not in options, inside)


def _unknown(element: _Element, known: str) -> BadValueError:
    return BadValueError(f"has {shown(str(element))} in it, which is not supported: {known}", _HINT)


def _elements(text: str) -> list[_Element]:
    found = [_Element()]
    characters = iter(text[len(CHAIN) :])
    for character in characters:
        special = character in _SPECIAL
        if character == "\\":
            character = next(characters, "\\")
        element = found[-1]
        inside = element.arguments is not None and not element.closed
        if special and character == "(" and element.arguments is None:
            element.arguments = [""]
        elif special and character == ")" and inside:
            element.closed = True
        elif special and character == "," and inside and element.arguments is not None:
            element.arguments.append("")
        elif special and character in "|:" and not inside:
            found.append(_Element())
        elif special or element.closed:
            raise BadValueError(
                f"is not written as a chain is: {shown(character)} cannot be behind {shown(str(element))}", _HINT
            )
        elif inside and element.arguments is not None:
            element.arguments[-1] += character
        else:
            element.name += character
    if found[-1].arguments is not None and not found[-1].closed:
        raise BadValueError("is not written as a chain is: a parenthesis is not closed", _HINT)
    return found
