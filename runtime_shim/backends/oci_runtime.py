"""What containerd calls in place of runc: finishes a container's OCI spec, then becomes runc.

nerdctl cannot say all that CRI asks for (shared UTS and IPC namespaces by path, masked paths, mount
propagation, group policy, ...). So at `create` the spec gets the changes that the shim wrote down:

    LAUNCHER    containerd starts it. At `create` it writes runc's arguments into the container's
                directory, rings, waits for the verdict, opens the container's standard streams and
                becomes runc. With any other command it becomes runc at once.
    answer      in the log daemon, which is there already: an interpreter started for each
                container would cost as much CPU as runc does

The launcher holds both FIFOs open for reading *and* writing, so a daemon that dies takes nothing of
what was said with it; the next one finds the arguments (`has_asked`) and answers.
The container's streams are opened the same way: a reader that dies never breaks the container's
pipe, it only stops the flow until there is a reader again.

Standard library only. `apply` is pure.
"""

import json
import os
from typing import Any

EDITS, RUNC_NOTES, ARGUMENTS = "edits.json", "runc.json", "arguments"
STDIN, STDOUT, STDERR, CONSOLE = "stdin", "stdout", "stderr", "console"
ASK, ANSWER = "ask", "answer"
FIFOS = (STDIN, STDOUT, STDERR, ASK, ANSWER)
_END = "."

LAUNCHER = """#!/bin/sh
runc='{runc}'
creating=
for word; do
  case "$word" in
    create) creating=yes ;;
    start|kill|delete|state|exec|ps|events|update) [ "$creating" ] || exec "$runc" "$@" ;;
  esac
done
[ "$creating" ] || exec "$runc" "$@"
for id; do :; done
here='{directory}'/"$id"
exec 3<>"$here/ask" 4<>"$here/answer" || exit 1
printf '%s\\n' "$@" . > "$here/arguments"
echo >&3
read -r verdict <&4
exec 3>&- 4>&- < /dev/null
case "$verdict" in
  terminal)
    left=$#
    while [ $left -gt 0 ]; do
      set -- "$@" "$1"
      [ "$1" = create ] && set -- "$@" --console-socket console
      shift
      left=$((left - 1))
    done
    exec > /dev/null 2>&1 ;;
  stdin) exec < "$here/stdin" 1<>"$here/stdout" 2<>"$here/stderr" ;;
  streams) exec 1<>"$here/stdout" 2<>"$here/stderr" ;;
  *) echo "$verdict" >&2; exit 1 ;;
esac
exec "$runc" "$@"
"""

Spec = dict[str, Any]


def apply(spec: Spec, edits: Spec) -> Spec:
    """Changes `spec` in place. `nerdctl_spec.edits` makes `edits` and says what is in it."""
    spec.pop("hooks", None)  # nerdctl's hooks set up networks; the sandbox has one already
    spec.pop("hostname", None)  # it belongs to the sandbox's UTS namespace
    spec.setdefault("root", {})["readonly"] = edits["readonly_root"]
    _process(spec["process"], edits)
    linux = spec["linux"]
    linux.update(edits["linux"])
    for key in edits["linux_absent"]:
        linux.pop(key, None)
    _resources(linux.setdefault("resources", {}), edits)
    linux["namespaces"] = _namespaces(linux.get("namespaces", []), edits["namespaces"])
    spec["mounts"] = _mounts(spec.get("mounts", []), edits)
    return spec


def _process(process: Spec, edits: Spec) -> None:
    process.update(edits["process"])
    names = {entry.split("=", 1)[0] for entry in edits["env"]}
    kept = [entry for entry in process.get("env", []) if entry.split("=", 1)[0] not in names]
    process["env"] = kept + edits["env"]
    user = process["user"]
    groups = list(user.get("additionalGids", [])) if edits["merge_groups"] else [user["gid"]]
    groups += [gid for gid in edits["groups"] if gid not in groups]
    user["additionalGids"] = groups


def _resources(resources: Spec, edits: Spec) -> None:
    for part, values in edits["resources"].items():
        if part == "devices":
            resources["devices"] = (
                values if edits["all_devices"] else (resources.get("devices", []) + values)
            )
        elif isinstance(values, dict):
            resources.setdefault(part, {}).update(values)
        else:
            resources[part] = values


def _namespaces(given: list[Spec], wanted: dict[str, str | None]) -> list[Spec]:
    """`wanted`: a path to join, "" for a new one, None for the node's own."""
    kept = [space for space in given if space["type"] not in wanted]
    for kind, path in wanted.items():
        if path is not None:
            kept.append({"type": kind, "path": path} if path else {"type": kind})
    return kept


def _mounts(given: list[Spec], edits: Spec) -> list[Spec]:
    replaced = {mount["destination"] for mount in edits["mounts"]} | set(edits["mounts_absent"])
    kept = [mount for mount in given if mount["destination"].rstrip("/") not in replaced]
    for mount in kept:
        if mount["destination"] in edits["writable_mounts"]:
            mount["options"] = [o for o in mount["options"] if o != "ro"] + ["rw"]
    return [*kept, *edits["mounts"]]


def has_asked(directory: str) -> bool:
    """True if the container's launcher has written down all of runc's arguments."""
    return _arguments(directory) is not None


def answer(directory: str) -> None:
    """Tells the launcher that waits how to go on, once its spec is finished."""
    try:
        verdict = _prepare(directory, _arguments(directory) or [])
    except (OSError, ValueError, KeyError, IndexError) as error:
        verdict = f"{type(error).__name__}: {error}".replace("\n", " ")
    # The launcher has it open already; without one, nobody waits for this.
    fd = os.open(os.path.join(directory, ANSWER), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(fd, verdict.encode() + b"\n")
    finally:
        os.close(fd)


def _arguments(directory: str) -> list[str] | None:
    try:
        with open(os.path.join(directory, ARGUMENTS), encoding="utf-8") as file:
            *arguments, end = file.read().splitlines()
    except (OSError, ValueError):
        return None
    return arguments if end == _END else None


def _prepare(directory: str, arguments: list[str]) -> str:
    """Finishes the spec and notes what the shim wants to know of it; the launcher's verdict.

    Once: a daemon that is told of a running container again finds the notes and changes nothing.
    """
    edits = _read(os.path.join(directory, EDITS))
    bundle = _value(arguments, "--bundle")
    notes = os.path.join(directory, RUNC_NOTES)
    if not os.path.exists(notes):
        config = os.path.join(bundle, "config.json")
        spec = apply(_read(config), edits)
        _write(config, spec)
        user = spec["process"]["user"]
        told = {
            "root": _value(arguments, "--root"),
            "pid_file": _value(arguments, "--pid-file"),
            "uid": user["uid"],
            "gid": user["gid"],
            "groups": user["additionalGids"],
        }
        if edits["tty"]:
            # runc works in the bundle: from there the socket's path is short, as it has to be.
            link = os.path.join(bundle, CONSOLE)
            if not os.path.lexists(link):
                os.symlink(os.path.join(directory, CONSOLE), link)
        _write(notes, told)
    if edits["tty"]:
        return "terminal"
    return "stdin" if edits["stdin"] else "streams"


def _write(path: str, tree: Spec) -> None:
    """All of it or nothing."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(tree, file)
    os.rename(path + ".new", path)


def _read(path: str) -> Spec:
    with open(path, encoding="utf-8") as file:
        tree: Spec = json.load(file)
    return tree


def _value(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(flag) + 1]
