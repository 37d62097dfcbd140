"""Decode the base64 of images piece by piece, because several copies of a large one would take gigabytes."""

import binascii
import io

_PIECE = 1 << 20


def decode_base64(text: str) -> bytes:
    """Decode base64 text or a data URI. Returns the text's own bytes if it is neither.

    Line breaks, the URL-safe alphabet and missing padding are accepted. Text that cannot be decoded is kept, so that
    its item becomes `source_unreadable` and the stored file shows why.
    """
    comma = text.find(",") if text.startswith("data:") else -1
    if comma >= 0 and not text.endswith(";base64", 0, comma):
        return text.encode()
    try:
        return _decode(text, comma + 1) or text.encode()
    except ValueError:
        return text.encode()


def _decode(text: str, start: int) -> bytes:
    """Decode the text from `start` on. Raises ValueError if it is not base64."""
    decoded = io.BytesIO()
    rest, ended = "", False
    for at in range(start, len(text), _PIECE):
        piece = "".join(text[at : at + _PIECE].split())
        payload, padding, behind = piece.partition("=")
        if (ended and payload) or behind.strip("="):
            raise ValueError("text behind the padding")
        ended = ended or bool(padding)
        payload = rest + payload.replace("-", "+").replace("_", "/")
        whole = len(payload) // 4 * 4
        decoded.write(binascii.a2b_base64(payload[:whole], strict_mode=True))
        rest = payload[whole:]
    decoded.write(binascii.a2b_base64(rest + "=" * (-len(rest) % 4), strict_mode=True))
    return decoded.getvalue()
