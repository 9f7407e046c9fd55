"""Syntax of names, labels, ports and keys; each function lists what is wrong, in upstream's words.

Source: k8s.io/apimachinery pkg/util/validation/validation.go.
"""

import ipaddress
import re
from functools import lru_cache

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"


def max_length_text(length: int) -> str:
    return f"must be no more than {length} characters"


def range_text(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def _regex_text(what: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{what} (e.g. {listed}regex used for validation is '{pattern}')"


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.ASCII) is not None


@lru_cache(maxsize=8192)
def dns_label_problems(value: str) -> tuple[str, ...]:
    problems = [max_length_text(63)] if _bytes(value) > 63 else []
    if not _matches(_LABEL, value):
        if _matches(_SUBDOMAIN, value):
            problems.append("must not contain dots")
        else:
            what = (
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
                "'-', and must start and end with an alphanumeric character"
            )
            problems.append(_regex_text(what, _LABEL, "my-name", "123-abc"))
    return tuple(problems)


@lru_cache(maxsize=8192)
def dns_subdomain_problems(value: str) -> tuple[str, ...]:
    problems = [max_length_text(253)] if _bytes(value) > 253 else []
    if not _matches(_SUBDOMAIN, value):
        what = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.', and must start and end with an alphanumeric character"
        )
        problems.append(_regex_text(what, _SUBDOMAIN, "example.com"))
    return tuple(problems)


@lru_cache(maxsize=1024)
def dns_1035_problems(value: str) -> tuple[str, ...]:
    problems = [max_length_text(63)] if _bytes(value) > 63 else []
    if not _matches(_DNS_1035, value):
        what = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
            "with an alphabetic character, and end with an alphanumeric character"
        )
        problems.append(_regex_text(what, _DNS_1035, "my-name", "abc-123"))
    return tuple(problems)


@lru_cache(maxsize=1024)
def wildcard_dns_problems(value: str) -> tuple[str, ...]:
    problems = [max_length_text(253)] if _bytes(value) > 253 else []
    if not _matches(_WILDCARD, value):
        what = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
            "subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and "
            "end with an alphanumeric character"
        )
        problems.append(_regex_text(what, _WILDCARD, "*.example.com"))
    return tuple(problems)


@lru_cache(maxsize=8192)
def label_key_problems(value: str) -> tuple[str, ...]:
    """Upstream's IsQualifiedName: label and annotation keys, resource names, taints."""
    what = (
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character"
    )
    examples = ("MyName", "my.name", "123-abc")
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        text = _regex_text(what, _QUALIFIED, *examples)
        optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return (f"a qualified name {text} {optional}",)
    problems: list[str] = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += (f"prefix part {problem}" for problem in dns_subdomain_problems(prefix))
    if not name:
        problems.append("name part must be non-empty")
    elif _bytes(name) > 63:
        problems.append(f"name part {max_length_text(63)}")
    if not _matches(_QUALIFIED, name):
        problems.append(f"name part {_regex_text(what, _QUALIFIED, *examples)}")
    return tuple(problems)


@lru_cache(maxsize=8192)
def label_value_problems(value: str) -> tuple[str, ...]:
    problems = [max_length_text(63)] if _bytes(value) > 63 else []
    if not _matches(_LABEL_VALUE, value):
        what = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
            "or '.', and must start and end with an alphanumeric character"
        )
        problems.append(_regex_text(what, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return tuple(problems)


@lru_cache(maxsize=1024)
def path_segment_problems(value: str, prefix: bool = False) -> tuple[str, ...]:
    """Names that are only a segment of a URL's path, as RBAC's are."""
    if not prefix and value in {".", ".."}:
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{char}'" for char in "/%" if char in value)


def _relative_path_problems(value: str) -> list[str]:
    if value in {".", ".."}:
        return [f"must not be '{value}'"]
    return ["must not start with '..'"] if value.startswith("..") else []


@lru_cache(maxsize=4096)
def config_key_problems(value: str) -> tuple[str, ...]:
    """Keys of ConfigMaps and Secrets."""
    problems = [max_length_text(253)] if _bytes(value) > 253 else []
    if not _matches(_CONFIG_KEY, value):
        what = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems.append(_regex_text(what, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return tuple(problems + _relative_path_problems(value))


@lru_cache(maxsize=4096)
def env_name_problems(value: str) -> tuple[str, ...]:
    """Environment variables: printable ASCII without `=` (RelaxedEnvironmentVariableValidation)."""
    problems = [] if value else ["environment variable name must be non-empty"]
    if any(not " " <= char <= "~" or char == "=" for char in value):
        problems.append(
            "a valid environment variable name must consist only of printable ASCII characters "
            "other than '='"
        )
    return tuple(problems)


@lru_cache(maxsize=1024)
def c_identifier_problems(value: str) -> tuple[str, ...]:
    if _matches(_C_IDENTIFIER, value):
        return ()
    what = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string of "
        "alphanumeric characters or '_'"
    )
    return (_regex_text(what, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName"),)


@lru_cache(maxsize=1024)
def port_name_problems(value: str) -> tuple[str, ...]:
    problems = [max_length_text(15)] if len(value) > 15 else []
    if not _matches("[-a-z0-9]+", value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return tuple(problems)


def port_number_problems(value: int) -> tuple[str, ...]:
    return () if 1 <= value <= 65535 else (range_text(1, 65535),)


def user_id_problems(value: int) -> tuple[str, ...]:
    return () if 0 <= value <= 2**31 - 1 else (range_text(0, 2**31 - 1),)


def header_name_problems(value: str) -> tuple[str, ...]:
    if _matches(_HEADER, value):
        return ()
    what = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return (_regex_text(what, _HEADER, "X-Header-Name"),)


def percent_problems(value: str) -> tuple[str, ...]:
    if _matches(_PERCENT, value):
        return ()
    what = "a valid percent string must be a numeric string followed by an ending '%'"
    return (_regex_text(what, _PERCENT, "1%", "93%"),)


@lru_cache(maxsize=1024)
def ip_problems(value: str) -> tuple[str, ...]:
    if parse_ip(value) is not None:
        return ()
    return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """As upstream: leading zeros in IPv4 are decimal; zones are refused."""
    octets = value.split(".")
    if len(octets) == 4 and all(octet.isdigit() and octet.isascii() for octet in octets):
        value = ".".join(str(int(octet)) for octet in octets)
    try:
        return None if "%" in value else ipaddress.ip_address(value)
    except ValueError:
        return None
