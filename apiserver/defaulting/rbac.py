"""Defaults of rbac.authorization.k8s.io/v1.

Source: pkg/apis/rbac/v1/defaults.go.
"""

from protos.k8s.rbac_v1_pb2 import ClusterRoleBinding, RoleBinding

GROUP = "rbac.authorization.k8s.io"


def binding_defaults(binding: RoleBinding | ClusterRoleBinding) -> None:
    binding.roleRef.apiGroup = binding.roleRef.apiGroup or GROUP
    for subject in binding.subjects:
        if subject.kind in {"User", "Group"}:
            subject.apiGroup = subject.apiGroup or GROUP
