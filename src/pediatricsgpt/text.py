"""Chinese text: decoding, normalisation, keys for comparison. The only place that does it."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The mark at the start of a file says its encoding; UTF-32 is not among them, nobody writes Chinese text in it.
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# GB18030 decodes almost any bytes, so the result of these two is checked for plausibility.
_DOUBLE_BYTE = ("gb18030", "big5")
# Below this share of ordinary characters a result is no text. Real files of the four encodings reach 0.95 and more,
# a file read in the wrong one of them stays below 0.6.
_PLAUSIBLE = 0.7
_SAMPLE = 20_000
_CONTROL_SIGNS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff\ufffd"
_PRIVATE_SIGNS = r"\ue000-\uf8ff\U000f0000-\U0010ffff"
_CONTROL = re.compile(f"[{_CONTROL_SIGNS}]")
_REMOVED = re.compile(f"[{_CONTROL_SIGNS}{_PRIVATE_SIGNS}]")
# Digits, Latin letters and the percent sign in their full-width forms.
_WIDE = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff05]")
_HALF_WIDTH = {point: point - 0xFEE0 for point in range(0xFF01, 0xFF5F) if _WIDE.match(chr(point))}
_POINT_IN_NUMBER = re.compile(r"(?<=\d)．(?=\d)")
_SPACES = re.compile(r"[ \t\u00a0\u3000\u2000-\u200a]+")
_ODD_SPACES = re.compile(r"[\t\u00a0\u3000\u2000-\u200a]")
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CJK_PUNCTUATION = "，。；：？！、（）《》【】“”‘’…—"
# Space first: a search for it is faster than one for a Han character before it.
_SPACE_BETWEEN_HAN = re.compile(rf" (?=[{_HAN}{_CJK_PUNCTUATION}])(?<=[{_HAN}{_CJK_PUNCTUATION}] )")
_SPACED_LINE_END = re.compile(r" ?\n ?")
_NOT_KEY = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"(?<=[。！？!?；;])(?![”’」』）)])|\n+")
_HAN_CHARACTER = re.compile(f"[{_HAN}]")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file's text and the encoding that it was found to have.

    `encoding` names one codec, or `mixed: ` and the codecs of the lines, the most frequent first. `broken` are the
    lines (number from 1, bytes) that no encoding fits; each is an empty line of `text`, so that the others keep their
    numbers.
    """

    text: str
    encoding: str
    broken: tuple[tuple[int, bytes], ...] = ()

    @property
    def main(self) -> str:
        """The one codec, of a mixed file that of most lines."""
        return self.encoding.removeprefix("mixed: ").split(", ")[0]


def decode(data: bytes) -> Decoded:
    """Decode a Chinese text file: UTF-8, UTF-16 with or without mark, GB18030 or Big5, whichever reads as text.

    A file whose lines are in different ones of these (pasted together from several) is decoded line by line.

    Raises:
        ValueError: no encoding gives plausible text, or none fits some of the lines; the message says which.
    """
    found = decode_lines(data)
    if found.broken:
        lines = ", ".join(str(number) for number, _ in found.broken[:3])
        raise ValueError(
            f"mixed encodings: line {lines}{' and others' if len(found.broken) > 3 else ''} of a file in "
            f"{found.encoding.removeprefix('mixed: ')} cannot be decoded; convert the file to UTF-8"
        )
    return found


def decode_lines(data: bytes) -> Decoded:
    """Decode as `decode` does; lines that no encoding fits are `broken`, and the caller rejects them.

    Raises:
        ValueError: the file as a whole is no text: no encoding fits half of its lines.
    """
    found = _decode_whole(data)
    if found is not None and not (found.encoding in _DOUBLE_BYTE and _hides_utf8(data, found)):
        return found
    if b"\0" in data:  # lines cannot be told apart in UTF-16, and no other encoding writes zeros
        raise ValueError(_UNKNOWN)
    return _decode_by_line(data)


_UNKNOWN = "unknown encoding: not UTF-8, UTF-16, GB18030 or Big5 text; convert it to UTF-8"


