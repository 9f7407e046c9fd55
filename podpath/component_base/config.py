"""One frozen dataclass per process, filled from defaults < file < environment < flags.

A field `node_ip` of a Config is the flag `--node-ip`, the file key `nodeIp` and, for the program
`kubelet`, the environment variable `KUBELET_NODE_IP`. Fields are str, int, float, bool, Path,
tuple[str, ...] (comma-separated, or the flag repeated) or Duration: `sync_frequency_s`, in
seconds, is `--sync-frequency` and given as Go gives durations, `1m30s`. A field that is itself such
a dataclass is a mapping in the file; its flag and variable name a file of its own.
"""

import argparse
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from podpath.component_base import durations
from podpath.component_base.durations import Duration

ConfigT = TypeVar("ConfigT")

FileReader = Callable[[Mapping[str, Any], str], Mapping[str, Any]]


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it and what was expected."""


def option(default: Any = dataclasses.MISSING, *, help: str, flag: str | None = None) -> Any:  # noqa: A002
    """A Config field. Without a default it is required. `flag` renames it (without dashes)."""
    return dataclasses.field(default=default, metadata={"help": help, "flag": flag})


def load(
    cls: type[ConfigT],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    environ: Mapping[str, str] | None = None,
    read_file: FileReader | None = None,
) -> ConfigT:
    """Reads a Config. Prints usage and exits with 2 on a bad command line, as argparse does.

    `read_file` understands a --config file of another form: (its tree, its path) -> fields.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    types = get_type_hints(cls)
    parser = _parser(fields, types, prog, description)
    given = vars(parser.parse_args(argv))
    try:
        path = given.pop("config")
        values = _from_file(path, fields, types, read_file)
        values |= _from_environment(fields, types, prog, os.environ if environ is None else environ)
        values |= {
            name: _parse(types[name], text, _flag(fields[name], types[name]))
            for name, text in given.items()
        }
        missing = [
            _flag(f, types[f.name])
            for f in fields.values()
            if f.default is dataclasses.MISSING and f.name not in values
        ]
        if missing:
            raise ConfigError(f"required: {', '.join(missing)}")
        return cls(**values)
    except ConfigError as error:
        parser.error(str(error))


def _parser(
    fields: Mapping[str, "dataclasses.Field[Any]"],
    types: Mapping[str, Any],
    prog: str,
    description: str,
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=description, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    parser.add_argument("--config", default="", help="YAML file with these settings")
    for field in fields.values():
        kind = types[field.name]
        text = field.metadata.get("help", "").replace("%", "%%")
        is_section = dataclasses.is_dataclass(kind)
        if not is_section and field.default not in (dataclasses.MISSING, "", ()):
            shown = durations.of_seconds(field.default) if kind is Duration else field.default
            text = f"{text} (default: {shown})"
        arguments: dict[str, Any] = {"dest": field.name, "help": text}
        if kind is bool:
            arguments |= {"nargs": "?", "const": "true", "metavar": "true|false"}
        elif kind == tuple[str, ...]:
            arguments |= {"action": "append", "metavar": "LIST"}
        elif kind is Duration:
            arguments |= {"metavar": "DURATION"}
        parser.add_argument(_flag(field, kind), **arguments)
    return parser


def _outer_name(name: str, kind: Any) -> str:
    """The field's name as users know it: a duration tells its own unit."""
    return name.removesuffix("_s") if kind is Duration else name


def _flag(field: "dataclasses.Field[Any]", kind: Any) -> str:
    renamed: str | None = field.metadata.get("flag")
    return f"--{renamed or _outer_name(field.name, kind).replace('_', '-')}"


def _file_key(name: str, kind: Any) -> str:
    head, *rest = _outer_name(name, kind).split("_")
    return head + "".join(word.capitalize() for word in rest)


def _from_file(
    path: str,
    fields: Mapping[str, "dataclasses.Field[Any]"],
    types: Mapping[str, Any],
    read_file: FileReader | None = None,
) -> dict[str, Any]:
    if not path:
        return {}
    where = f"--config {path}"
    tree = _read_mapping(path, where)
    if read_file is not None:
        return dict(read_file(tree, where))
    return _from_mapping(tree, fields, types, where)


def _read_mapping(path: str, where: str) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{where}: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected a mapping")
    return tree


def _from_mapping(
    tree: Mapping[str, Any],
    fields: Mapping[str, "dataclasses.Field[Any]"],
    types: Mapping[str, Any],
    where: str,
) -> dict[str, Any]:
    names = {_file_key(name, types[name]): name for name in fields}
    unknown = sorted(set(tree) - set(names) - {"apiVersion", "kind"})
    if unknown:
        raise ConfigError(f"{where}: unknown field {', '.join(map(repr, unknown))}")
    return {
        names[key]: _parse(types[names[key]], value, f"{where}: {key}")
        for key, value in tree.items()
        if key in names
    }


def _from_environment(
    fields: Mapping[str, "dataclasses.Field[Any]"],
    types: Mapping[str, Any],
    prog: str,
    environ: Mapping[str, str],
) -> dict[str, Any]:
    prefix = prog.replace("-", "_").upper()
    found = {}
    for name in fields:
        variable = f"{prefix}_{_outer_name(name, types[name]).upper()}"
        if variable in environ:
            found[name] = _parse(types[name], environ[variable], variable)
    return found


def _parse(kind: Any, value: Any, where: str) -> Any:
    """`value` is a flag's text, a list of them, or what YAML made of it."""
    if kind is Duration:
        return parse_duration(value, where)
    if dataclasses.is_dataclass(kind):
        return _parse_section(kind, value, where)
    try:
        if kind is bool:
            return _parse_bool(value)
        if kind == tuple[str, ...]:
            parts = value if isinstance(value, list) else [value]
            return tuple(p.strip() for part in parts for p in str(part).split(",") if p.strip())
        if kind in (int, float, str, Path):
            return kind(value)
    except (TypeError, ValueError):
        expected = getattr(kind, "__name__", str(kind))
        raise ConfigError(f"{where}: {value!r} is not of type {expected}") from None
    raise TypeError(f"{where}: a Config field cannot be {kind}")


def parse_duration(value: Any, where: str) -> Duration:
    """Of a Go duration. Raises: ConfigError."""
    try:
        return durations.seconds(str(value))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _parse_section(kind: Any, value: Any, where: str) -> Any:
    """`value` is a mapping, or the path of a file that holds one."""
    if not isinstance(value, Mapping):
        where = f"{where}: {value}"
        value = _read_mapping(str(value), where)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = _from_mapping(value, fields, get_type_hints(kind), where)
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _parse_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in ("true", "1", "yes", "t"):
        return True
    if text in ("false", "0", "no", "f"):
        return False
    raise ValueError(value)
