"""Data inside the page: as JSON that cannot end the script it stands in, or packed."""

from __future__ import annotations

import base64
import gzip
import json


def embedded(data: object) -> str:
    """Return `data` as JSON that cannot end the script element it stands in, whatever a model wrote."""
    # ASCII only: U+2028 and lone surrogates are escaped.
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(data: object) -> str:
    """Return `data` as gzipped JSON in base64: a quarter of its size, and no character that HTML could read.

    The same data give the same text: no time of writing is in it. The page unpacks it with the browser's own
    `DecompressionStream`.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0)).decode("ascii")
