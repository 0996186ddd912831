"""The graph of a run: what follows what, what is stale, what is skipped.

A node is done when its folder has a manifest with the node's present fingerprint: the hash of what it consumes, its
own settings and its code. Fingerprints use the *content* of earlier results, so work that was redone with the same
result does not spread.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from pediatricsgpt import manifest, processes
from pediatricsgpt.code_version import code_version
from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import FileHashes, Manifest
from pediatricsgpt.recipe import AnyRecipe, Comparison, Recipe, as_yaml, whole

# What a node writes for people: only nodes that tell people about it (`reads_all`) depend on it.
UNCONSUMED = (
    "metrics.jsonl",
    "curves.png",
    "offending_batch.json",
    "tensorboard",
    "README.md",
    "base.json",
    "rejects.jsonl",
    "passes.jsonl",
    "leakage.json",
    "counts.json",
    "statistics.json",
)


@dataclass(slots=True)
class Context:
    """What a node's work gets: the folder to write into, and where its inputs are."""

    folder: Path
    inputs: dict[str, Path]
    any_recipe: Recipe | Comparison
    recipe_folder: Path
    run_folder: Path
    console: Console

    @property
    def recipe(self) -> Recipe:
        """The recipe of a step that builds or trains."""
        return whole(self.any_recipe)


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a run. `work` returns counts for the manifest."""

    name: str
    inputs: tuple[str, ...]
    settings: Any
    modules: tuple[str, ...]
    """Modules that its result depends on; what they import comes with them"""
    work: Callable[[Context], dict[str, Any]]
    files: Callable[[], list[Path]] = field(default=list)
    """Outside files that the node reads"""
    trains: bool = False
    """Uses torch: threads and seeds must be set first"""
    together: bool = False
    """All processes of a launch work on it; every other node is the first one's alone"""
    reads_all: bool = False
    """Depends on everything that its inputs wrote, on their rejects and reports too"""
    unfinished_settings: Any = None
    """Those of its settings that half-done work depends on; None is all of them"""
    would_lose: Callable[[Path], str | None] = lambda _: None
    """What in an unfinished folder took long to make, in words: it is not thrown away where something has changed"""


@dataclass(slots=True)
class State:
    """Where a node stands before a run."""

    node: Node
    fingerprint: str | None
    """None while an input is still to be made: the content that it will have is not known"""
    status: Literal["done", "run", "resume", "waits"]
    manifest: Manifest | None = None


