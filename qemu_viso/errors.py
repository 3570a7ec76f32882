"""Every error that a user of qemu-viso can meet.

An error is a sentence: what is wrong, where, why, and (as a hint) what would be right. Its class fixes the exit
status of the command line; the table in `docs/reference.md` lists them, and a test keeps the two equal.

    0 fine · 1 differences found · 2 usage · 65 bad recipe · 66 missing input · 69 missing program · 70 our bug ·
    73 cannot create · 74 input/output · 75 try again · 77 permission · 78 bad configuration
"""

from __future__ import annotations

from typing import ClassVar

from qemu_viso.frozen import Frozen

__all__ = [
    "AccessError",
    "CannotCreateError",
    "ConfigurationError",
    "DifferencesError",
    "GuestError",
    "InputOutputError",
    "InternalError",
    "MissingInputError",
    "MissingProgramError",
    "PeerError",
    "Place",
    "QemuVisoError",
    "RecipeError",
    "RefusedError",
    "StaleSourceError",
    "TryAgainError",
    "UsageError",
]

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def shown(text: str) -> str:
    """A name in a sentence: control characters are escaped, so that the sentence stays one line."""
    return text.translate(_CONTROL)


class Place(Frozen):
    """A position in a recipe or response file: 1-based line, 1-based column in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class QemuVisoError(Exception):
    """Base of all errors: a sentence, the place it speaks of, and a hint that helps.

    Args:
        message: one sentence without a final full stop, in which the offending word is quoted.
        place: where in which recipe; None where no recipe is concerned.
        hint: a second sentence that says what to do; None where nothing helps.
    """

    status: ClassVar[int] = 70

    def __init__(self, message: str, *, place: Place | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    @property
    def sentence(self) -> str:
        """Place and reason, on one line."""
        return self.message if self.place is None else f"{self.place}: {self.message}"

    def __str__(self) -> str:
        return self.sentence if self.hint is None else f"{self.sentence}\n  hint: {self.hint}"


class DifferencesError(QemuVisoError):
    """A verification or comparison ended with differences."""

    status = 1


class UsageError(QemuVisoError):
    """The command line cannot be understood."""

    status = 2


class RecipeError(QemuVisoError):
    """The recipe is not a VISO, or one of its steps cannot be carried out."""

    status = 65


class MissingInputError(QemuVisoError):
    """A file that the recipe or the command line names is not there."""

    status = 66


class MissingProgramError(QemuVisoError):
    """A program or package that the work needs is not installed."""

    status = 69


class InternalError(QemuVisoError):
    """A promise that the project makes to itself is broken: a bug of ours."""

    status = 70


class CannotCreateError(QemuVisoError):
    """An output file, socket or directory cannot be made."""

    status = 73


class InputOutputError(QemuVisoError):
    """Reading or writing failed half way."""

    status = 74


class StaleSourceError(InputOutputError):
    """A host file is no longer the one that was laid out: other size, time, device or inode."""


class PeerError(InputOutputError):
    """The program at the other end of a connection breaks the protocol, or asks for what is not offered."""


class GuestError(InputOutputError):
    """A guest, or the QEMU that carries it, died, hung, or answered nonsense."""


class RefusedError(GuestError):
    """The guest could not do what was asked, and said so; it can be asked again."""


class TryAgainError(QemuVisoError):
    """Something is busy; the same call may succeed later."""

    status = 75


MAY_READ = "'ls -l' shows who may read it, and 'chmod' changes that"
"""The hint for a file that may not be read."""


class AccessError(QemuVisoError):
    """The operating system refuses access to a file that is there."""

    status = 77


class ConfigurationError(QemuVisoError):
    """A definition or a setting (a guest, an environment variable) is wrong."""

    status = 78
