"""Environment variables of containers.

Source: pkg/apis/core/validation/validation.go (ValidateEnv, ValidateEnvFrom).
"""

from collections.abc import Sequence

from apiserver.validation.downward import (
    ENVIRONMENT_FIELDS,
    validate_field_ref,
    validate_resource_ref,
)
from apiserver.validation.metadata import dns_subdomain
from podpath.api import names
from podpath.api.errors import FieldError, invalid, required
from protos.k8s.core_v1_pb2 import (
    ConfigMapKeySelector,
    Container,
    EnvFromSource,
    EnvVar,
    EphemeralContainerCommon,
    SecretKeySelector,
)


def validate_environment(
    container: Container | EphemeralContainerCommon, path: str
) -> list[FieldError]:
    found: list[FieldError] = []
    for index, variable in enumerate(container.env):
        found += _variable(variable, f"{path}.env[{index}]")
    if container.envFrom:
        found += _sources(container.envFrom, f"{path}.envFrom")
    return found


def _variable(variable: EnvVar, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not variable.name:
        found.append(required(f"{path}.name"))
    else:
        texts = names.env_name_problems(variable.name)
        found += [invalid(f"{path}.name", variable.name, text) for text in texts]
    if variable.HasField("valueFrom"):
        found += _value_from(variable, f"{path}.valueFrom")
    return found


def _value_from(variable: EnvVar, path: str) -> list[FieldError]:
    source = variable.valueFrom
    found: list[FieldError] = []
    if source.HasField("fieldRef"):
        found += validate_field_ref(source.fieldRef, ENVIRONMENT_FIELDS, f"{path}.fieldRef")
    if source.HasField("resourceFieldRef"):
        here = f"{path}.resourceFieldRef"
        found += validate_resource_ref(source.resourceFieldRef, here, in_volume=False)
    if source.HasField("configMapKeyRef"):
        found += _key(source.configMapKeyRef, f"{path}.configMapKeyRef")
    if source.HasField("secretKeyRef"):
        found += _key(source.secretKeyRef, f"{path}.secretKeyRef")
    given = len(source.ListFields())
    if not given:
        detail = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
            "`secretKeyRef`"
        )
        found.append(invalid(path, "", detail))
    elif variable.value:
        found.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif given > 1:
        found.append(invalid(path, "", "may not have more than one field specified at a time"))
    return found


def _key(selector: ConfigMapKeySelector | SecretKeySelector, path: str) -> list[FieldError]:
    name = selector.localObjectReference.name
    found = [invalid(f"{path}.name", name, text) for text in dns_subdomain(name)]
    if not selector.key:
        return [*found, required(f"{path}.key")]
    problems = names.config_key_problems(selector.key)
    return found + [invalid(f"{path}.key", selector.key, text) for text in problems]


def _sources(sources: Sequence[EnvFromSource], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, source in enumerate(sources):
        here = f"{path}[{index}]"
        if source.prefix:
            texts = names.env_name_problems(source.prefix)
            found += [invalid(f"{here}.prefix", source.prefix, text) for text in texts]
        given = 0
        for name in ("configMapRef", "secretRef"):
            if source.HasField(name):
                given += 1
                found += _reference(getattr(source, name).localObjectReference.name, here, name)
        if not given:
            detail = "must specify one of: `configMapRef` or `secretRef`"
            found.append(invalid(path, "", detail))
        elif given > 1:
            detail = "may not have more than one field specified at a time"
            found.append(invalid(path, "", detail))
    return found


def _reference(name: str, path: str, field: str) -> list[FieldError]:
    here = f"{path}.{field}.name"
    if not name:
        return [required(here)]
    return [invalid(here, name, text) for text in dns_subdomain(name, True)]