def _decode_whole(data: bytes) -> Decoded | None:
    """The text where one encoding fits the whole file."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _decoded(data, name)
    found = _decoded(data, "utf-8")
    if found is not None and "\0" not in found.text[:_SAMPLE]:
        return found
    # Zeros (every ASCII character and line end has one) or, in a text without any, plausibility tell UTF-16.
    sixteen = ("utf-16-le", "utf-16-be") if b"\0" in data[: 2 * _SAMPLE] else ()
    return _most_plausible(data, sixteen or _DOUBLE_BYTE) or _most_plausible(data, ("utf-16-le", "utf-16-be"))


def _decoded(data: bytes, name: str) -> Decoded | None:
    try:
        return Decoded(data.decode(name), name)
    except UnicodeDecodeError:
        return None


def _most_plausible(data: bytes, names: Sequence[str]) -> Decoded | None:
    found = [decoded for decoded in (_decoded(data, name) for name in names) if decoded is not None]
    best = max(found, key=lambda decoded: _plausibility(decoded.text), default=None)
    return best if best is not None and _plausibility(best.text) >= _PLAUSIBLE else None


def _hides_utf8(data: bytes, found: Decoded) -> bool:
    """True where lines of a seemingly double-byte file are UTF-8: read as GB18030 they are garbage in plain sight."""
    lines = (line for line in data.split(b"\n") if not line.isascii() and _decoded(line, "utf-8") is not None)
    return any(_line_encoding(line, found.encoding) == "utf-8" for line in lines)


def _line_encoding(line: bytes, usual: str) -> str | None:
    """The encoding of one line of a mixed file; `usual` where it is as plausible as any, None where none fits."""
    names = dict.fromkeys((usual, "utf-8", *_DOUBLE_BYTE))
    found = [decoded for decoded in (_decoded(line, name) for name in names) if decoded is not None]
    best = max(found, key=lambda decoded: _plausibility(decoded.text), default=None)
    return best.encoding if best is not None and _plausibility(best.text) >= _PLAUSIBLE else None


def _decode_by_line(data: bytes) -> Decoded:
    """Every line in the encoding that fits it; the most frequent one wins where two do.

    Raises:
        ValueError: no encoding fits half of the lines that are not plain ASCII.
    """
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    first = [None if line.isascii() else _line_encoding(line, "utf-8") for line in lines]
    counts = Counter(name for name in first if name is not None)
    beyond = sum(not line.isascii() for line in lines)
    if 2 * counts.total() < beyond or not counts:
        raise ValueError(_UNKNOWN)
    usual = counts.most_common(1)[0][0]
    names = ["ascii" if line.isascii() else _line_encoding(line, usual) for line in lines]
    broken = tuple((number, lines[number - 1]) for number, name in enumerate(names, 1) if name is None)
    text = "\n".join(line.decode(name) if name else "" for line, name in zip(lines, names, strict=True))
    used = [name for name, _ in Counter(name for name in names if name and name != "ascii").most_common()]
    return Decoded(text, used[0] if len(used) == 1 else f"mixed: {', '.join(used)}", broken)


def _plausibility(text: str) -> float:
    """Share of the characters beyond ASCII that simplified or that traditional texts are written with.

    The repertoires are those of GB2312 and Big5, taken apart: a file read in the wrong encoding has some of both.
    """
    if text.isascii():
        return 1.0 if text.isprintable() or not _CONTROL.search(text) else 0.0
    sample = [character for character in text[:_SAMPLE] if character > "~"]
    if not sample:
        return 1.0
    return max(sum(_encodable(character, name) for character in sample) for name in ("gb2312", "big5")) / len(sample)


@functools.lru_cache(maxsize=65_536)
def _encodable(character: str, name: str) -> bool:
    try:
        character.encode(name)
    except UnicodeEncodeError:
        return False
    return True


def normalise(text: str) -> str:
    """Unicode clean-up that changes no meaning: NFC, line ends, spaces, control and private-use characters.

    Full-width punctuation stays as it is; full-width digits and Latin letters become ordinary ones, because doses and
    units are compared as text later.
    """
    # Most texts need nothing of this: looking first is several times faster than replacing.
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _REMOVED.search(text):
        text = _REMOVED.sub("", text)
    if _WIDE.search(text):
        text = text.translate(_HALF_WIDTH)
    if "．" in text:
        text = _POINT_IN_NUMBER.sub(".", text)
    if "  " in text or _ODD_SPACES.search(text):
        text = _SPACES.sub(" ", text)
    if " " in text:
        text = _SPACE_BETWEEN_HAN.sub("", text)
    return (_SPACED_LINE_END.sub("\n", text) if "\n" in text else text).strip()


def key(text: str) -> str:
    """What two texts have in common when they differ only in spaces, punctuation, width or case."""
    return _NOT_KEY.sub("", unicodedata.normalize("NFKC", text)).lower()


def sentences(text: str) -> list[str]:
    """Split at Chinese sentence ends and line breaks; the end marks stay with their sentence."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def han_share(text: str) -> float:
    """Share of Han characters among all that are not spaces; 0 for an empty text."""
    visible = re.sub(r"\s", "", text)
    return len(_HAN_CHARACTER.findall(visible)) / len(visible) if visible else 0.0


@functools.cache
def segmenter() -> Any:
    """A tokenizer of jieba's (`cut`, and `FREQ` by word): silent, with a dictionary that no other caller can change."""
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its string escapes and of pkg_resources: nothing that concerns a user
        import jieba
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    tokenizer.initialize()
    return tokenizer