class Run:
    """A recipe with its folder and its graph."""

    def __init__(
        self, recipe: Recipe | Comparison, recipe_folder: Path, folder: Path, nodes: Sequence[Node], console: Console
    ) -> None:
        self.recipe = recipe
        self.recipe_folder = recipe_folder
        self.folder = folder
        self.nodes = list(nodes)
        self._console = console
        self._hashes = FileHashes(folder / ".hashes.json")
        self._forced: set[str] = set()

    def path(self, name: str) -> Path:
        """The folder of a node."""
        return self.folder / name

    def write_recipe(self) -> None:
        """Keep the recipe with all its settings beside the results."""
        manifest.write_atomically(self.folder / "recipe.yaml", as_yaml(self.recipe))

    def select(self, stages: Sequence[str]) -> list[Node]:
        """The named nodes (or all below a folder such as `corpus`) and everything that they need, in order.

        Raises:
            UserError: no node has such a name.
        """
        wanted: set[str] = set()
        for stage in stages:
            wanted |= {node.name for node in self._named(stage)}
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted |= set(node.inputs)
        return [node for node in self.nodes if node.name in wanted]

    def force(self, stage: str) -> None:
        """Redo a stage and what follows from it, even if it is up to date."""
        self._forced |= {node.name for node in self._named(stage)}
        for node in self.nodes:
            if self._forced & set(node.inputs):
                self._forced.add(node.name)

    def _named(self, stage: str) -> list[Node]:
        exact = [node for node in self.nodes if node.name == stage]
        below = [node for node in self.nodes if node.name.startswith(stage + "/")]
        # `--until corpus` means what sources alone give, not the preference pairs, which need a trained model.
        own = [node for node in below if all(name.startswith(stage + "/") for name in node.inputs)]
        found = exact or own or below
        if not found:
            names = ", ".join(dict.fromkeys(node.name.split("/")[0] for node in self.nodes))
            raise UserError(f"no stage '{stage}'; there are {names} and their steps, as `pedgpt plan` lists them")
        return found

    def states(self, nodes: Sequence[Node]) -> Iterator[State]:
        """Where each node stands, looking at the disk at the moment of asking."""
        pending: set[str] = set()
        for node in nodes:
            if pending & set(node.inputs):
                pending.add(node.name)
                yield State(node, None, "waits")
                continue
            state = self._state(node)
            if state.status != "done":
                pending.add(node.name)
            yield state

    def _state(self, node: Node) -> State:
        fingerprint = self._fingerprint(node, node.settings)
        found = manifest.read_manifest(self.path(node.name))
        if found is not None and found.fingerprint == fingerprint and node.name not in self._forced:
            return State(node, fingerprint, "done", found)
        begun = manifest.begun(self.path(node.name))
        same = begun is not None and begun.fingerprint == self._start(node).fingerprint  # what it depends on is there
        return State(node, fingerprint, "resume" if same else "run", found)

    def _start(self, node: Node) -> manifest.Begun:
        """What half-done work on a node depends on."""
        settings = node.settings if node.unfinished_settings is None else node.unfinished_settings
        inputs = {self._shown(node, name): value for name, value in self._input_hashes(node).items()}
        return manifest.Begun(self._fingerprint(node, settings), settings, inputs, code_version(node.modules))

    def _shown(self, node: Node, name: str) -> str:
        return name if name in node.inputs else self._relative(name)

    def _keep_unfinished(self, node: Node, start: manifest.Begun) -> None:
        """Stop where work would be thrown away that took long, because something has changed since it was begun."""
        target = self.path(node.name)
        begun = manifest.begun(target)
        if node.name in self._forced or begun is None or begun.fingerprint == start.fingerprint:
            return
        if lost := node.would_lose(manifest.unfinished(target)):
            raise UserError(
                f"unfinished work lies here ({lost}), begun with other {_changed(begun, start)}; put that back to go "
                "on, or delete this folder to begin anew",
                manifest.unfinished(target),
            )

    def _input_hashes(self, node: Node) -> dict[str, str]:
        hashes = {}
        for name in node.inputs:
            found = manifest.read_manifest(self.path(name))
            if found is None:
                raise UserError("this step has no result yet", self.path(name))
            hashes[name] = found.whole if node.reads_all else found.content
        for file in node.files():
            hashes[str(file)] = self._hashes(file)
        return hashes

    def _fingerprint(self, node: Node, settings: Any) -> str:
        hashes = sorted(self._input_hashes(node).items())
        # Files by content and by their place beside the recipe: a moved project is not a changed one.
        named = [[self._shown(node, name), value] for name, value in hashes]
        return manifest.digest([node.name, named, settings, code_version(node.modules)])

    def _relative(self, file: str) -> str:
        return Path(os.path.relpath(file, self.recipe_folder)).as_posix()

    def execute(self, nodes: Sequence[Node]) -> list[str]:
        """Do what is not done, in order; what is done is skipped.

        Returns:
            names of the nodes that were worked on.
        """
        worked = []
        skipped: list[str] = []
        for node in nodes:
            manifest.recover(self.path(node.name))
        for index, node in enumerate(nodes, 1):
            state = self._state(node)
            if state.status == "done":
                skipped.append(node.name)
                continue
            resumed = ", going on where it was" if state.status == "resume" else ""
            self._console.print(f"[bold][{index}/{len(nodes)}] {node.name}[/bold]{resumed}", highlight=False)
            self._do(node, str(state.fingerprint))
            self._forced.discard(node.name)
            worked.append(node.name)
        if skipped:
            self._console.print(f"up to date: {', '.join(skipped)}", style="dim", highlight=False, soft_wrap=True)
        self._hashes.save()
        return worked

    def join(self, name: str) -> None:
        """Work on a node that the first process has begun; the folder and everything in it are that one's."""
        (node,) = [node for node in self.nodes if node.name == name]
        if node.trains:
            prepare_torch(self.recipe)
        node.work(self._context(node, manifest.unfinished(self.path(name))))
        processes.settle()

    def _context(self, node: Node, folder: Path) -> Context:
        inputs = {name: self.path(name) for name in node.inputs}
        return Context(folder, inputs, self.recipe, self.recipe_folder, self.folder, self._console)

    @contextlib.contextmanager
    def _joined(self, node: Node, folder: Path) -> Iterator[None]:
        """With the other processes, if there are any; until all are done."""
        team = processes.team() if node.together else None
        if team is None:
            yield
            return
        team.note(folder)
        team.call(node.name)
        yield
        team.gather()
        team.note(None)
        processes.settle()

    def _do(self, node: Node, fingerprint: str) -> None:
        target = self.path(node.name)
        with manifest.disk_errors(target):
            start_from = self._start(node)
            self._keep_unfinished(node, start_from)
            folder = manifest.begin(target, start_from)
            if node.trains:
                prepare_torch(self.recipe)
            start = time.perf_counter()
            with self._joined(node, folder):
                counts = node.work(self._context(node, folder))
            if node.together and processes.count() > 1:
                counts["processes"] = processes.count()
            seconds = round(time.perf_counter() - start, 2)
            entry = Manifest(
                node=node.name,
                fingerprint=fingerprint,
                content=manifest.hash_folder(folder, ignore=UNCONSUMED),
                whole=manifest.hash_folder(folder),
                inputs=self._input_hashes(node),
                settings=node.settings,
                code=code_version(node.modules),
                seed=self.recipe.seed,
                counts=counts,
                threads=_threads(),
                seconds=seconds,
                peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            )
            manifest.finish(target, entry)
        self._console.print(f"  {_short(counts)}[dim]  {seconds:.1f} s[/dim]", highlight=False, soft_wrap=True)


def _changed(before: manifest.Begun, now: manifest.Begun) -> str:
    """Which settings, inputs or code differ, in words."""
    was, is_ = ({**_flat(one.settings), **one.inputs} for one in (before, now))
    names = sorted(name for name in {*was, *is_} if was.get(name) != is_.get(name))
    told = [name if name in now.inputs else f"{name} ({was.get(name)} then, {is_.get(name)} now)" for name in names]
    return ", ".join(told[:4] or ["code"])


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    if not isinstance(settings, dict):
        return {prefix.rstrip("."): settings}
    return {key: value for name, one in settings.items() for key, value in _flat(one, f"{prefix}{name}.").items()}


def _short(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in counts.items() if _plain(value))


def _plain(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _threads() -> int:
    """Threads that torch computes with; 0 where torch was not needed."""
    import sys

    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 0


def prepare_torch(recipe: AnyRecipe) -> None:
    """Fix what results depend on: the number of threads and every random generator."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # what a hospital trains on is nobody else's business
    import torch

    if not torch.accelerator.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed, where it is installed, would warn of what it finds
    import transformers

    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    transformers.set_seed(recipe.seed)
    transformers.logging.set_verbosity_error()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[None]:
    """Hold a run's folder, and say in one line what is wrong with the disk if it cannot be written."""
    with manifest.disk_errors(folder), manifest.locked(folder):
        yield
