"""The fields of a KubeSchedulerConfiguration file: which there are, and of which type.

A file is decoded strictly: whatever is not here is an error, wherever it stands.

Source: k8s.io/kube-scheduler config/v1/{types,types_pluginargs}.go.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podpath.component_base.config import ConfigError

Schema = Any
"""The name of a Go type for a value; a dict of fields; a list with the schema of its items; None
for what others check."""

_PLUGIN = {"name": "string", "weight": "int32"}
_PLUGIN_SET = {"enabled": [_PLUGIN], "disabled": [_PLUGIN]}

POINTS = (
    "preEnqueue",
    "queueSort",
    "preFilter",
    "filter",
    "postFilter",
    "preScore",
    "score",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
    "multiPoint",
)

_PROFILE = {
    "schedulerName": "string",
    "percentageOfNodesToScore": "int32",
    "plugins": dict.fromkeys(POINTS, _PLUGIN_SET),
    "pluginConfig": [{"name": "string", "args": None}],
}

_EXTENDER = {
    "urlPrefix": "string",
    "filterVerb": "string",
    "preemptVerb": "string",
    "prioritizeVerb": "string",
    "weight": "int64",
    "bindVerb": "string",
    "enableHTTPS": "bool",
    "tlsConfig": {
        "insecure": "bool",
        "serverName": "string",
        "certFile": "string",
        "keyFile": "string",
        "caFile": "string",
        "certData": "string",
        "keyData": "string",
        "caData": "string",
    },
    "httpTimeout": "string",
    "nodeCacheCapable": "bool",
    "managedResources": [{"name": "string", "ignoredByScheduler": "bool"}],
    "ignorable": "bool",
}

FILE = {
    "apiVersion": "string",
    "kind": "string",
    "parallelism": "int32",
    "leaderElection": {
        "leaderElect": "bool",
        "leaseDuration": "string",
        "renewDeadline": "string",
        "retryPeriod": "string",
        "resourceLock": "string",
        "resourceName": "string",
        "resourceNamespace": "string",
    },
    "clientConnection": {
        "kubeconfig": "string",
        "acceptContentTypes": "string",
        "contentType": "string",
        "qps": "float32",
        "burst": "int32",
    },
    "enableProfiling": "bool",
    "enableContentionProfiling": "bool",
    "percentageOfNodesToScore": "int32",
    "podInitialBackoffSeconds": "int64",
    "podMaxBackoffSeconds": "int64",
    "profiles": [_PROFILE],
    "extenders": [_EXTENDER],
    "delayCacheUntilActive": "bool",
}

_RESOURCES = [{"name": "string", "weight": "int64"}]
_SHAPE = [{"utilization": "int32", "score": "int32"}]

PLUGIN_ARGS: Mapping[str, Schema] = {
    "DefaultPreemption": {
        "minCandidateNodesPercentage": "int32",
        "minCandidateNodesAbsolute": "int32",
    },
    "InterPodAffinity": {
        "hardPodAffinityWeight": "int32",
        "ignorePreferredTermsOfExistingPods": "bool",
    },
    "NodeAffinity": {"addedAffinity": None},
    "NodeResourcesBalancedAllocation": {"resources": _RESOURCES},
    "NodeResourcesFit": {
        "ignoredResources": ["string"],
        "ignoredResourceGroups": ["string"],
        "scoringStrategy": {
            "type": "string",
            "resources": _RESOURCES,
            "requestedToCapacityRatio": {"shape": _SHAPE},
        },
    },
    "PodTopologySpread": {"defaultConstraints": [None], "defaultingType": "string"},
    "VolumeBinding": {"bindTimeoutSeconds": "int64", "shape": _SHAPE},
}
"""By plugin; a plugin of our own that is not here takes no arguments."""

_KINDS = {str: "string", bool: "bool", dict: "object", list: "array"}
_LIMITS = {"int32": 2**31, "int64": 2**63}


def check(tree: Any, schema: Schema, kind: str) -> None:
    """Raises: ConfigError for a value of a wrong type, else for all fields that are unknown."""
    _check_types(tree, schema, kind, "")
    unknown = [f'unknown field "{path}"' for path in _unknown(tree, schema, "")]
    if unknown:
        raise ConfigError(f"strict decoding error: {', '.join(unknown)}")


def _check_types(value: Any, schema: Schema, kind: str, path: str) -> None:
    if value is None or schema is None:
        return
    if isinstance(schema, dict):
        _demand(isinstance(value, dict), value, kind, path, "object")
        for key, found in value.items():
            _check_types(found, schema.get(key), kind, f"{path}.{key}")
    elif isinstance(schema, list):
        _demand(isinstance(value, list), value, kind, path, "array")
        for item in value:
            _check_types(item, schema[0], kind, path)
    else:
        _demand(_is_a(value, schema), value, kind, path, schema)


def _is_a(value: Any, go_type: str) -> bool:
    if go_type == "string":
        return isinstance(value, str)
    if go_type == "bool" or isinstance(value, bool):
        return go_type == "bool" and isinstance(value, bool)
    if go_type == "float32":
        return isinstance(value, int | float)
    limit = _LIMITS[go_type]
    return isinstance(value, int) and -limit <= value < limit


def _demand(holds: bool, value: Any, kind: str, path: str, wanted: str) -> None:
    if not holds:
        found = _KINDS.get(type(value)) or f"number {value}"
        raise ConfigError(
            f"json: cannot unmarshal {found} into Go struct field {kind}{path} of type {wanted}"
        )


def _unknown(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Paths of the fields that the schema does not have, in the order of the file."""
    if isinstance(schema, dict) and isinstance(value, Mapping):
        for key, found in value.items():
            where = f"{path}.{key}" if path else str(key)
            if key in schema:
                yield from _unknown(found, schema[key], where)
            else:
                yield where
    elif isinstance(schema, list) and isinstance(value, Sequence) and not isinstance(value, str):
        for i, item in enumerate(value):
            yield from _unknown(item, schema[0], f"{path}[{i}]")
