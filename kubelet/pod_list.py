"""Pods as the JSON of a PodList."""

from collections.abc import Iterable

from podpath.api import json_codec
from protos.k8s import core_v1_pb2 as core


def pod_list_json(pods: Iterable[core.Pod]) -> bytes:
    """`{"kind":"PodList","apiVersion":"v1",...}`"""
    return json_codec.json_bytes(("v1", "PodList"), core.PodList(items=pods))
