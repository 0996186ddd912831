"""A report as a test reads it."""

from __future__ import annotations

from html.parser import HTMLParser

from pediatricsgpt.evaluation.report import write_report

from .conftest import SmallRun

VOID = {"meta", "link", "br", "hr", "img", "input"}
SHAPES = {"path", "line", "rect", "circle"}


class Page(HTMLParser):
    """What a page holds: its text, its ids, and where its elements point."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " "
        for name, value in attrs:
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
        self.text += data


def report(run: SmallRun) -> Page:
    return Page(write_report(run.folder).read_text(encoding="utf-8"))


def words(text: str) -> str:
    return " ".join(text.split())
