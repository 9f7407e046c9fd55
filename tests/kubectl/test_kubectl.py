"""What the unmodified kubectl does with an API server alone, with no flags that help it."""

import asyncio
import json
import subprocess

import jwt
import pytest

from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.kubectl, pytest.mark.asyncio(loop_scope="module")]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, labels: {app: d}}
spec:
  replicas: 3
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec:
      containers:
      - {name: c, image: "busybox:1"}
      volumes:
      - {name: v, emptyDir: {}}
"""


async def test_version(kubectl: Kubectl):
    version = (await kubectl("version", "-o", "json")).json["serverVersion"]
    assert (version["major"], version["minor"]) == ("1", "33")


async def test_apply_twice(kubectl: Kubectl, namespace: str, pod: str):
    first = await kubectl.apply(pod, "-n", namespace)
    assert first.out == "pod/web created\n"
    second = await kubectl.apply(pod, "-n", namespace)
    assert second.out == "pod/web unchanged\n"
    changed = await kubectl.apply(pod.replace("busybox:1", "busybox:2"), "-n", namespace)
    assert changed.out == "pod/web configured\n"


async def test_apply_takes_removed_fields_away(kubectl: Kubectl, namespace: str):
    await kubectl.apply(DEPLOYMENT, "-n", namespace)
    less = DEPLOYMENT.replace("labels: {app: d}}\nspec:\n  replicas: 3", "labels: {}}\nspec:")
    less = less.replace("      volumes:\n      - {name: v, emptyDir: {}}\n", "")
    await kubectl.apply(less, "-n", namespace)
    found = (await kubectl("-n", namespace, "get", "deploy", "d", "-o", "json")).json
    assert "volumes" not in found["spec"]["template"]["spec"]
    assert "labels" not in found["metadata"]
    assert found["spec"]["replicas"] == 1


async def test_get(kubectl: Kubectl, namespace: str, pod: str):
    await kubectl.apply(pod, "-n", namespace)
    short = await kubectl("-n", namespace, "get", "pods")
    assert short.lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert short.lines[1].split()[:4] == ["web", "0/1", "Pending", "0"]
    wide = await kubectl("-n", namespace, "get", "po", "-o", "wide")
    assert wide.lines[0].split()[5:7] == ["IP", "NODE"]
    everything = await kubectl("-n", namespace, "get", "all")
    assert "pod/web" in everything.out
    everywhere = await kubectl("get", "pods", "-A", "--show-labels")
    assert "app=web" in everywhere.out
    yaml = await kubectl("-n", namespace, "get", "pod", "web", "-o", "yaml")
    assert "image: busybox:1" in yaml.out
    assert (await kubectl.run("-n", namespace, "get", "pod", "x")).err == (
        'Error from server (NotFound): pods "x" not found\n'
    )


async def test_selectors(kubectl: Kubectl, namespace: str, pod: str):
    await kubectl.apply(pod, "-n", namespace)
    await kubectl.apply(pod.replace("web", "other"), "-n", namespace)
    for words in (
        ("--field-selector", "metadata.name=web"),
        ("-l", "app=web"),
        ("-l", "app in (web,x)", "--field-selector", "status.phase=Pending"),
    ):
        found = await kubectl("-n", namespace, "get", "pods", "-o", "name", *words)
        assert found.out == "pod/web\n"


async def test_watch(kubectl: Kubectl, namespace: str, pod: str):
    process = await asyncio.create_subprocess_exec(
        *kubectl.arguments("-n", namespace, "get", "pods", "--watch", "--no-headers"),
        stdout=subprocess.PIPE,
        env=kubectl.environment,
    )
    try:
        assert process.stdout is not None
        await kubectl.apply(pod, "-n", namespace)
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).split()[0] == b"web"
            await kubectl("-n", namespace, "label", "pod", "web", "x=y")
            assert (await process.stdout.readline()).split()[0] == b"web"
    finally:
        process.terminate()
        await process.wait()


async def test_describe(kubectl: Kubectl, namespace: str, pod: str):
    await kubectl.apply(pod, "-n", namespace)
    event = f"""
