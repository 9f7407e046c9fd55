"""`python -m tests.critest [--only shim|containerd|proxy] [--focus TEXT]`; also `make critest`.

Starts a registry that serves critest's images under their names, a containerd and the shim on it,
runs critest against the shim and against containerd's own CRI, streams once over SPDY and once over
WebSocket, and prints at the end:

    shim over WebSocket: N passed, N failed      (the streaming cases again)
    shim: N passed, N failed
    containerd: N passed, N failed
    proxy: N passed, N failed           (the shim's proxy backend in front of containerd's CRI)

Exit code 1 if the shim or the proxy fails a case that containerd passes, or the shim passes fewer
than MINIMUM.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from podpath.component_base import binaries, image_tar
from tests.critest.images import E2E, STAGING, all_images
from tests.support import containerd, registry
from tests.support.shim_process import ShimProcess, shim_on

MINIMUM = 83
NAMESPACE = "critest"
CRITEST_TIMEOUT_S = 1800
STREAMING = "runtime should support (exec|attach|portforward)"
OVER_WEBSOCKET = tuple(f"--websocket-{kind}" for kind in ("exec", "attach", "portforward"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Names of cases."""

    passed: frozenset[str]
    failed: dict[str, str]


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    for problem in (containerd.available(), registry.available()):
        if problem:
            print(f"critest cannot run here: {problem}")
            return 2
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="podpath-critest-")
        root = Path(stack.enter_context(temporary))
        hosts = root / "hosts"
        served = stack.enter_context(registry.running(root / "registry"))
        for image in all_images():
            served.push(image.repository, image.tags, image.spec)
        served.map_names(hosts, (E2E, STAGING))
        outcomes: dict[str, Outcome] = {}
        if options.only in ("", "shim"):
            with shim(root / "shim", hosts) as endpoint:
                if not options.focus:
                    outcomes["shim over WebSocket"] = run_critest(
                        endpoint, root / "websocket", options.seed, STREAMING, OVER_WEBSOCKET
                    )
                outcomes["shim"] = run_critest(
                    endpoint, root / "shim-report", options.seed, options.focus
                )
        if options.only != "shim":
            with containerd.running_cri(root / "cri", hosts) as engine:
                endpoint = f"unix://{engine.address}"
                if options.only != "proxy":
                    outcomes["containerd"] = run_critest(
                        endpoint, root / "cri-report", options.seed, options.focus
                    )
                if options.only in ("", "proxy"):
                    with proxy(root / "proxy", endpoint) as proxied:
                        outcomes["proxy"] = run_critest(
                            proxied, root / "proxy-report", options.seed, options.focus
                        )
    return report(outcomes, whole=not options.focus)


@contextmanager
def shim(root: Path, hosts: Path) -> Iterator[str]:
    """A containerd with the shim on it; yields the CRI endpoint."""
    with containerd.running(root / "containerd") as engine:
        engine.load(NAMESPACE, image_tar.PAUSE_IMAGE)
        made = shim_on(root, engine, NAMESPACE, f"--registry-hosts-dir={hosts}", images=False)
        with made.running() as process:
            yield process.endpoint


@contextmanager
def proxy(root: Path, endpoint: str) -> Iterator[str]:
    """The shim in front of another CRI server; yields the shim's endpoint."""
    process = ShimProcess(root, ["--backend=proxy", f"--proxy-endpoint={endpoint}"])
    root.mkdir(parents=True)
    process.start()
    try:
        yield process.endpoint
    finally:
        process.stop()


def run_critest(
    endpoint: str, report_dir: Path, seed: int, focus: str, flags: Sequence[str] = ()
) -> Outcome:
    """Runs the cases whose names `focus` matches; those that fail once more, by themselves: some
    have limits of a few seconds, which a busy machine exceeds."""
    first = _run_once(endpoint, report_dir, seed, focus, flags)
    if not first.failed:
        return first
    again = "|".join(f"^{re.escape(name)}$" for name in first.failed)
    second = _run_once(endpoint, report_dir / "again", seed, again, flags)
    for name in sorted(second.passed):
        print(f"{report_dir.name}: passed at the second try: {name}")
    still = {name: why for name, why in first.failed.items() if name not in second.passed}
    return Outcome(first.passed | second.passed, still)


def _run_once(
    endpoint: str, report_dir: Path, seed: int, focus: str, flags: Sequence[str]
) -> Outcome:
    """`focus`: a regular expression on the cases' names."""
    report_dir.mkdir(parents=True)
    argv = [
        binaries.find("critest"),
        f"--runtime-endpoint={endpoint}",
        f"--image-endpoint={endpoint}",
        f"--ginkgo.json-report={report_dir}/report.json",
        "--ginkgo.no-color",
        f"--ginkgo.seed={seed}",
        f"--ginkgo.focus={focus}",
        *flags,
    ]
    with open(report_dir / "output", "wb") as output:
        subprocess.run(argv, stdout=output, stderr=output, timeout=CRITEST_TIMEOUT_S, check=False)
    report = report_dir / "report.json"
    if not report.exists():
        raise RuntimeError((report_dir / "output").read_text()[-3000:])
    return parse_report(json.loads(report.read_text()))


def parse_report(suites: Sequence[dict[str, object]]) -> Outcome:
    passed: set[str] = set()
    failed: dict[str, str] = {}
    for suite in suites:
        for spec in suite["SpecReports"] or ():  # type: ignore[attr-defined]
            if spec["LeafNodeType"] != "It":
                continue
            name = " ".join([*(spec["ContainerHierarchyTexts"] or ()), spec["LeafNodeText"]])
            if spec["State"] == "passed":
                passed.add(name)
            elif spec["State"] not in ("skipped", "pending"):
                failed[name] = spec["Failure"]["Message"]
    return Outcome(frozenset(passed), failed)


def report(outcomes: dict[str, Outcome], *, whole: bool) -> int:
    for name, outcome in outcomes.items():
        for case, message in sorted(outcome.failed.items()):
            print(f"{name} FAILED: {case}\n    {' '.join(message.split())[:400]}")
    ours, theirs = outcomes.get("shim"), outcomes.get("containerd")
    behind = []
    for name in ("shim", "proxy"):
        if theirs and name in outcomes:
            behind += [f"{c} ({name})" for c in sorted(set(outcomes[name].failed) & theirs.passed)]
    for case in behind:
        print(f"only containerd passes: {case}")
    for name, outcome in outcomes.items():
        print(f"{name}: {len(outcome.passed)} passed, {len(outcome.failed)} failed")
    return 1 if behind or (ours and whole and len(ours.passed) < MINIMUM) else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.critest", description=__doc__)
    parser.add_argument("--only", choices=("shim", "containerd", "proxy"), default="")
    parser.add_argument("--focus", default="", help="regular expression on the cases' names")
    parser.add_argument("--seed", type=int, default=1, help="order of the cases")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main(sys.argv[1:]))
