import pytest

from kubelet.environment import (
    ContainerConfigError,
    EnvironmentInput,
    environment,
    expand_references,
    service_variables,
)
from protos.k8s import core_v1_pb2 as core
from tests.support.kubelet_objects import pod_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$$(A)", "$(A)"),
        ("$(NONE)", "$(NONE)"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("cost$", "cost$"),
        ("$$$(A)", "$1"),
    ],
)
def test_expansion(text, expected):
    values = {"A": "1", "B": "2"}
    assert expand_references(text, lambda name: values.get(name, f"$({name})")) == expected


def given_for(pod, **more):
    return EnvironmentInput(pod=pod, pod_ips=("10.0.0.5",), host_ips=("10.1.1.1",), **more)


def test_later_variables_see_earlier_ones_and_sources():
    pod = pod_of("a")
    container = pod.spec.containers[0]
    container.envFrom.add(prefix="P_").configMapRef.localObjectReference.name = "cm"
    container.env.add(name="A", value="$(P_k)-$(LATER)")
    container.env.add(name="B", value="$(A)!")
    container.env.add(name="LATER", value="x")
    config_map = core.ConfigMap(data={"k": "v", "1.a-b": "w", "no=name": "z"})
    found = environment(container, given_for(pod, config_maps={"cm": config_map}))
    assert found == {
        "P_k": "v",
        "P_1.a-b": "w",
        "A": "v-$(LATER)",
        "B": "v-$(LATER)!",
        "LATER": "x",
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web"),
        ("metadata.uid", "u1"),
        ("metadata.labels['x']", "y"),
        ("metadata.annotations['none']", ""),
        ("metadata.labels", 'x="y"'),
        ("status.podIP", "10.0.0.5"),
        ("status.hostIP", "10.1.1.1"),
        ("spec.nodeName", "n1"),
    ],
)
def test_fields(path, expected):
    pod = pod_of("a")
    pod.metadata.labels["x"] = "y"
    pod.spec.nodeName = "n1"
    pod.spec.containers[0].env.add(name="V").valueFrom.fieldRef.fieldPath = path
    assert environment(pod.spec.containers[0], given_for(pod))["V"] == expected


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("requests.cpu", "", "1"),
        ("requests.cpu", "1m", "250"),
        ("limits.memory", "1Mi", "64"),
        ("limits.cpu", "1m", "4000"),
    ],
)
def test_resources(resource, divisor, expected):
    pod = pod_of("a")
    container = pod.spec.containers[0]
    container.resources.requests["cpu"].string = "250m"
    container.resources.limits["memory"].string = "64Mi"
    reference = container.env.add(name="V").valueFrom.resourceFieldRef
    reference.resource = resource
    if divisor:
        reference.divisor.string = divisor
    # Without a limit the node's is told.
    assert environment(container, given_for(pod, node_cpu=4000))["V"] == expected


def test_missing_key_is_an_error_unless_optional():
    pod = pod_of("a")
    reference = pod.spec.containers[0].env.add(name="V").valueFrom.secretKeyRef
    reference.localObjectReference.name, reference.key = "s", "k"
    with pytest.raises(ContainerConfigError, match='secret "s" not found'):
        environment(pod.spec.containers[0], given_for(pod))
    with pytest.raises(ContainerConfigError, match="couldn't find key k in Secret default/s"):
        environment(pod.spec.containers[0], given_for(pod, secrets={"s": core.Secret()}))
    reference.optional = True
    assert environment(pod.spec.containers[0], given_for(pod)) == {}


def service(name, namespace="default", ip="10.96.0.9", port=80):
    made = core.Service()
    made.metadata.name, made.metadata.namespace = name, namespace
    made.spec.clusterIP = ip
    made.spec.ports.add(name="http", port=port, protocol="TCP")
    return made


def test_service_variables():
    found = service_variables(pod_of("a"), [service("my-db")])
    assert found["MY_DB_SERVICE_HOST"] == "10.96.0.9"
    assert found["MY_DB_SERVICE_PORT"] == "80"
    assert found["MY_DB_SERVICE_PORT_HTTP"] == "80"
    assert found["MY_DB_PORT_80_TCP"] == "tcp://10.96.0.9:80"
    assert found["MY_DB_PORT_80_TCP_ADDR"] == "10.96.0.9"


def test_which_services_count():
    services = [
        service("kubernetes"),
        service("own", "apps"),
        service("other", "elsewhere"),
        service("headless", "apps", ip="None"),
    ]
    pod = pod_of("a")
    pod.metadata.namespace = "apps"
    hosts = {k for k in service_variables(pod, services) if k.endswith("_SERVICE_HOST")}
    assert hosts == {"KUBERNETES_SERVICE_HOST", "OWN_SERVICE_HOST"}
    pod.spec.enableServiceLinks = False
    hosts = {k for k in service_variables(pod, services) if k.endswith("_SERVICE_HOST")}
    assert hosts == {"KUBERNETES_SERVICE_HOST"}
