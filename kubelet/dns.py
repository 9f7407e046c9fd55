"""What a Pod's resolv.conf holds. Pure. Source: pkg/kubelet/network/dns/dns.go."""

import re
from dataclasses import dataclass
from functools import lru_cache

from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

_NAMESERVER = re.compile(r"^\s*nameserver\s+(\S+)", re.MULTILINE)
_SEARCH = re.compile(r"^\s*search\s+(.+)$", re.MULTILINE)
_OPTIONS = re.compile(r"^\s*options\s+(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Dns:
    """The node's name resolution: the host's own and the cluster's."""

    cluster_servers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    host_servers: tuple[str, ...] = ()
    host_searches: tuple[str, ...] = ()
    host_options: tuple[str, ...] = ()


def dns_config(pod: core.Pod, dns: Dns) -> cri.DNSConfig:
    """resolv.conf by dnsPolicy, dnsConfig merged in; at most 3 servers and 32 searches."""
    if not pod.spec.HasField("dnsConfig"):
        policy = pod.spec.dnsPolicy or "ClusterFirst"
        return _plain_dns(policy, pod.spec.hostNetwork, pod.metadata.namespace, dns)
    return _dns(pod, dns)


@lru_cache(maxsize=1024)
def _plain_dns(policy: str, host_network: bool, namespace: str, dns: Dns) -> cri.DNSConfig:
    """Without a dnsConfig, most Pods of a namespace have the same. Shared: read-only."""
    pod = core.Pod()
    pod.metadata.namespace = namespace
    pod.spec.dnsPolicy, pod.spec.hostNetwork = policy, host_network
    return _dns(pod, dns)


def _dns(pod: core.Pod, dns: Dns) -> cri.DNSConfig:
    policy = pod.spec.dnsPolicy or "ClusterFirst"
    servers = list(dns.host_servers)
    searches = list(dns.host_searches)
    options = list(dns.host_options)
    cluster = policy == "ClusterFirstWithHostNet" or (
        policy == "ClusterFirst" and not pod.spec.hostNetwork
    )
    if policy == "None":
        servers, searches, options = [], [], []
    elif cluster and dns.cluster_servers:
        domain = dns.cluster_domain
        own = [f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain]
        servers = list(dns.cluster_servers)
        searches = own + [s for s in searches if s not in own]
        options = ["ndots:5"]
    extra = pod.spec.dnsConfig
    servers = list(dict.fromkeys([*servers, *extra.nameservers]))[:3]
    searches = list(dict.fromkeys([*searches, *extra.searches]))[:32]
    by_name = {o.partition(":")[0]: o for o in options}
    for option in extra.options:
        text = f"{option.name}:{option.value}" if option.value else option.name
        by_name[option.name] = text
    return cri.DNSConfig(servers=servers, searches=searches, options=list(by_name.values()))


def parse_resolv_conf(text: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(nameservers, searches, options) of a resolv.conf; the last line of a kind counts."""
    searches = _SEARCH.findall(text)
    options = _OPTIONS.findall(text)
    return (
        tuple(_NAMESERVER.findall(text)),
        tuple(searches[-1].split()) if searches else (),
        tuple(options[-1].split()) if options else (),
    )
