"""What paths mean, by table."""

import pytest

from apiserver.http_gateway import routes


@pytest.mark.parametrize(
    ("path", "resource", "namespace", "name", "subresource"),
    [
        ("/api/v1/pods", "pods", "", "", ""),
        ("/api/v1/namespaces/a/pods", "pods", "a", "", ""),
        ("/api/v1/namespaces/a/pods/", "pods", "a", "", ""),
        ("/api/v1/namespaces/a/pods/b", "pods", "a", "b", ""),
        ("/api/v1/namespaces/a/pods/b/status", "pods", "a", "b", "status"),
        ("/api/v1/namespaces", "namespaces", "", "", ""),
        ("/api/v1/namespaces/a", "namespaces", "", "a", ""),
        ("/api/v1/namespaces/a/finalize", "namespaces", "", "a", "finalize"),
        ("/api/v1/nodes/n/status", "nodes", "", "n", "status"),
        ("/apis/apps/v1/namespaces/a/deployments/d/scale", "deployments", "a", "d", "scale"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", "clusterroles", "",
         "system:node", ""),
    ],
)  # fmt: skip
def test_resource_paths(path: str, resource: str, namespace: str, name: str, subresource: str):
    assert routes.is_resource_path(path)
    target = routes.parse(path).target
    found = (target.resource.name, target.namespace, target.name, target.subresource)
    assert found == (resource, namespace, name, subresource)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/foos",
        "/api/v2/pods",
        "/apis/apps/v1/pods",
        "/api/v1/pods/b",
        "/api/v1/namespaces/a/nodes",
        "/api/v1/namespaces/a/pods/b/foo",
        "/api/v1/namespaces/a/pods/b/status/c",
        "/api/v1/namespaces//pods/b",
    ],
)
def test_paths_that_lead_nowhere(path: str):
    with pytest.raises(routes.NoSuchPathError):
        routes.parse(path)


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"])
def test_discovery_paths_are_no_resources(path: str):
    assert not routes.is_resource_path(path)


def test_legacy_watch_paths():
    route = routes.parse("/api/v1/watch/namespaces/a/pods/b")
    assert (route.watch, route.target.name) == (True, "b")
    assert not routes.parse("/api/v1/namespaces/a/pods").watch


def test_a_proxy_path_keeps_its_tail():
    route = routes.parse("/api/v1/nodes/n/proxy/metrics/cadvisor")
    assert (route.target.subresource, route.tail) == ("proxy", "metrics/cadvisor")
