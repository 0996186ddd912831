"""Scanned pages and images by OCR (PP-OCR models that come with rapidocr): lines in reading order, with confidence.

The engine gives boxes of text with a confidence each. What stands beside each other is one line; two columns are read
one after the other; three rows or more of pieces with wide gaps are a table.
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pediatricsgpt.corpus.sources.assemble import document_records
from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.geometry import Piece, in_columns, in_rows, join_words, open_table
from pediatricsgpt.corpus.sources.layout import Line, drop_running_heads, tidy
from pediatricsgpt.errors import require_extra
from pediatricsgpt.records import Reject

MIN_CONFIDENCE = 0.95
"""Pages whose mean confidence over their characters is lower are rejected.

Measured on a scan that was blurred, reduced and made noisy: pages above 0.97 had character error rates of 1.6 to 4 %,
those between 0.90 and 0.93 of 9 to 18 %, and noise 0.25.
"""
MIN_LINE_CONFIDENCE = 0.5
"""Single lines below are rejected: stamps, handwriting, pieces of pictures"""
_FEWEST_ROWS = 3  # of a table, its head among them
_PIXELS = 120_000_000
"""A larger image is no page: A3 at 600 dots per inch has 70 million"""


@dataclass(slots=True)
class ScannedPage:
    """The lines of a page, or why there are none; `confidence` is the mean over its characters, 0 to 1.

    `unsure` are single lines that were left out, with the reason.
    """

    lines: list[Line] = field(default_factory=list)
    reject: str = ""
    unsure: list[tuple[str, str]] = field(default_factory=list)
    confidence: float = 0.0


def read_image(file: SourceFile) -> Result:
    """A PNG, JPEG or TIFF image of a page, or of several pages, by OCR.

    Raises:
        UserError: it is no image, `ocr` is `never`, nothing on it can be read, or the extra `ocr` is missing.
    """
    if file.settings.ocr == "never":
        raise file.error("an image can only be read by OCR, and ocr is set to never")
    pages = [read_picture(picture) for picture in _pictures(file)]
    rejects = [reject for number, page in enumerate(pages, 1) for reject in page_rejects(file, number, page)]
    if not any(page.lines for page in pages):
        raise file.error(f"nothing on the image can be read: {rejects[0].reason}")
    numbered = [
        [Line(line.text, None, number, line.verbatim) for line in page.lines] for number, page in enumerate(pages, 1)
    ]
    lines = [line for page in drop_running_heads(numbered) for line in page]
    records, empty = document_records(file, lines, paged=True, scanned=range(1, len(pages) + 1))
    return records, rejects + empty


def page_rejects(file: SourceFile, number: int, page: ScannedPage) -> list[Reject]:
    """What could not be read of a page: all of it, or single lines."""
    where = f"{file.name}, page {number}"
    whole = [Reject("read", page.reject, where)] if page.reject else []
    return whole + [Reject("read", reason, where, text) for text, reason in page.unsure]


def _pictures(file: SourceFile) -> list[Any]:
    """The frames of an image as arrays of shape [height, width, 3], RGB, turned as the camera says."""
    try:
        import numpy as np
        from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
    except ImportError as error:
        raise require_extra("ocr", error) from error
    try:
        image = Image.open(io.BytesIO(file.data))
        if image.width * image.height > _PIXELS:
            raise file.error(f"the image has {image.width} x {image.height} pixels; more than {_PIXELS} are no page")
        return [
            np.asarray(ImageOps.exif_transpose(frame).convert("RGB"))[:, :, ::-1]
            for frame in ImageSequence.Iterator(image)
        ]
    except UnidentifiedImageError as error:
        raise file.error("not an image file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise file.error(f"the image is damaged or cut off: {error}") from error


@functools.cache
def _engine() -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise require_extra("ocr", error) from error
    # The engine's own threshold would drop lines in silence: they count here, and a bad page is a reject.
    return RapidOCR(params={"Global.log_level": "error", "Global.text_score": 0.0})


def read_picture(picture: Any) -> ScannedPage:
    """Read the picture of a page.

    Args:
        picture: array of shape [height, width, 3], 8 bits, BGR.

    Raises:
        UserError: the extra `ocr` is missing.
    """
    result = _engine()(picture)
    if result.boxes is None or not result.txts:
        return ScannedPage(reject="page without text: OCR finds none, only a picture")
    scores = [(score, len(text)) for text, score in zip(result.txts, result.scores, strict=True)]
    confidence = sum(score * length for score, length in scores) / max(1, sum(length for _, length in scores))
    if confidence < MIN_CONFIDENCE:
        reason = f"low confidence: {confidence:.2f} on average over {len(scores)} lines, {MIN_CONFIDENCE} needed"
        return ScannedPage(reject=reason, confidence=confidence)
    read = list(zip(result.boxes, result.txts, result.scores, strict=True))
    pieces = [_piece(box, text) for box, text, score in read if score >= MIN_LINE_CONFIDENCE and text.strip()]
    unsure = [
        (text, f"low confidence: {score:.2f} for a line") for _, text, score in read if score < MIN_LINE_CONFIDENCE
    ]
    return ScannedPage(_lines(pieces), "", unsure, confidence)


def _piece(box: Any, text: str) -> Piece:
    xs, ys = [float(point[0]) for point in box], [float(point[1]) for point in box]
    return Piece(text, min(xs), min(ys), max(xs), max(ys))


def _lines(pieces: Sequence[Piece]) -> list[Line]:
    columns = in_columns(pieces)
    if columns is not None:
        return [Line(tidy(piece.text)) for piece in columns]
    found: list[Line] = []
    for table, rows in itertools.groupby(in_rows(pieces), _has_cells):
        block = list(rows)
        cells = open_table([piece for row in block for piece in row]) if table and len(block) >= _FEWEST_ROWS else ()
        found += [Line(row, verbatim=True) for row in cells]
        if not cells:
            found += [Line(tidy(functools.reduce(join_words, (piece.text for piece in row)))) for row in block]
    return found


def _has_cells(row: Sequence[Piece]) -> bool:
    """True of pieces with gaps between them that are wider than any between words."""
    return any(after.x0 - before.x1 > max(before.height, after.height) for before, after in itertools.pairwise(row))
