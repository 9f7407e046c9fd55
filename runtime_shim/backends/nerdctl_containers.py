"""The containers that nerdctl holds, with the directory of each: made, started, removed, looked at.

STATE_DIR/containers/ID/  stdin stdout stderr ask answer    FIFOs, see oci_runtime.py
                          edits.json                        changes of its OCI spec
                          arguments runc.json               what its launcher was told
"""

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from runtime_shim import command
from runtime_shim.backends import nerdctl_argv, oci_runtime
from runtime_shim.backends.nerdctl_argv import NerdctlSettings
from runtime_shim.errors import Code, CriError
from runtime_shim.turns import Rank, Turns

_log = logging.getLogger(__name__)

TRIES = 3
"""Of removing a container, and of looking for orphans: one may appear late."""


class EngineContainers:
    """nerdctl's containers of one state directory."""

    def __init__(self, settings: NerdctlSettings, directory: Path, runc: str, turns: Turns) -> None:
        self._settings = settings
        self._directory = directory
        self._runc = runc
        self._turns = turns

    def begin(self) -> None:
        """Writes the launcher down."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        launcher = Path(self._settings.launcher)
        text = oci_runtime.LAUNCHER.format(runc=self._runc, directory=self._directory)
        launcher.write_text(text)
        launcher.chmod(0o755)

    def directory(self, container_id: str) -> Path:
        return self._directory / container_id

    async def create(
        self, creation: nerdctl_argv.Creation, edits: Callable[[str], oci_runtime.Spec]
    ) -> str:
        """A container that does not run yet; `edits` makes its spec's changes from its id.

        Returns the id. On failure nothing of it is left. Raises: CriError.
        """
        async with self._turns.turn(Rank.CREATE):
            finished = await command.run(nerdctl_argv.create(self._settings, creation))
        if finished.code != 0:
            raise CriError(Code.UNKNOWN, f"failed to create container: {finished.complaint()}")
        new_id = finished.stdout.decode().split()[-1]
        try:
            directory = self.directory(new_id)
            directory.mkdir(mode=0o700)
            for name in oci_runtime.FIFOS:
                os.mkfifo(directory / name, 0o600)
            text = json.dumps(edits(new_id))
            fd = os.open(directory / oci_runtime.EDITS, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)
        except BaseException:
            await asyncio.shield(self.remove(new_id))
            raise
        return new_id

    async def start(self, container_id: str) -> None:
        """Raises: CriError."""
        async with self._turns.turn(Rank.START):
            finished = await command.run(nerdctl_argv.start(self._settings, container_id))
        if finished.code != 0:
            raise CriError(Code.UNKNOWN, f"failed to start container: {finished.complaint()}")

    async def remove(self, container_id: str) -> None:
        """Kills it if it runs. Idempotent. Raises: CriError."""
        for _ in range(TRIES):
            async with self._turns.turn(Rank.REMOVE):
                complaint = await self._remove([container_id])
            if not complaint:
                break
            _log.debug("removal fails", extra={"id": container_id, "complaint": complaint})
        else:
            raise CriError(Code.UNKNOWN, f"failed to remove container: {complaint}")
        self.remove_directory(container_id)

    def remove_directory(self, container_id: str) -> None:
        """Of a container that is gone. Idempotent."""
        shutil.rmtree(self.directory(container_id), ignore_errors=True)

    async def _remove(self, container_ids: Sequence[str]) -> str:
        """Why not all of them are gone, or "".

        `nerdctl rm --force` ends with code 0 in any case; it prints those that it has removed. It
        fails now and then where a task is just ending.
        """
        finished = await command.run(nerdctl_argv.remove(self._settings, container_ids))
        left = set(container_ids) - set(finished.stdout.decode().split())
        complaint = finished.complaint()
        return "" if not left or "no such container" in complaint.lower() else complaint

    async def remove_all_but(self, known: Collection[str]) -> dict[str, dict[str, Any]]:
        """Removes the containers that nobody knows, and directories that belong to none.

        Returns the `State` of those that are left, by id. Raises: CriError.
        """
        for _ in range(TRIES):
            held = await self.inspect_all()
            orphans = sorted(held.keys() - set(known))
            if not orphans:
                break
            complaint = await self._remove(orphans)
            _log.info("removing orphans", extra={"ids": orphans, "complaint": complaint})
        for name in set(os.listdir(self._directory)) - set(known) - held.keys():
            self.remove_directory(name)
        return held

    async def inspect_all(self) -> dict[str, dict[str, Any]]:
        """The `State` of each, by id; of one that was half removed there may be nothing to tell."""
        listed = await command.must(nerdctl_argv.list_ids(self._settings))
        ids = listed.decode().split()
        return {i: {"Status": ""} for i in ids} | await self.inspect(ids)

    async def inspect(self, container_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The `State` of those that there are, by id. Raises: CriError."""
        if not container_ids:
            return {}
        finished = await command.run(nerdctl_argv.inspect(self._settings, container_ids))
        try:
            entries = command.json_entries(finished.stdout)
        except ValueError as error:
            raise CriError(Code.UNKNOWN, f"nerdctl inspect: {finished.complaint()}") from error
        return {entry["Id"]: entry["State"] for entry in entries}

    def pid(self, container_id: str) -> int:
        """Of its first process, as runc wrote it down. Raises: CriError, OSError."""
        return int(Path(self.notes(container_id)["pid_file"]).read_text())

    def notes(self, container_id: str) -> dict[str, Any]:
        """What the launcher was told, and who the container's user is. Raises: CriError."""
        try:
            path = self.directory(container_id) / oci_runtime.RUNC_NOTES
            tree: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CriError(Code.INTERNAL, f"container {container_id!r}: {error}") from error
        return tree

    def update_edits(self, container_id: str, resources: oci_runtime.Spec) -> None:
        """Changes `linux.resources` of a container that was not started yet."""
        path = self.directory(container_id) / oci_runtime.EDITS
        edits = json.loads(path.read_text())
        for part, values in resources.items():
            if isinstance(values, dict):
                edits["resources"].setdefault(part, {}).update(values)
            else:
                edits["resources"][part] = values
        path.write_text(json.dumps(edits))
