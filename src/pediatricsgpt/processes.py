"""Several processes of one command, as torchrun and accelerate start them: the first works, the others join it.

Everything but training is the first process's own work: folders, locks, manifests, the console. The others wait for
its word, take part in the training of a phase, and say when they are done. They talk through the launcher's own store,
which outlives each of them, so that waiting has no limit and a dead process is noticed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

_PAUSE = 0.2
_GRACE = 5.0
"""Seconds that a process leaves to the one that tells what is wrong, before it ends too"""


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Team:
    """What the processes of one launch tell each other."""

    def __init__(self) -> None:
        """Meet the store of the launcher.

        Raises:
            UserError: torch is not installed.
        """
        from pediatricsgpt.errors import require_extra

        try:
            from torch.distributed import PrefixStore, rendezvous
        except ImportError as error:
            raise require_extra("train", error) from error
        store, self.rank, self.count = next(iter(rendezvous("env://", rank(), count())))
        turn = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # a restarted launch does not hear the one before
        self._store: Any = PrefixStore(f"pediatricsgpt/{turn}", store)
        self._called = 0
        self._store.set(f"process/{self.rank}", json.dumps([socket.gethostname(), os.getpid()]))

    def call(self, task: str) -> None:
        """Tell the others to begin a task; an empty one lets them go."""
        self._called += 1
        self._store.set(f"task/{self._called}", task)

    def tasks(self) -> Iterator[str]:
        """The tasks that the first process calls for, each when it comes; done when asked for the next."""
        while True:
            self._called += 1
            self._wait(f"task/{self._called}")
            task = self._store.get(f"task/{self._called}").decode()
            if not task:
                return
            yield task
            self._store.set(f"done/{self._called}/{self.rank}", "")

    def gather(self) -> None:
        """Wait until all others are done with the latest task."""
        for other in range(1, self.count):
            self._wait(f"done/{self._called}/{other}")

    def speaks(self) -> bool:
        """Whether this process is the one to tell what went wrong: the first that asks."""
        return bool(self._store.add("speaker", 1) == 1)

    def note(self, folder: Path | None) -> None:
        """Remember where checkpoints lie, for whoever has to tell."""
        self._store.set("folder", str(folder or ""))

    def folder(self) -> Path | None:
        """Where checkpoints lie, if a phase is at work."""
        found = self._store.get("folder").decode() if self._store.check(["folder"]) else ""
        return Path(found) if found else None

    def dead(self) -> list[int]:
        """Numbers of the processes of this machine that are gone."""
        found = []
        for other in range(self.count):
            if other != self.rank and self._store.check([f"process/{other}"]):
                host, pid = json.loads(self._store.get(f"process/{other}"))
                if host == socket.gethostname() and not _is_alive(pid):
                    found.append(other)
        return found

    def _wait(self, key: str) -> None:
        while not self._store.check([key]):
            time.sleep(_PAUSE)


_team: Team | None = None


def team() -> Team | None:
    """The processes of this launch; None where there is one alone."""
    global _team
    if count() > 1 and _team is None:
        _team = Team()
    return _team


def may_speak() -> bool:
    """Whether this process is to tell what went wrong: alone, or the first that asks; others give that one time."""
    members = team()
    if members is None or members.speaks():
        return True
    time.sleep(_GRACE)
    return False


def settle() -> None:
    """After a phase: what the first process does alone must not be taken for the work of all."""
    if "transformers" in sys.modules:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()


def leave() -> None:
    """The end of a command that went well: the first process lets the others go."""
    if count() == 1:
        return
    members = team()
    if members is not None and members.rank == 0:
        members.call("")
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        distributed.destroy_process_group()


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet buried by its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def lost() -> str | None:
    """What to tell when other processes have died; None where all are alive."""
    members = team()
    if members is None:
        return None
    end = time.monotonic() + _GRACE  # the system needs a moment to take a process down
    while not (dead := members.dead()) and time.monotonic() < end:
        time.sleep(_PAUSE)
    if not dead:
        return None
    names = ", ".join(str(number) for number in dead)
    died = f"process {names} of {members.count} died (the launcher says below by what), so the others stop"
    return f"{died}. {_kept(members.folder())}the same command goes on where it was"


def _kept(folder: Path | None) -> str:
    """The newest checkpoint below a phase's folder."""
    if folder is None:
        return ""
    seals = [seal.parent for seal in folder.glob("checkpoints/checkpoint-*/whole.json")]
    if not seals:
        return "There is no checkpoint yet; "
    return f"Kept: {max(seals, key=lambda path: int(path.name.rpartition('-')[2]))}; "


@contextlib.contextmanager
def watched(tell: Callable[[str], None]) -> Iterator[None]:
    """Within it, the launcher's order to stop is told in one line, whatever the main thread waits for.

    Args:
        tell: prints one line.
    """
    if count() == 1:
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the wake-up below is written without it, but not for a default
    signal.set_wakeup_fd(writing)

    def wait() -> None:
        while os.read(reading, 1)[0] != signal.SIGTERM:
            pass
        _stop(tell)

    threading.Thread(target=wait, daemon=True).start()
    yield


def _stop(tell: Callable[[str], None]) -> NoReturn:
    code = 128 + signal.SIGTERM
    try:
        members = team()
        message = lost()
        if members and message and members.speaks():
            tell(message)
    finally:
        os._exit(code)
