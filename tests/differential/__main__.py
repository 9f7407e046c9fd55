"""`python -m tests.differential`: scenarios through a real kube-scheduler, recorded, compared."""

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path

import orjson

from bench import kubernetes
from podpath.component_base import binaries
from tests.differential.compare import differences
from tests.differential.ours import decide
from tests.differential.real import real_cluster
from tests.differential.scenarios import scenario

RECORDED = Path(__file__).with_name("recorded.jsonl")


async def run(first: int, count: int, output: Path, peers: Path) -> int:
    agreed: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    lines: list[bytes] = []
    async with real_cluster(binaries.find("etcd"), peers) as cluster:
        for seed in range(first, first + count):
            made = scenario(seed)
            try:
                real = await cluster.decide(made)
            except TimeoutError:
                print(f"seed {seed} ({made.kind}): no decision in time", flush=True)
                seen[made.kind] += 1
                continue
            found = differences(real, decide(made))
            seen[made.kind] += 1
            agreed[made.kind] += not found
            for text in found:
                print(f"seed {seed} ({made.kind}): {text}", flush=True)
            lines.append(
                orjson.dumps({"seed": seed, **{k: v for k, v in real.items() if k != "parts"}})
            )
    output.write_bytes(b"\n".join(lines) + b"\n")
    for kind, total in seen.items():
        print(f"{kind:12} {agreed[kind]:4} of {total:4} agree")
    print(f"{agreed.total()} of {seen.total()} agree")
    return 0 if agreed.total() == seen.total() else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=550)
    parser.add_argument("--output", type=Path, default=RECORDED)
    kubernetes.add_peers_option(parser)
    options = parser.parse_args()
    try:
        peers = kubernetes.find_peers(options.peers, "kube-apiserver", "kube-scheduler")
    except kubernetes.PeersMissingError as error:
        sys.exit(str(error))
    return asyncio.run(run(options.first, options.count, options.output, peers))


if __name__ == "__main__":
    sys.exit(main())
