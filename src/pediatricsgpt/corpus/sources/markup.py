"""Web pages and EPUB books: the main text with its headings and tables, as Markdown lines."""

from __future__ import annotations

import html
import io
import posixpath
import re
import urllib.parse
import zipfile
from collections.abc import Collection
from dataclasses import replace
from xml.etree import ElementTree

from pediatricsgpt.corpus.sources.assemble import Within, clean_title, document_records, paragraph_lines
from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.layout import Line, tidy
from pediatricsgpt.corpus.sources.office import check_archive
from pediatricsgpt.errors import require_extra
from pediatricsgpt.records import Reject
from pediatricsgpt.text import decode

PAGE_BYTES = 16 << 20
"""A larger page or chapter is no text; parsers take a hundred times its size in memory."""
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
_DECLARED = {"gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030", "cp936": "gb18030"}
_HEAD_BYTES = 4096
_SCRIPT = re.compile(r"<(su[pb])(?:\s[^>]*)?>(.*?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_EXPONENT = re.compile(r"[-+−]?\d{1,2}[-+]?|[-+]")
_BOLD = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_META_TITLE = re.compile(
    r"""<meta\s[^>]*(?:name|property)=["'](?:ArticleTitle|og:title)["'][^>]*\scontent=["']([^"']+)["']""", re.IGNORECASE
)
_SITE = re.compile(r"\s*[|_｜]\s*|\s+[-–—]\s+")
# Below this the library takes the page without its headings and tables; its own limit is 250.
_SHORTEST_PAGE = 20
_FURNITURE = ["//nav", "//footer", "//*[@role='navigation']", "//*[contains(@class, 'footer') or @id='footer']"]
_RULE = re.compile(r"\|(?:\s*:?-{3,}:?\s*\|)+\s*")
_EMPTY_ROW = re.compile(r"\|(?:\s*\|)+")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!>~])")
_FONTS = (".ttf", ".otf", ".woff", ".woff2")
_PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\((?:[^()]|\([^)]*\))*\)")


def read_html(file: SourceFile) -> Result:
    """The main text of a web page, without menus, heads and feet; headings are its sections, tables stay tables.

    Raises:
        UserError: the page has no main text, is too large or of unknown encoding, or the extra `documents` is missing.
    """
    try:
        import trafilatura
        from trafilatura.settings import use_config
    except ImportError as error:
        raise require_extra("documents", error) from error
    data = file.data
    if len(data) > PAGE_BYTES:
        raise file.error(f"the page has {len(data)} bytes; more than {PAGE_BYTES} are no web page: divide it")
    try:
        page = decode_page(data)
    except ValueError as error:
        raise file.error(str(error)) from error
    options = use_config()
    options.set("DEFAULT", "MIN_EXTRACTED_SIZE", str(_SHORTEST_PAGE))
    text = trafilatura.extract(
        raise_scripts(page),
        output_format="markdown",
        include_tables=True,
        include_formatting=True,
        include_comments=False,
        prune_xpath=_FURNITURE,
        config=options,
    )
    if not text or not text.strip():
        raise file.error("no main text: the page holds only menus, pictures or scripts")
    lines = plain_lines(text)
    headed = any(line.text.startswith("# ") for line in lines)
    return document_records(file, lines, "" if headed else _page_title(page), within=Within("paragraph {line}"))


def _page_title(page: str) -> str:
    """The title in the head of a page, without the name of the site behind it; '' where there is none."""
    named = _META_TITLE.search(page) or _TITLE.search(page)
    title = html.unescape(named.group(1)).strip() if named else ""
    parts = [part for part in _SITE.split(title) if part]
    return clean_title(parts[0]) if parts else ""


def decode_page(data: bytes) -> str:
    """The text of a page, in the encoding that it declares where that fits, else in the one that is found.

    Raises:
        ValueError: no encoding fits.
    """
    declared = _CHARSET.search(data[:_HEAD_BYTES])
    if declared and not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        name = declared.group(1).decode("ascii").lower()
        try:
            return data.decode(_DECLARED.get(name, name))
        except (UnicodeDecodeError, LookupError):
            pass  # pages lie about it; what they are written in is found out
    return decode(data).text


def raise_scripts(page: str) -> str:
    """HTML with `10<sup>9</sup>` as `10^9`, which converters would make 109; lowered digits stand on the line."""

    def written(found: re.Match[str]) -> str:
        inner = _TAG.sub("", found.group(2)).strip()
        before = found.string[: found.start()][-1:]
        raised = found.group(1).lower() == "sup" and before.isascii() and before.isalnum()
        return f"^{inner}" if raised and _EXPONENT.fullmatch(inner) else inner

    return _SCRIPT.sub(written, page)


def plain_lines(markdown: str, chapter: int | None = None) -> list[Line]:
    """Lines of converted Markdown without the marks of bold print, links and pictures."""
    found: list[Line] = []
    for line in paragraph_lines(_LINK.sub(r"\1", _PICTURE.sub(r"\1", markdown)), chapter):
        text = _ESCAPED.sub(r"\1", _BOLD.sub(r"\1", line.text))
        if _RULE.fullmatch(text):
            text = f"|{' --- |' * (text.count('|') - 1)}"
        found.append(replace(line, text=text))
    return _without_empty_heads(found)


def _without_empty_heads(lines: list[Line]) -> list[Line]:
    """The first row of a table as its head, where the converter put an empty one above it."""
    for place in range(len(lines) - 2):
        head, rule, first = lines[place : place + 3]
        if _EMPTY_ROW.fullmatch(head.text) and _RULE.fullmatch(rule.text) and first.text.startswith("|"):
            lines[place : place + 3] = [Line("", head.line, head.page), first, replace(rule, line=first.line)]
    return lines


