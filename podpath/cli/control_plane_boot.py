"""First step of a control plane's container: its certificates and kubeconfigs, on its volume.

No image holds a secret: all of them are made here, at the first start.
"""

import socket
import sys

from podpath.cli import container_services as services
from podpath.client import kubeconfig
from podpath.component_base import pki
from podpath.component_base.clock import SystemClock


def main() -> int:
    host = socket.gethostname()
    address = socket.gethostbyname(host)
    names = pki.ClusterNames(
        apiserver_dns_names=(host,), apiserver_ips=(address,) if address else ()
    )
    files = pki.ensure_cluster_pki(services.DATA / "pki", names, SystemClock())
    ca = files.ca.certificate.read_bytes()
    for user in ("admin", "scheduler", "controllers"):
        pair = files.user(user)
        config = kubeconfig.KubeConfig(
            server=f"https://127.0.0.1:{services.HTTPS_PORT}",
            grpc_address=f"127.0.0.1:{services.GRPC_PORT}",
            ca=ca,
            cert=pair.certificate.read_bytes(),
            key=pair.key.read_bytes(),
        )
        kubeconfig.write(services.DATA / "kubeconfigs" / user, config, "podpath")
    return 0


if __name__ == "__main__":
    sys.exit(main())
