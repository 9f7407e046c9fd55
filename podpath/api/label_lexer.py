"""Tokens of a label selector's text.

Source: k8s.io/apimachinery pkg/labels/selector.go (Lexer).
"""

from enum import Enum, auto


class SelectorError(ValueError):
    """A selector's text is wrong; the message is upstream's."""


class Token(Enum):
    END = auto()
    IDENTIFIER = auto()
    OPERATOR = auto()
    NOT = auto()
    COMMA = auto()
    OPEN = auto()
    CLOSE = auto()


_SPECIAL = set("=!(),><")
_BLANK = set(" \t\r\n")
_SYMBOLS = {
    ")": Token.CLOSE,
    ",": Token.COMMA,
    "!": Token.NOT,
    "==": Token.OPERATOR,
    "=": Token.OPERATOR,
    ">": Token.OPERATOR,
    "<": Token.OPERATOR,
    "!=": Token.OPERATOR,
    "(": Token.OPEN,
}
_WORDS = {"in", "notin"}


class Lexer:
    """All tokens of a text, read one after another."""

    def __init__(self, text: str) -> None:
        self._tokens = _scan(text)
        self._position = 0

    def peek(self, values: bool = True) -> tuple[Token, str]:
        """The token to come. With `values`, `in` and `notin` are words like any other."""
        token, text = self._tokens[min(self._position, len(self._tokens) - 1)]
        if values and text in _WORDS:
            return Token.IDENTIFIER, text
        return token, text

    def next(self, values: bool = True) -> tuple[Token, str]:
        """The token to come, taken."""
        found = self.peek(values)
        self._position += 1
        return found


def _scan(text: str) -> list[tuple[Token, str]]:
    tokens: list[tuple[Token, str]] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char in _BLANK:
            position += 1
            continue
        start = position
        if char in _SPECIAL:
            double = text[start : start + 2]
            symbol = double if double in _SYMBOLS else char
            tokens.append((_SYMBOLS[symbol], symbol))
            position += len(symbol)
            continue
        while position < len(text) and text[position] not in _SPECIAL | _BLANK:
            position += 1
        word = text[start:position]
        tokens.append((Token.OPERATOR if word in _WORDS else Token.IDENTIFIER, word))
    tokens.append((Token.END, ""))
    return tokens
