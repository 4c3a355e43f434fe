"""The kinds of sources by name and by URL scheme; your own module can register another kind."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from flows.errors import DuplicateName, StorageError, UnknownName, suggest
from flows.storage import canonical_uri
from handlers.sources.protocol import Source, Tools, UnusableOption

Kind = TypeVar("Kind", bound=Callable[..., Source])
Secret = Annotated[str, "secret"]
"""The type of an option that is a reference to a secret (env:NAME); the kind receives the secret itself."""


@dataclass(frozen=True)
class SourceKind:
    """A kind of source: its name, its URL schemes, and how a source is opened."""

    name: str
    schemes: tuple[str, ...]
    make: Callable[..., Source]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The options of the kind: the keyword-only parameters of its constructor."""
        parameters = inspect.signature(self.make).parameters.values()
        return {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY and each.name != "tools"}

    def canonical(self, place: str) -> str:
        """The root of the source at a place."""
        made = getattr(self.make, "canonical", None)
        if made is not None:
            return made(place)
        scheme, _, rest = place.partition("://")
        return canonical_uri(f"{scheme.lower()}://{rest.rstrip('/')}")

    def open(self, place: str, options: Mapping[str, Any], tools: Tools) -> Source:
        """The source at a place.

        Raises:
            UnusableOption: options are unknown, missing or of the wrong type; the message has all of them.
            MissingSecret: a reference has no secret behind it.
        """
        values, problems = self.check(options)
        if problems:
            raise UnusableOption("; ".join(problems.values()))
        for name, hint in self._hints().items():
            if _is_secret(hint) and values.get(name):
                values[name] = tools.secrets(values[name])
        takes = inspect.signature(self.make).parameters
        return self.make(place, **values, **({"tools": tools} if "tools" in takes else {}))

    def check(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The options converted to their types, and a problem for each unusable option, by name."""
        known, hints = self.options, self._hints()
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for name, value in options.items():
            if name not in known:
                problems[name] = f"a source of kind {self.name!r} has no option {name!r}{suggest(name, list(known))}"
                continue
            try:
                values[name] = TypeAdapter(hints.get(name, Any)).validate_python(value)
            except ValidationError as invalid:
                first = invalid.errors(include_url=False)[0]
                inner = "".join(f".{part}" for part in first["loc"])
                problems[name] = f"{name}{inner}: {str(first['msg']).removeprefix('Value error, ')}"
            else:
                if _is_secret(hints.get(name)) and value and ":" not in str(value):
                    problems[name] = f"{name}: a secret is given by reference, as env:NAME; never write it itself"
        for name, parameter in known.items():
            if parameter.default is parameter.empty and name not in options:
                problems[name] = f"a source of kind {self.name!r} needs the option {name!r}"
        return values, problems

    def _hints(self) -> dict[str, Any]:
        target = self.make.__init__ if isinstance(self.make, type) else self.make
        return typing.get_type_hints(target, include_extras=True)


_KINDS: dict[str, SourceKind] = {}
_BY_SCHEME: dict[str, SourceKind] = {}


def source_kind(name: str, *schemes: str) -> Callable[[Kind], Kind]:
    """Register a kind of source for places whose URLs have one of `schemes`.

    The class is called with the place; its keyword-only parameters are the options in `sources.yaml`, except that
    `tools` receives the `Tools` of the run. A static method `canonical` makes the root from a place.

    Raises:
        DuplicateName: the name or a scheme is taken.
    """

    def register(make: Kind) -> Kind:
        kind = SourceKind(name, schemes, make)
        for taken, known in ((name, _KINDS.get(name)), *((each, _BY_SCHEME.get(each)) for each in schemes)):
            if known is not None and _origin(known.make) != _origin(make):
                raise DuplicateName(f"two kinds of sources are called {taken!r}: {known.make!r} and {make!r}")
        _KINDS[name] = kind
        _BY_SCHEME.update(dict.fromkeys(schemes, kind))
        return make

    return register


def forget_kind(name: str) -> None:
    """Undo the registration of a kind, for tests that register their own."""
    kind = _KINDS.pop(name)
    for scheme in kind.schemes:
        del _BY_SCHEME[scheme]


def kinds() -> dict[str, SourceKind]:
    """All kinds by name."""
    return dict(sorted(_KINDS.items()))


def kind_named(name: str) -> SourceKind:
    """The kind of that name.

    Raises:
        UnknownName: there is none; the message suggests the nearest.
    """
    known = kinds()
    if name not in known:
        raise UnknownName("kind of source", name, known)
    return known[name]


def kind_of(place: str) -> SourceKind:
    """The kind of source for a place, by the scheme of its URL; a path or a storage scheme means files.

    Raises:
        StorageError: no kind has the scheme.
    """
    known = kinds()
    scheme, separator, _ = place.partition("://")
    if not separator:
        return known["files"]
    scheme = scheme.lower()
    if scheme in _BY_SCHEME:
        return _BY_SCHEME[scheme]
    kind, plus, _ = scheme.partition("+")
    if plus and kind in known and kind != "files":
        ours = ", ".join(f"{each}://" for each in known[kind].schemes)
        raise StorageError(f"{place}: a source of kind {kind!r} needs a place that begins with {ours}")
    return known["files"]


def canonical_place(place: str) -> str:
    """The root of the source at a place, for any kind: the URI by which an index knows the source."""
    return kind_of(place).canonical(place)


def _is_secret(hint: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        return "secret" in typing.get_args(hint)
    return any(_is_secret(each) for each in typing.get_args(hint))


def _origin(make: Callable[..., Any]) -> tuple[str, str]:
    return make.__module__, make.__qualname__
