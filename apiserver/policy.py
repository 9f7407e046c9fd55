"""Who may come in, who may do what, and what is changed on the way: wired from the flags."""

import random
from dataclasses import dataclass

from apiserver.admission import plugins
from apiserver.assembly import Policy
from apiserver.authentication import setup
from apiserver.authentication.authenticator import Authenticator
from apiserver.authentication.service_account_tokens import KeyFileError
from apiserver.authentication.setup import AuthenticationConfig
from apiserver.authentication.static_tokens import TokenFileError
from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.caches import Caches
from apiserver.config import Config
from apiserver.verbs.context import random_uid
from podpath.component_base.clock import Clock
from podpath.component_base.config import ConfigError


@dataclass(frozen=True, slots=True)
class Rules:
    """What the doors and the handler chain ask."""

    authenticator: Authenticator
    authorizer: ClusterAuthorizer
    policy: Policy


def make(config: Config, caches: Caches, clock: Clock) -> Rules:
    """Raises: ConfigError, which names the flag or file."""
    settings = AuthenticationConfig(
        token_auth_file=config.token_auth_file,
        bootstrap_tokens=config.enable_bootstrap_token_auth,
        service_account_signing_key_file=config.service_account_signing_key_file,
        service_account_key_files=config.service_account_key_file,
        service_account_issuer=config.service_account_issuer,
        api_audiences=config.api_audiences,
        anonymous_auth=config.anonymous_auth,
    )
    try:
        authenticator = setup.build_authenticator(settings, caches, clock)
        authorizer = ClusterAuthorizer(caches, caches)
        handlers = setup.build_handlers(
            settings, authenticator, authorizer, caches, clock, random_uid
        )
        admission = plugins.build(
            authorizer,
            plugins.Parts(caches, clock, random.Random(), caches),
            config.enable_admission_plugins,
            config.disable_admission_plugins,
        )
    except (OSError, KeyFileError, TokenFileError, plugins.PluginError) as error:
        raise ConfigError(str(error)) from None
    return Rules(authenticator, authorizer, Policy(authorizer, admission, handlers))