apiVersion: v1
kind: Event
metadata: {{name: web.1, namespace: {namespace}}}
involvedObject: {{kind: Pod, name: web, namespace: {namespace}}}
reason: Seen
message: it was seen
type: Normal
"""
    uid = (await kubectl("-n", namespace, "get", "pod", "web", "-o", "json")).json["metadata"][
        "uid"
    ]
    await kubectl.apply(event.replace("name: web,", f"name: web, uid: {uid},"))
    described = (await kubectl("-n", namespace, "describe", "pod", "web")).out
    assert "Requests:\n      cpu:     100m" in described
    assert "it was seen" in described
    await kubectl.apply(DEPLOYMENT, "-n", namespace)
    assert "3 desired" in (await kubectl("-n", namespace, "describe", "deploy", "d")).out
    assert "it was seen" in (await kubectl("-n", namespace, "get", "events")).out


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("pod.spec", "containers\t<[]Container> -required-"),
        ("pod.spec.containers.resources.limits", "FIELD: limits <map[string]Quantity>"),
        ("deploy.spec.strategy.rollingUpdate.maxSurge", "FIELD: maxSurge <IntOrString>"),
        ("service.spec.ports.targetPort", "FIELD: targetPort <IntOrString>"),
    ],
)
async def test_explain(kubectl: Kubectl, path: str, expected: str):
    assert expected in (await kubectl("explain", path)).out


async def test_scale(kubectl: Kubectl, namespace: str):
    await kubectl.apply(DEPLOYMENT, "-n", namespace)
    await kubectl("-n", namespace, "scale", "deploy/d", "--replicas=5")
    found = await kubectl("-n", namespace, "get", "deploy", "d", "-o", "jsonpath={.spec.replicas}")
    assert found.out == "5"
    refused = await kubectl.run(
        "-n", namespace, "scale", "deploy/d", "--current-replicas=3", "--replicas=1"
    )
    assert refused.code != 0


@pytest.mark.parametrize(
    ("kind", "patch", "expected"),
    [
        ("merge", '{"metadata":{"labels":{"app":null,"m":"1"}}}', {"m": "1"}),
        (
            "json",
            '[{"op":"add","path":"/metadata/labels/j","value":"1"}]',
            {"app": "web", "j": "1"},
        ),
        ("strategic", '{"metadata":{"labels":{"s":"1"}}}', {"app": "web", "s": "1"}),
    ],
)
async def test_patch(
    kubectl: Kubectl, namespace: str, pod: str, kind: str, patch: str, expected: dict[str, str]
):
    await kubectl.apply(pod, "-n", namespace)
    await kubectl("-n", namespace, "patch", "pod", "web", "--type", kind, "-p", patch)
    found = await kubectl("-n", namespace, "get", "pod", "web", "-o", "json")
    assert found.json["metadata"]["labels"] == expected


async def test_strategic_patch_merges_lists_by_key(kubectl: Kubectl, namespace: str):
    await kubectl.apply(DEPLOYMENT, "-n", namespace)
    await kubectl("-n", namespace, "set", "image", "deploy/d", "c=busybox:9")
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"e","image":"i"}]}}}}'
    await kubectl("-n", namespace, "patch", "deploy", "d", "-p", patch)
    found = (await kubectl("-n", namespace, "get", "deploy", "d", "-o", "json")).json
    containers = found["spec"]["template"]["spec"]["containers"]
    assert sorted(c["image"] for c in containers) == ["busybox:9", "i"]


async def test_label_and_annotate(kubectl: Kubectl, namespace: str, pod: str):
    await kubectl.apply(pod, "-n", namespace)
    await kubectl("-n", namespace, "label", "pod", "web", "tier=front")
    await kubectl("-n", namespace, "label", "pod", "web", "app-")
    await kubectl("-n", namespace, "annotate", "pod", "web", "note=x")
    metadata = (await kubectl("-n", namespace, "get", "pod", "web", "-o", "json")).json["metadata"]
    assert metadata["labels"] == {"tier": "front"}
    assert metadata["annotations"]["note"] == "x"
    clash = await kubectl.run("-n", namespace, "label", "pod", "web", "tier=back")
    assert clash.code != 0


async def test_delete(kubectl: Kubectl, namespace: str, pod: str):
    await kubectl.apply(pod, "-n", namespace)
    await kubectl("-n", namespace, "delete", "pod", "web", "--timeout=20s")
    assert (await kubectl.run("-n", namespace, "get", "pod", "web")).code == 1
    await kubectl("-n", namespace, "create", "configmap", "a", "--from-literal=k=v")
    await kubectl("-n", namespace, "create", "configmap", "b", "--from-literal=k=v")
    await kubectl("-n", namespace, "delete", "configmaps", "--all")
    left = await kubectl("-n", namespace, "get", "configmaps", "-o", "name")
    assert left.out == ""


async def test_who_may(kubectl: Kubectl):
    assert (await kubectl("auth", "can-i", "create", "pods")).out == "yes\n"
    jane = await kubectl.run("auth", "can-i", "create", "pods", "--as=jane")
    assert jane.out == "no\n"
    forbidden = await kubectl.run("get", "pods", "--as=jane")
    assert forbidden.err == (
        'Error from server (Forbidden): pods is forbidden: User "jane" cannot list resource "pods" '
        'in API group "" in the namespace "default"\n'
    )
    assert "system:masters" in (await kubectl("auth", "whoami")).out


async def test_api_resources(kubectl: Kubectl):
    listed = (await kubectl("api-resources", "--no-headers")).out
    rows = {tuple(line.split()[:1]) for line in listed.splitlines()}
    assert {("pods",), ("deployments",), ("leases",)} <= rows
    assert "apps/v1" in (await kubectl("api-versions")).lines


async def test_dry_run_stores_nothing(kubectl: Kubectl, namespace: str, pod: str):
    dry = await kubectl.apply(pod, "-n", namespace, "--dry-run=server", "-o", "json")
    assert dry.json["spec"]["restartPolicy"] == "Always"
    assert (await kubectl.run("-n", namespace, "get", "pod", "web")).code == 1


async def test_diff(kubectl: Kubectl, namespace: str, pod: str):
    await kubectl.apply(pod, "-n", namespace)
    same = await kubectl.run("-n", namespace, "diff", "-f", "-", stdin=pod)
    assert (same.code, same.out) == (0, "")
    changed = pod.replace("busybox:1", "busybox:2")
    other = await kubectl.run("-n", namespace, "diff", "-f", "-", stdin=changed)
    assert other.code == 1
    assert "+  - image: busybox:2" in other.out or "+    image: busybox:2" in other.out


async def test_create_token(kubectl: Kubectl, namespace: str):
    token = (await kubectl("-n", namespace, "create", "token", "default")).out.strip()
    assert token.count(".") == 2


async def test_replace_and_stale_versions(kubectl: Kubectl, namespace: str):
    await kubectl("-n", namespace, "create", "configmap", "a", "--from-literal=k=1")
    held = (await kubectl("-n", namespace, "get", "configmap", "a", "-o", "json")).out
    await kubectl("-n", namespace, "replace", "-f", "-", stdin=held.replace('"1"', '"2"'))
    stale = await kubectl.run("-n", namespace, "replace", "-f", "-", stdin=held)
    assert "the object has been modified; please apply your changes to the latest" in stale.err
    assert "(Conflict)" in stale.err


BAD = [
    pytest.param("labels:", "labelz:", 'unknown field "metadata.labelz"', id="unknown field"),
    pytest.param("kind: Pod", "kind: Foo", 'no matches for kind "Foo"', id="unknown kind"),
    pytest.param("name: web", "name: We_b", "a lowercase RFC 1123 subdomain", id="invalid name"),
    pytest.param("100m", "-100m", "must be greater than or equal to 0", id="negative resource"),
    pytest.param("100m", "lots", "quantities must match the regular expression", id="no quantity"),
    pytest.param("spec:", "spec: [", "error converting YAML to JSON", id="no YAML"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
async def test_bad_input(
    kubectl: Kubectl, namespace: str, pod: str, old: str, new: str, message: str
):
    bad = pod.replace(old, new, 1)
    refused = await kubectl.run("-n", namespace, "apply", "-f", "-", stdin=bad)
    assert refused.code == 1
    assert message in refused.err
    assert (await kubectl("-n", namespace, "get", "pods", "-o", "name")).out == ""


async def test_warnings_are_shown(kubectl: Kubectl, namespace: str, pod: str):
    loose = pod.replace("labels:", "labelz:")
    warned = await kubectl("-n", namespace, "create", "--validate=warn", "-f", "-", stdin=loose)
    assert 'Warning: unknown field "metadata.labelz"' in warned.err


async def test_a_wrong_token(kubectl: Kubectl):
    # A kubeconfig's certificate is stronger than a flag's token, so the request goes bare.
    bare = [
        "--kubeconfig",
        "/dev/null",
        "--server",
        f"https://127.0.0.1:{kubectl.server.https_port}",
    ]
    ca = ["--certificate-authority", str(kubectl.server.pki.ca.certificate)]
    refused = await kubectl.run(*bare, *ca, "--token=wrong", "get", "pods")
    assert "You must be logged in to the server" in refused.err
    allowed = await kubectl.run(*bare, *ca, "--token=jane-token", "get", "pods")
    assert 'User "jane" cannot list resource "pods"' in allowed.err


async def test_logs_of_a_pod_that_has_no_host(kubectl: Kubectl, namespace: str, pod: str):
    await kubectl.apply(pod, "-n", namespace)
    assert (await kubectl("-n", namespace, "logs", "web")).out == ""
    refused = await kubectl.run("-n", namespace, "exec", "web", "--", "ls")
    assert "pod web does not have a host assigned" in refused.err
    unknown = await kubectl.run("-n", namespace, "logs", "web", "-c", "x")
    assert "container x is not valid for pod web" in unknown.err


async def test_a_body_over_the_limit(kubectl: Kubectl, namespace: str):
    large = "x" * (3 * 1024 * 1024 + 100)
    tree = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
        "data": {"k": large},
    }
    manifest = json.dumps(tree)
    refused = await kubectl.run("-n", namespace, "create", "-f", "-", stdin=manifest)
    assert "Request entity too large: limit is 3145728" in refused.err


async def test_tokens_can_be_verified_by_others(kubectl: Kubectl, namespace: str):
    token = (await kubectl("-n", namespace, "create", "token", "default")).out.strip()
    keys = (await kubectl("get", "--raw", "/openid/v1/jwks")).json["keys"]
    about = (await kubectl("get", "--raw", "/.well-known/openid-configuration")).json
    header = jwt.get_unverified_header(token)
    key = next(jwt.PyJWK(key) for key in keys if key["kid"] == header["kid"])
    claims = jwt.decode(
        token, key, algorithms=[header["alg"]], audience=about["issuer"], issuer=about["issuer"]
    )
    assert claims["sub"] == f"system:serviceaccount:{namespace}:default"


async def test_server_side_apply(kubectl: Kubectl, namespace: str):
    words = ("-n", namespace, "--server-side")
    for _ in range(2):
        assert (
            await kubectl.apply(DEPLOYMENT, *words)
        ).out == "deployment.apps/d serverside-applied\n"
    await kubectl("-n", namespace, "scale", "deployment", "d", "--replicas", "5")
    refused = await kubectl.run("apply", "-f", "-", *words, stdin=DEPLOYMENT)
    assert refused.code == 1
    assert refused.err.splitlines()[0] == (
        'error: Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" '
        "using apps/v1: .spec.replicas"
    )
    await kubectl.apply(DEPLOYMENT, *words, "--force-conflicts")
    less = DEPLOYMENT.replace("      volumes:\n      - {name: v, emptyDir: {}}\n", "")
    await kubectl.apply(less, *words)
    found = (await kubectl("-n", namespace, "get", "deploy", "d", "-o", "json")).json
    assert (found["spec"]["replicas"], "volumes" in found["spec"]["template"]["spec"]) == (3, False)
    shown = await kubectl(
        "-n", namespace, "get", "deploy", "d", "-o", "json", "--show-managed-fields"
    )
    managers = [(m["manager"], m["operation"]) for m in shown.json["metadata"]["managedFields"]]
    assert managers == [("kubectl", "Apply")]


async def test_server_side_apply_after_client_side_apply(kubectl: Kubectl, namespace: str):
    await kubectl.apply(DEPLOYMENT, "-n", namespace)
    changed = DEPLOYMENT.replace("replicas: 3", "replicas: 2")
    await kubectl.apply(changed, "-n", namespace, "--server-side")
    found = (await kubectl("-n", namespace, "get", "deploy", "d", "-o", "json")).json
    assert found["spec"]["replicas"] == 2
    # The record that the client side compares with has followed.
    record = found["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert json.loads(record)["spec"]["replicas"] == 2
