"""PDF files for the tests of the readers, written by hand: Chinese text and rules at given places, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 595, 842
FONT = (
    b"<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts[<</Type/Font"
    b"/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>"
    b"/DW 1000/W[1 95 500]/FontDescriptor<</Type/FontDescriptor/FontName/STSong-Light/Flags 4"
    b"/FontBBox[0 -200 1000 900]/ItalicAngle 0/Ascent 900/Descent -200/CapHeight 900/StemV 80>>>>]>>"
)


@dataclass
class Page:
    """Texts as (x, y, text) and rules as (x0, y0, x1, y1); y counts from the top of the page, in points.

    With `rotate` 90 they stand so that the page shows them upright on its long side.
    """

    texts: Sequence[tuple[float, float, str]] = ()
    rules: Sequence[tuple[float, float, float, float]] = ()
    size: float = 10
    rotate: int = 0
    shift: tuple[float, float] = field(default=(0, 0))

    def content(self) -> bytes:
        return "\n".join([*map(self._rule, self.rules), *map(self._text, self.texts)]).encode()

    def _place(self, x: float, y: float) -> str:
        return f"{y} {x}" if self.rotate == 90 else f"{x} {HEIGHT - y}"

    def _rule(self, rule: tuple[float, float, float, float]) -> str:
        return f"{self._place(*rule[:2])} m {self._place(*rule[2:])} l S"

    def _text(self, text: tuple[float, float, str]) -> str:
        matrix = "0 1 -1 0" if self.rotate == 90 else "1 0 0 1"
        code = text[2].encode("utf-16-be").hex()
        return f"BT /F {self.size} Tf {matrix} {self._place(*text[:2])} Tm <{code}> Tj ET"


def pdf(*pages: Page) -> bytes:
    """A PDF file of these pages."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode(),
        FONT,
    ]
    for number, page in enumerate(pages):
        content = page.content()
        box = f"[{page.shift[0]} {page.shift[1]} {WIDTH + page.shift[0]} {HEIGHT + page.shift[1]}]"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox{box}/Rotate {page.rotate}/Contents {5 + 2 * number} 0 R"
            f"/Resources<</Font<</F 3 0 R>>>>>>".encode()
        )
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(data)
    return data + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, table, len(objects) + 1, start)
    )


def grid(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """The rules of a table whose columns and rows are divided at these places."""
    across = [(x[0], height, x[-1], height) for height in y]
    return across + [(place, y[0], place, y[-1]) for place in x]
