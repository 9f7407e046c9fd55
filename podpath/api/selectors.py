"""Label selectors: their texts, the messages that hold them, and whether an object's labels match.

Source: k8s.io/apimachinery pkg/labels/selector.go, pkg/apis/meta/v1/helpers.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from podpath.api import names
from podpath.api.go_text import quote
from podpath.api.label_lexer import Lexer, SelectorError, Token
from protos.k8s.meta_v1_pb2 import LabelSelector as LabelSelectorMessage


class Operator(Enum):
    """How a requirement looks at a label."""

    IN = "in"
    NOT_IN = "notin"
    EQUALS = "="
    DOUBLE_EQUALS = "=="
    NOT_EQUALS = "!="
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER_THAN = "gt"
    LESS_THAN = "lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN | Operator.EQUALS | Operator.DOUBLE_EQUALS:
                return value is not None and value in self.values
            case Operator.NOT_IN | Operator.NOT_EQUALS:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case _:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        number = _integer(value) if value is not None else None
        if number is None:
            return False
        (bound_text,) = self.values
        bound = int(bound_text)
        return number > bound if self.operator is Operator.GREATER_THAN else number < bound

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator.value} ({values})"
            case Operator.GREATER_THAN:
                return f"{self.key}>{values}"
            case Operator.LESS_THAN:
                return f"{self.key}<{values}"
            case _:
                return f"{self.key}{self.operator.value}{values}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(r.matches(labels) for r in self.requirements)

    @property
    def everything(self) -> bool:
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


def _integer(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    fits = -(2**63) <= number < 2**63 and text.strip() == text and "_" not in text
    return number if fits else None


@lru_cache(maxsize=1024)
def parse(text: str) -> LabelSelector:
    """A label selector's text: `app=web,tier in (a, b),!legacy`.

    Raises: SelectorError, whose message is upstream's.
    """
    requirements = tuple(_Parser(Lexer(text)).parse())
    return LabelSelector(tuple(sorted(requirements, key=lambda r: r.key)))


_SYMBOLS = {
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    "=": Operator.EQUALS,
    "==": Operator.DOUBLE_EQUALS,
    "!=": Operator.NOT_EQUALS,
    ">": Operator.GREATER_THAN,
    "<": Operator.LESS_THAN,
}


class _Parser:
    """Recursive descent over the lexer's tokens; the texts of its errors are upstream's."""

    def __init__(self, lexer: Lexer) -> None:
        self._lexer = lexer

    def parse(self) -> list[Requirement]:
        lexer = self._lexer
        found: list[Requirement] = []
        while True:
            kind, text = lexer.peek()
            if kind in {Token.IDENTIFIER, Token.NOT}:
                try:
                    found.append(self._requirement())
                except SelectorError as error:
                    raise SelectorError(f"unable to parse requirement: {error}") from None
                kind, text = lexer.next()
                if kind is Token.END:
                    return found
                if kind is not Token.COMMA:
                    raise SelectorError(f"found '{text}', expected: ',' or 'end of string'")
                after, after_text = lexer.peek()
                if after not in {Token.IDENTIFIER, Token.NOT}:
                    raise SelectorError(f"found '{after_text}', expected: identifier after ','")
            elif kind is Token.END:
                return found
            else:
                raise SelectorError(f"found '{text}', expected: !, identifier, or 'end of string'")

    def _requirement(self) -> Requirement:
        lexer = self._lexer
        kind, text = lexer.next()
        negated = kind is Token.NOT
        if negated:
            kind, text = lexer.next()
        if kind is not Token.IDENTIFIER:
            raise SelectorError(f"found '{text}', expected: identifier")
        if problems := names.label_key_problems(text):
            raise SelectorError(f"<nil>: Invalid value: {quote(text)}: {'; '.join(problems)}")
        key = text
        if negated:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        kind, _ = lexer.peek()
        if kind in {Token.END, Token.COMMA}:
            return Requirement(key, Operator.EXISTS)
        kind, text = lexer.next(values=False)
        operator = _SYMBOLS.get(text) if kind is Token.OPERATOR else None
        if operator is None:
            raise SelectorError(f"found '{text}', expected: {_OPERATORS}")
        values = self._set() if operator in {Operator.IN, Operator.NOT_IN} else self._value()
        return _checked(Requirement(key, operator, frozenset(values)))

    def _value(self) -> list[str]:
        kind, text = self._lexer.peek()
        if kind in {Token.END, Token.COMMA}:
            return [""]
        kind, text = self._lexer.next()
        if kind is not Token.IDENTIFIER:
            raise SelectorError(f"found '{text}', expected: identifier")
        return [text]

    def _set(self) -> list[str]:
        lexer = self._lexer
        kind, text = lexer.next()
        if kind is not Token.OPEN:
            raise SelectorError(f"found '{text}' expected: '('")
        values: list[str] = []
        expects_value = first = True
        while True:
            kind, text = lexer.next()
            if kind is Token.IDENTIFIER and expects_value:
                values.append(text)
                expects_value = False
            elif kind is Token.COMMA:
                if expects_value:
                    values.append("")
                expects_value = True
            elif kind is Token.CLOSE:
                if expects_value:
                    values.append("")
                return values
            elif not first and expects_value:
                raise SelectorError(f"found '{text}', expected: ',', or identifier")
            elif expects_value:
                raise SelectorError(f"found '{text}', expected: ',', ')' or identifier")
            else:
                raise SelectorError(f"found '{text}', expected: ',' or ')'")
            first = False


_OPERATORS = "in, notin, =, ==, !=, gt, lt"


def _checked(requirement: Requirement) -> Requirement:
    for index, value in enumerate(sorted(requirement.values)):
        compares = requirement.operator in {Operator.GREATER_THAN, Operator.LESS_THAN}
        if compares and _integer(value) is None:
            raise SelectorError(
                f"values[{index}]: Invalid value: {quote(value)}: "
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        if problems := names.label_value_problems(value):
            raise SelectorError(
                f"values[{index}][{requirement.key}]: Invalid value: {quote(value)}: "
                f"{'; '.join(problems)}"
            )
    return requirement


_MESSAGE_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
}


def from_message(selector: LabelSelectorMessage | None) -> LabelSelector:
    """The selector an object holds. None selects nothing, an empty one everything.

    Raises: SelectorError.
    """
    if selector is None:
        return NOTHING
    found = [
        Requirement(key, Operator.IN, frozenset((value,)))
        for key, value in sorted(selector.matchLabels.items())
    ]
    for expression in selector.matchExpressions:
        operator = _MESSAGE_OPERATORS.get(expression.operator)
        if operator is None:
            raise SelectorError(
                f"{quote(expression.operator)} is not a valid label selector operator"
            )
        found.append(Requirement(expression.key, operator, frozenset(expression.values)))
    return LabelSelector(tuple(found))


def from_labels(labels: Mapping[str, str]) -> LabelSelector:
    """Selects objects that have all of `labels`."""
    return LabelSelector(
        tuple(Requirement(k, Operator.EQUALS, frozenset((v,))) for k, v in sorted(labels.items()))
    )
