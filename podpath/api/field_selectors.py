"""Field selectors: their texts, and whether an object's fields match.

Source: k8s.io/apimachinery pkg/fields/selector.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from podpath.api.label_lexer import SelectorError


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field."""

    field: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold; none at all matches everything."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(t.field, "") == t.value) is t.equal for t in self.terms)

    @property
    def everything(self) -> bool:
        return not self.terms

    def exact(self, field: str) -> str | None:
        """The one value that `field` must have, if the selector says so."""
        for term in self.terms:
            if term.field == field and term.equal:
                return term.value
        return None

    def __str__(self) -> str:
        return ",".join(
            f"{t.field}{'=' if t.equal else '!='}{_escape(t.value)}" for t in self.terms
        )


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


@lru_cache(maxsize=1024)
def parse(text: str) -> FieldSelector:
    """A field selector's text: `spec.nodeName=n1,status.phase!=Failed`.

    Raises: SelectorError, whose message is upstream's.
    """
    terms = []
    for part in _split_terms(text):
        if not part:
            continue
        term = _term(text, part)
        if term.field or term.value:
            terms.append(term)
    return FieldSelector(tuple(sorted(terms, key=lambda t: t.field)))


def _split_terms(text: str) -> list[str]:
    parts = [""]
    escaped = False
    for char in text:
        if char == "," and not escaped:
            parts.append("")
        else:
            parts[-1] += char
        escaped = char == "\\" and not escaped
    return parts


def _term(selector: str, part: str) -> FieldTerm:
    for index in range(len(part)):
        for operator in ("!=", "==", "="):
            if part.startswith(operator, index):
                value = _unescape(part[index + len(operator) :])
                return FieldTerm(part[:index], operator != "!=", value)
    raise SelectorError(f"invalid selector: '{selector}'; can't understand '{part}'")


def _unescape(value: str) -> str:
    out: list[str] = []
    chars = iter(value)
    for char in chars:
        if char == "\\":
            following = next(chars, "")
            if following not in {"\\", ",", "="} or not following:
                raise SelectorError(
                    f"invalid field selector: invalid escape sequence: \\{following}"
                )
            out.append(following)
        elif char in {",", "="}:
            raise SelectorError(
                f"invalid field selector: unescaped character in value: {ord(char)}"
            )
        else:
            out.append(char)
    return "".join(out)