def read_epub(file: SourceFile) -> Result:
    """An EPUB book: its chapters in reading order.

    A chapter that is missing, damaged or too large is a reject; cover pages and tables of contents hold no text.

    Raises:
        UserError: it is no EPUB book, it is damaged, encrypted or holds no text, or the extra `documents` is missing.
    """
    try:
        import markitdown  # noqa: F401
    except ImportError as error:
        raise require_extra("documents", error) from error
    check_archive(file, "META-INF/container.xml", "an EPUB book")
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        names = set(archive.namelist())
        if any(not name.endswith(_FONTS) for name in _encrypted(archive, names)):
            raise file.error("the book is encrypted (DRM): a copy without protection is needed")
        title, chapters = _spine(file, archive)
        lines: list[Line] = []
        rejects: list[Reject] = []
        for number, name in enumerate(chapters, 1):
            where = f"{file.name}, chapter {number} ({name})"
            if name not in names:
                rejects.append(Reject("read", "missing chapter: the book lists it and does not hold it", where))
            elif archive.getinfo(name).file_size > PAGE_BYTES:
                rejects.append(Reject("read", f"chapter too large: more than {PAGE_BYTES} bytes", where))
            else:
                lines += _chapter_lines(archive.read(name), number)
    if not any(line.text for line in lines):
        raise file.error("the book holds no text: its pages are pictures or empty")
    records, empty = document_records(file, lines, title, within=Within("chapter {page}, paragraph {line}"))
    return records, rejects + empty


def _encrypted(archive: zipfile.ZipFile, names: Collection[str]) -> list[str]:
    """What of the book is encrypted; publishers scramble fonts, which does no harm."""
    if "META-INF/encryption.xml" not in names:
        return []
    root = ElementTree.fromstring(archive.read("META-INF/encryption.xml"))
    return [element.get("URI", "") for element in root.iter() if element.tag.endswith("CipherReference")]


def _spine(file: SourceFile, archive: zipfile.ZipFile) -> tuple[str, list[str]]:
    """The book's title and the names of its chapters in reading order."""
    try:
        container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
        package = next(each.get("full-path", "") for each in container.iter() if each.tag.endswith("}rootfile"))
        root = ElementTree.fromstring(archive.read(package))
    except (ElementTree.ParseError, KeyError, StopIteration) as error:
        raise file.error("the EPUB book is damaged: its list of chapters cannot be read") from error
    base = posixpath.dirname(package)
    items = {each.get("id"): each for each in root.iter() if each.tag.endswith("}item")}
    chapters = []
    for reference in (each for each in root.iter() if each.tag.endswith("}itemref")):
        item = items.get(reference.get("idref"))
        if item is not None and "nav" not in (item.get("properties") or "").split():
            path = urllib.parse.unquote(item.get("href", ""))
            chapters.append(posixpath.normpath(posixpath.join(base, path)))
    title = next((each.text or "" for each in root.iter() if each.tag.endswith("}title")), "")
    return title.strip(), chapters


def _chapter_lines(data: bytes, number: int) -> list[Line]:
    page = decode_page(data)
    lines = plain_lines(to_markdown(page), number)
    named = _TITLE.search(page)
    # A chapter without a heading of its own is named by its title, where that says more than the file's name.
    if named and any(line.text for line in lines) and not any(line.text.startswith("#") for line in lines):
        name = html.unescape(named.group(1)).strip()
        if name and not re.fullmatch(r"[\w.-]*\.x?html?|\w*\d+", name):
            return [Line(f"# {tidy(name)}", 1, number), *lines]
    return lines


def to_markdown(page: str) -> str:
    """A whole HTML page as Markdown, headings and tables kept, cells over several rows or columns in their place."""
    from markitdown import MarkItDown, StreamInfo

    stream = io.BytesIO(_with_square_tables(raise_scripts(page)).encode("utf-8"))
    return str(MarkItDown().convert_stream(stream, stream_info=StreamInfo(extension=".html", charset="utf-8")).markdown)


def _with_square_tables(page: str) -> str:
    """A page whose tables have every cell in its column: the converter would move a row under a tall cell to the left.

    What a tall or wide cell covers is empty.
    """
    if not re.search(r"(?:row|col)span", page):
        return page
    import bs4

    soup = bs4.BeautifulSoup(page, "html.parser")
    for table in soup.find_all("table"):
        covered: set[tuple[int, int]] = set()
        for number, row in enumerate(table.find_all("tr")):
            column = 0
            for cell in row.find_all(["td", "th"], recursive=False):
                while (number, column) in covered:
                    cell.insert_before(soup.new_tag(cell.name))
                    column += 1
                height, width = _span(cell.get("rowspan")), _span(cell.get("colspan"))
                covered |= {(number + down, column + right) for down in range(1, height) for right in range(width)}
                for _ in range(width - 1):
                    cell.insert_after(soup.new_tag(cell.name))
                column += width
                del cell["rowspan"], cell["colspan"]
            while (number, column) in covered:
                row.append(soup.new_tag("td"))
                column += 1
    return str(soup)


def _span(value: object) -> int:
    """How many rows or columns a cell covers; nonsense counts as one, and nobody means more than a hundred."""
    text = str(value or "1").strip()
    return min(100, max(1, int(text))) if text.isdigit() else 1
