"""TokenReview and SelfSubjectReview: questions about who somebody is.

Source: k8s.io/kubernetes pkg/registry/authentication/{tokenreview,selfsubjectreview}.
"""

from google.protobuf.message import Message

from apiserver.authentication.authenticator import Authenticator
from apiserver.authentication.interface import TokenError
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import errors
from podpath.component_base.clock import Clock
from protos.k8s import authentication_v1_pb2
from protos.k8s.authentication_v1_pb2 import SelfSubjectReview, TokenReview


class TokenReviews:
    """Handler of `create tokenreviews`."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def create(self, user: UserInfo, target: Target, obj: Message) -> Message:
        del user, target
        if not isinstance(obj, TokenReview):
            raise errors.bad_request(f"not a TokenReview: {type(obj).__name__}")
        if not obj.spec.token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        review = TokenReview()
        review.CopyFrom(obj)
        review.status.Clear()
        audiences = tuple(obj.spec.audiences) or self._authenticator.audiences
        try:
            found = self._authenticator.authenticate_token(obj.spec.token, audiences)
        except TokenError as error:
            review.status.user.SetInParent()
            review.status.error = str(error)
            return review
        review.status.authenticated = True
        fill_user(review.status.user, found.user)
        review.status.audiences.extend(found.audiences)
        return review


class SelfSubjectReviews:
    """Handler of `create selfsubjectreviews` (kubectl auth whoami)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def create(self, user: UserInfo, target: Target, obj: Message) -> Message:
        del target, obj
        review = SelfSubjectReview()
        review.metadata.creationTimestamp.seconds = int(self._clock.now().timestamp())
        fill_user(review.status.userInfo, user)
        return review


def fill_user(message: authentication_v1_pb2.UserInfo, user: UserInfo) -> None:
    """Writes the user in the form that the API shows."""
    message.username = user.name
    if user.uid:
        message.uid = user.uid
    message.groups.extend(user.groups)
    for key, values in user.extra.items():
        message.extra[key].items.extend(values)
