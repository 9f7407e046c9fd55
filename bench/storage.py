"""How fast storage is: writes with and without group commit, and the fan-out of a watch cache.

    python bench/storage.py [--seconds 3] [--writers 64] [--watchers 50]

Starts its own etcd (on disk, with fsync) and removes it. CPU is this process' own.
"""

import argparse
import asyncio
import resource
import sys
import time
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from apiserver.storage.etcd import EtcdStorage, open_etcd
from apiserver.storage.interface import Value
from podpath.api import scheme
from protos.k8s.core_v1_pb2 import Pod
from tests.support.caching import running_cache
from tests.support.etcd import Etcd, running_etcd


def a_pod(name: str) -> Pod:
    """About 1.5 KB, as a Pod from a Deployment is."""
    pod = Pod()
    pod.metadata.name, pod.metadata.namespace = name, "bench"
    pod.metadata.annotations["filler"] = "x" * 1300
    pod.spec.containers.add(name="main", image="busybox")
    return pod


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def etcd_cpu_s(etcd: Etcd) -> float:
    fields = Path(f"/proc/{etcd.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def writes(storage: EtcdStorage, etcd: Etcd, writers: int, seconds: float, what: str) -> None:
    value = Value("v1", "Pod", a_pod("p").SerializeToString())
    stop_at = time.monotonic() + seconds
    latencies: list[float] = []

    async def one(writer: int) -> None:
        n = 0
        while time.monotonic() < stop_at:
            key = scheme.PODS.storage_key("bench", f"{what}-{writer}-{n}")
            began = time.perf_counter()
            version = await storage.create(key, value)
            latencies.append(time.perf_counter() - began)
            began = time.perf_counter()
            await storage.update(key, value, version)
            latencies.append(time.perf_counter() - began)
            n += 1

    began, cpu, etcd_cpu = time.monotonic(), cpu_s(), etcd_cpu_s(etcd)
    await asyncio.gather(*(one(w) for w in range(writers)))
    took, count = time.monotonic() - began, len(latencies)
    latencies.sort()
    print(
        f"{what:>8}, {writers:3} writers: {count / took:8.0f} writes/s"
        f"  {(cpu_s() - cpu) / count * 1e6:5.0f} us here, "
        f"{(etcd_cpu_s(etcd) - etcd_cpu) / count * 1e6:5.0f} us etcd a write"
        f"  p50 {latencies[count // 2] * 1e3:.1f} ms"
        f" p99 {latencies[count * 99 // 100] * 1e3:.1f} ms"
    )


async def deletions(storage: EtcdStorage, count: int) -> None:
    """A group holds one deletion; the others of a round go in parallel, alone."""
    value = Value("v1", "Pod", a_pod("p").SerializeToString())
    keys = [scheme.PODS.storage_key("gone", f"p{n}") for n in range(count)]
    versions = await asyncio.gather(*(storage.create(k, value) for k in keys))
    began, cpu = time.monotonic(), cpu_s()
    await asyncio.gather(*(storage.delete(*kv) for kv in zip(keys, versions, strict=True)))
    took = time.monotonic() - began
    each = (cpu_s() - cpu) / count * 1e6
    print(f"deletions, {count} at once: {count / took:.0f}/s, {each:.0f} us here each")


async def fan_out(storage: EtcdStorage, watchers: int, events: int) -> None:
    """Every watcher takes every event's bytes; what a door does with them is not counted."""
    async with running_cache(storage) as cache:
        since = str(cache.state.version)

        async def follow() -> None:
            seen = size = 0
            async for batch in cache.watch(resource_version=since):
                size += sum(len(e.version.unknown_bytes) for e in batch)
                seen += len(batch)
                if seen >= events:
                    return

        began, cpu = time.monotonic(), cpu_s()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(watchers):
                tasks.create_task(follow())
            value = Value("v1", "Pod", a_pod("p").SerializeToString())
            keys = [scheme.PODS.storage_key("fan", f"p{n}") for n in range(events)]
            for first in range(0, events, 256):
                await asyncio.gather(*(storage.create(k, value) for k in keys[first : first + 256]))
        took = time.monotonic() - began
        print(
            f"fan-out: {events} writes to {watchers} watchers: {events * watchers / took:.0f} "
            f"deliveries/s, {(cpu_s() - cpu) / events * 1e6:.0f} us here a write in all"
        )


async def lists(storage: EtcdStorage, count: int) -> None:
    from apiserver.storage.listing import list_objects
    from apiserver.storage.watchers import Filter

    async with running_cache(storage) as cache:
        began = time.monotonic()
        for _ in range(count):
            await list_objects(cache, Filter(namespace="none"))
        print(
            f"consistent list, one after another: {(time.monotonic() - began) / count * 1e3:.2f} ms"
        )
        began = time.monotonic()
        await asyncio.gather(*(list_objects(cache, Filter(namespace="none")) for _ in range(count)))
        each = (time.monotonic() - began) / count * 1e3
        print(f"consistent list, {count} at once: {each:.2f} ms each")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--events", type=int, default=5000)
    options = parser.parse_args()
    async with running_etcd() as etcd:
        for grouped in (False, True):
            async with open_etcd(etcd.config, grouped=grouped) as storage:
                what = "grouped" if grouped else "single"
                await writes(storage, etcd, options.writers, options.seconds, what)
                if grouped:
                    await writes(storage, etcd, 1, 1.0, "lone")
                    await deletions(storage, 2000)
                    await fan_out(storage, options.watchers, options.events)
                    await lists(storage, 200)


if __name__ == "__main__":
    uvloop.run(main())
