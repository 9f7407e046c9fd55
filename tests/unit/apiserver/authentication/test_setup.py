"""Authentication as the flags describe it, from real files."""

import pytest

from apiserver.authentication import setup
from apiserver.authentication.service_account_tokens import KeyFileError
from apiserver.authentication.setup import AuthenticationConfig
from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.component_base import pki
from podpath.component_base.clock import FakeClock
from protos.k8s.authentication_v1_pb2 import TokenRequest
from protos.k8s.core_v1_pb2 import Pod, ServiceAccount
from protos.k8s.meta_v1_pb2 import ObjectMeta
from tests.support.fake_lister import FakeLister

TARGET = Target(scheme.SERVICEACCOUNTS, "ns", "bot", "token")


@pytest.fixture
def lister():
    account = ServiceAccount(metadata=ObjectMeta(name="bot", namespace="ns", uid="u"))
    pod = Pod(metadata=ObjectMeta(name="p", namespace="ns", uid="pu"))
    pod.spec.serviceAccountName, pod.spec.nodeName = "bot", "n1"
    return FakeLister((scheme.SERVICEACCOUNTS, account), (scheme.PODS, pod))


def built(config, lister):
    clock = FakeClock()
    authenticator = setup.build_authenticator(config, lister, clock)
    authorizer = ClusterAuthorizer(lister, lister)
    handlers = setup.build_handlers(config, authenticator, authorizer, lister, clock, lambda: "id")
    return authenticator, handlers


@pytest.fixture
def config(tmp_path):
    made = pki.ensure_cluster_pki(tmp_path, pki.ClusterNames(), FakeClock())
    tokens = tmp_path / "tokens.csv"
    tokens.write_text('s3cret,ci,1,"builders"\n')
    return AuthenticationConfig(
        token_auth_file=str(tokens), service_account_signing_key_file=str(made.service_account_key)
    )


async def test_issued_tokens_are_accepted(config, lister):
    authenticator, handlers = built(config, lister)
    answer = await handlers[scheme.SERVICEACCOUNTS, "token"](
        UserInfo("admin"), TARGET, TokenRequest()
    )
    user = authenticator.authenticate(None, f"Bearer {answer.status.token}")
    assert user.name == "system:serviceaccount:ns:bot"
    assert authenticator.authenticate(None, "Bearer s3cret").groups[0] == "builders"


def _bound_request():
    request = TokenRequest()
    ref = request.spec.boundObjectRef
    ref.kind, ref.apiVersion, ref.name, ref.uID = "Pod", "v1", "p", "pu"
    return request


@pytest.mark.parametrize(
    ("node", "request_", "cause"),
    [
        ("n1", _bound_request(), ""),
        ("n1", TokenRequest(), "node requested token not bound to a pod"),
        ("n2", _bound_request(), "bound to a pod scheduled on a different node"),
    ],
)
async def test_kubelets_get_tokens_of_their_pods_only(config, lister, node, request_, cause):
    create = built(config, lister)[1][scheme.SERVICEACCOUNTS, "token"]
    kubelet = UserInfo(f"system:node:{node}", groups=("system:nodes",))
    if not cause:
        assert (await create(kubelet, TARGET, request_)).status.token
        return
    with pytest.raises(ApiError, match=cause):
        await create(kubelet, TARGET, request_)


def test_without_a_signing_key_there_are_no_tokens(lister):
    _, handlers = built(AuthenticationConfig(), lister)
    assert (scheme.SERVICEACCOUNTS, "token") not in handlers
    assert (scheme.SUBJECTACCESSREVIEWS, "") in handlers


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nx\n"])
def test_bad_key_files_are_named(tmp_path, lister, content):
    path = tmp_path / "sa.key"
    path.write_bytes(content)
    config = AuthenticationConfig(service_account_signing_key_file=str(path))
    with pytest.raises(KeyFileError, match=str(path)):
        setup.build_authenticator(config, lister, FakeClock())
