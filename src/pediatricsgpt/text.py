"""Chinese text: decoding, normalisation, keys for comparison. The only place that does it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

# What a Chinese file may be written in, most specific first. GB18030 decodes almost any bytes, so it comes last and
# its result is checked for plausibility.
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff\ufffd]")
_PRIVATE = re.compile(r"[\ue000-\uf8ff\U000f0000-\U0010ffff]")
_POINT_IN_NUMBER = re.compile(r"(?<=\d)．(?=\d)")
_SPACES = re.compile(r"[ \t\u00a0\u3000\u2000-\u200a]+")
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CJK_PUNCTUATION = "，。；：？！、（）《》【】“”‘’…—"
_SPACE_BETWEEN_HAN = re.compile(rf"(?<=[{_HAN}{_CJK_PUNCTUATION}]) +(?=[{_HAN}{_CJK_PUNCTUATION}])")
_NOT_KEY = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"(?<=[。！？!?；;])(?![”’」』）)])|\n+")
_HAN_CHARACTER = re.compile(f"[{_HAN}]")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file's text and the encoding that it was found to have."""

    text: str
    encoding: str


def decode(data: bytes) -> Decoded:
    """Decode a Chinese text file: UTF-8, UTF-16 with mark, GB18030 or Big5, whichever reads as plausible text.

    Raises:
        ValueError: no encoding gives plausible text; the message says what was tried.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return Decoded(data.decode(name), name)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    candidates: list[tuple[float, str, str]] = []
    for name in ("gb18030", "big5"):
        try:
            decoded = data.decode(name)
        except UnicodeDecodeError:
            continue
        candidates.append((_plausibility(decoded), name, decoded))
    if candidates:
        score, name, decoded = max(candidates, key=lambda candidate: candidate[0])
        if score >= 0.7:
            return Decoded(decoded, name)
    raise ValueError("unknown encoding: not UTF-8, UTF-16, GB18030 or Big5 text; convert it to UTF-8")


def _plausibility(text: str) -> float:
    """Share of characters that occur in ordinary Chinese text: the common Han block, ASCII and CJK punctuation."""
    sample = text[:20_000]
    if not sample:
        return 1.0
    return sum(map(_is_ordinary, sample)) / len(sample)


def _is_ordinary(character: str) -> bool:
    """True of characters of GB2312 (level 1 and 2), of Big5's common part, and of printable ASCII."""
    if character in "\n\r\t" or " " <= character <= "~":
        return True
    if not (
        "\u4e00" <= character <= "\u9fff" or "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uff5e"
    ):
        return character in "·—‘’“”…℃±×÷μαβγ"
    return _encodable(character, "gb2312") or _encodable(character, "big5")


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
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _PRIVATE.sub("", _CONTROL.sub("", text))
    text = "".join(_half_width(character) for character in text)
    text = _POINT_IN_NUMBER.sub(".", text)
    text = _SPACES.sub(" ", text)
    text = _SPACE_BETWEEN_HAN.sub("", text)
    return re.sub(r" ?\n ?", "\n", text).strip()


def _half_width(character: str) -> str:
    """Full-width digits, letters and the percent sign as ASCII; everything else unchanged."""
    if "０" <= character <= "９" or "Ａ" <= character <= "Ｚ" or "ａ" <= character <= "ｚ" or character == "％":
        return chr(ord(character) - 0xFEE0)
    return character


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
