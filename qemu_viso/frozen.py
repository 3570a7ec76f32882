"""Values: classes that are their fields, never change, and are equal where their fields are.

They are declared and used like `@dataclass(frozen=True, slots=True)`, and type checkers see no difference. That
decorator writes each class's methods as text and compiles it whenever the program starts, which for all classes of a
recipe takes longer than opening a small one; here all classes share the methods of `Frozen`. What an open imports is
made of these; elsewhere data classes do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V", bound="Frozen")


@dataclass_transform(frozen_default=True)
class _Fields(type):
    """Turns a class's annotations into its fields, which are slots; one that names its slots itself adds no fields."""

    _fields: tuple[str, ...]
    _defaults: dict[str, object]
    _setters: tuple[Callable[[object, object], None], ...]

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Fields:
        own = () if "__slots__" in namespace else tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace.pop(field) for field in own if field in namespace}
        above = next((base for base in bases if isinstance(base, _Fields)), None)
        fields = own if above is None else above._fields + own
        made = super().__new__(cls, name, bases, {"__slots__": own, "__match_args__": fields, **namespace})
        made._fields = fields
        made._defaults = defaults if above is None else above._defaults | defaults
        # A slot's own setter does not ask `__setattr__`, which refuses.
        setters = tuple(made.__dict__[field].__set__ for field in own)
        made._setters = setters if above is None else above._setters + setters
        return made


class Frozen(metaclass=_Fields):
    """Base of values. Fields with defaults come last; all may be given by position or by name."""

    __slots__ = ()

    _fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, object]]
    _setters: ClassVar[tuple[Callable[[object, object], None], ...]]

    def __init__(self, *values: object, **named: object) -> None:
        if named or len(values) != len(self._fields):
            values = _completed(type(self), values, named)
        for put, value in zip(self._setters, values, strict=True):
            put(self, value)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in self._fields)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, field) for field in self._fields))

    def __repr__(self) -> str:
        shown = (f"{field}={getattr(self, field)!r}" for field in self._fields)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} never changes, so '{name}' cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} never changes, so '{name}' cannot be deleted")

    def __reduce__(self) -> tuple[type[Frozen], tuple[object, ...]]:
        return type(self), tuple(getattr(self, field) for field in self._fields)


def field_names(value: Frozen | type[Frozen]) -> tuple[str, ...]:
    """The names of a value's fields, in their order."""
    return value._fields


def replace(value: V, **changes: object) -> V:
    """The same value with other contents in some fields.

    Raises:
        TypeError: it has no such field.
    """
    return type(value)(**{field: getattr(value, field) for field in value._fields} | changes)


def _completed(cls: type[Frozen], values: tuple[object, ...], named: dict[str, object]) -> tuple[object, ...]:
    """The contents of all fields, in their order."""
    fields = cls._fields
    if len(values) > len(fields):
        raise TypeError(f"{cls.__name__} takes {len(fields)} values, and {len(values)} are given")
    given = dict(zip(fields, values, strict=False))
    for name in named:
        if name not in fields or name in given:
            raise TypeError(f"{cls.__name__} " + (f"gets '{name}' twice" if name in given else f"has no '{name}'"))
    contents = {**cls._defaults, **given, **named}
    missing = [field for field in fields if field not in contents]
    if missing:
        raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
    return tuple(contents[field] for field in fields)
