"""What containerd calls in place of runc: finishes a container's OCI spec, then becomes runc.

nerdctl cannot say all that CRI asks for (shared UTS and IPC namespaces by path, masked paths, mount
propagation, group policy, ...). So for `create` this program applies the changes that the shim
wrote down, opens the container's standard streams, and replaces itself with runc. Every other
command never comes here: the launcher (see `LAUNCHER`) hands those to runc directly.

The streams are FIFOs that the container opens for reading *and* writing: a reader that dies never
breaks the container's pipe, it only stops the flow until there is a reader again.

Standard library only; run with `python -ISE`. `apply` is pure.
"""

import json
import os
import sys
from typing import Any

EDITS, RUNC_NOTES = "edits.json", "runc.json"
STDIN, STDOUT, STDERR = "stdin", "stdout", "stderr"

LAUNCHER = """#!/bin/sh
for word in "$@"; do
  case "$word" in create) exec '{python}' -ISE '{program}' '{runc}' '{directory}' "$@";; esac
  case "$word" in start|kill|delete|state|exec|ps|events|update) break;; esac
done
exec '{runc}' "$@"
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


def _open_streams(directory: str, edits: Spec) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    if edits["tty"]:
        os.dup2(null, 1)
        os.dup2(null, 2)
        return
    for name, number in ((STDOUT, 1), (STDERR, 2)):
        os.dup2(os.open(os.path.join(directory, name), os.O_RDWR), number)
    if edits["stdin"]:
        reader = os.open(os.path.join(directory, STDIN), os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(reader, True)
        os.dup2(reader, 0)


def main(runc: str, containers: str, arguments: list[str]) -> None:
    container_id = arguments[-1]
    directory = os.path.join(containers, container_id)
    with open(os.path.join(directory, EDITS), encoding="utf-8") as file:
        edits = json.load(file)
    bundle = _value(arguments, "--bundle")
    path = os.path.join(bundle, "config.json")
    with open(path, encoding="utf-8") as file:
        spec = apply(json.load(file), edits)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(spec, file)
    user = spec["process"]["user"]
    notes = {
        "root": _value(arguments, "--root"),
        "pid_file": _value(arguments, "--pid-file"),
        "uid": user["uid"],
        "gid": user["gid"],
        "groups": user["additionalGids"],
    }
    with open(os.path.join(directory, RUNC_NOTES), "w", encoding="utf-8") as file:
        json.dump(notes, file)
    _open_streams(directory, edits)
    if edits["tty"]:
        at = arguments.index("create") + 1
        arguments[at:at] = ["--console-socket", os.path.join(directory, "console")]
    os.execv(runc, [runc, *arguments])


def _value(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(flag) + 1]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
