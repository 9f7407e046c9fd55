"""YAML bodies, read as the JSON that they stand for.

Source: sigs.k8s.io/yaml: timestamps stay strings, keys become strings.
"""

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class YamlError(ValueError):
    """The message is in the form of Go's parser: `yaml: line 2: ...`."""


def parse(body: bytes) -> Any:
    """Raises: YamlError."""
    try:
        return _with_text_keys(yaml.load(body, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"yaml: line {line}: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"yaml: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise YamlError("yaml: exceeded max depth of 10000") from None


def _with_text_keys(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {_key(key): _with_text_keys(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_text_keys(item) for item in tree]
    return tree


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    return str(key)
