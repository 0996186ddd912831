"""A report as a test reads it."""

from __future__ import annotations

import base64
import csv
import io
import json
from html.parser import HTMLParser
from typing import Any

from pediatricsgpt.evaluation.report import write_report

from .conftest import SmallRun

VOID = {"meta", "link", "br", "hr", "img", "input"}
SHAPES = {"path", "line", "rect", "circle"}
_CSV = "data:text/csv;charset=utf-8;base64,"


class Page(HTMLParser):
    """What a page holds: its text, its ids, where its elements point, what can be downloaded, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.policy = ""
        self.downloads: dict[str, str] = {}
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " "
        given = dict(attrs)
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag == "script":
            self.scripts.append((given, ""))
        if tag == "a" and "download" in given:
            file, address = str(given["download"]), str(given.pop("href"))
            assert address.startswith(_CSV)
            assert self.downloads.setdefault(file, address) == address, f"two files named {file}"
        for name, value in given.items():
            assert not name.startswith("on"), f"{name} on <{tag}>"
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "srcset", "action", "data", "xlink:href"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES | VOID
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " "

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            given, code = self.scripts[-1]
            self.scripts[-1] = (given, code + data)
        elif self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += data

    def data(self) -> Any:
        """What the page's script is given."""
        (found,) = [code for given, code in self.scripts if given.get("type") == "application/json"]
        return json.loads(found)

    def csv(self, file: str) -> list[list[str]]:
        """The lines of a download."""
        text = base64.b64decode(self.downloads[file].removeprefix(_CSV)).decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text)))


def report(run: SmallRun) -> Page:
    return Page(write_report(run.folder).read_text(encoding="utf-8"))


def words(text: str) -> str:
    return " ".join(text.split())
