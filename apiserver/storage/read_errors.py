"""What reads are refused with, in Kubernetes' words.

Source: k8s.io/apiserver pkg/storage/errors.go, pkg/storage/cacher, pkg/storage/etcd3/errors.go.
"""

from podpath.api import errors
from podpath.api.errors import ApiError
from protos.k8s.meta_v1_pb2 import StatusCause


def parse_version(resource_version: str) -> int:
    """ "" and "0" are 0. Raises: BadRequest."""
    if not resource_version:
        return 0
    if not (resource_version.isascii() and resource_version.isdigit()):
        raise errors.bad_request(
            f'invalid resource version "{resource_version}": not a decimal number'
        )
    return int(resource_version)


def too_large_version(asked: int, current: int) -> ApiError:
    """The cache has not come this far, and maybe nobody has."""
    error = errors.timeout(f"Too large resource version: {asked}, current: {current}", 1)
    error.status.details.causes.append(
        StatusCause(reason="ResourceVersionTooLarge", message="Too large resource version")
    )
    return error


def too_old_version(asked: int, oldest: int) -> ApiError:
    """A watch from here would have a hole."""
    return errors.expired(f"too old resource version: {asked} ({oldest})")


def list_too_old() -> ApiError:
    return errors.expired("The resourceVersion for the provided list is too old.")


def continue_too_old(new_token: str) -> ApiError:
    """`new_token` goes on from the same key in the newest state."""
    error = errors.expired(
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results. Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted between "
        "the time the first chunk was returned and now may show up in the list."
    )
    setattr(error.status.metadata, "continue", new_token)
    return error


def initializing() -> ApiError:
    return errors.too_many_requests("storage is (re)initializing", 1)
