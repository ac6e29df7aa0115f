"""Results to bytes, errors to codes: the answers that a host and a mirror give in the same form."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from comity.errors import ComityError, Forged, Malformed, Refused, Unavailable
from comity.storage.blobs import WrongOffset
from comity.values import BlobName, is_digest, u16
from comity.web.bodies import NotHere, TokenMissing, TooLarge, WrongCoding
from comity.web.dispatch import NAME, Endpoint
from comity.web.told import Published, ShownHead

_LOG = logging.getLogger(__name__)


def answered(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with every error as the answer of its code."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ComityError as error:
            return error_answer(error)
        except (ClientDisconnect, TimeoutError):
            return error_answer(Unavailable("the request stopped coming; send the rest again"))
        except Exception:
            _LOG.exception("request failed path=%s", request.scope["path"].encode())
            return error_answer(Unavailable("this failed here; the operator finds why in its log"))

    return answer


async def nothing_here(_: Request) -> Response:
    """For every address that is none."""
    return error_answer(NotHere("there is nothing at this address"))


_STATUS: Final[tuple[tuple[type[ComityError], int], ...]] = (
    (TooLarge, 413),
    (WrongCoding, 415),
    (Malformed, 400),
    (Forged, 403),
    (Refused, 403),
    (TokenMissing, 401),
    (NotHere, 404),
    (WrongOffset, 409),
)


def error_answer(error: ComityError) -> Response:
    """An error with the status of its class."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 503)
    said = error_said(error)
    if isinstance(error, WrongOffset):
        said["stored"] = error.stored
    answer = json_answer(said, status)
    if isinstance(error, Refused):
        answer.headers["x-comity-rule"] = error.rule.value  # all that an answer to HEAD can say
    return answer


def error_said(error: ComityError) -> dict[str, str | int]:
    """An error as JSON: the class a client knows, the rule, and words."""
    kinds = (Malformed, Forged, Refused)
    name = next((kind.__name__ for kind in kinds if isinstance(error, kind)), "Unavailable")
    if isinstance(error, Refused):
        code = error.rule.value
        return {"error": name, "rule": code, "message": str(error).removesuffix(f" [{code}]")}
    return {"error": name, "message": str(error)}


def entries_answer(told: Published, start: int, leaves: Sequence[bytes]) -> bytes:
    """The newest heads in one JSON line, then entries from `start` on, each behind its length."""
    heads = [{"note": h.head.note.decode(), "cosignatures": _lines(h)} for h in told.shown]
    line = {
        "version": told.version,
        "note": heads[-1]["note"] if heads else None,
        "cosignatures": heads[-1]["cosignatures"] if heads else [],
        "heads": heads,
        "from": start,
        "count": len(leaves),
    }
    parts = [part for leaf in leaves for part in (u16(len(leaf)), leaf)]
    return b"".join((msgspec.json.encode(line), b"\n", *parts))


def _lines(shown: ShownHead) -> list[str]:
    return [line.decode() for line in shown.lines]


def blob_name(request: Request) -> BlobName:
    """The name in the address. Raises NotHere: it is none."""
    name = request.path_params[NAME]
    # The raw path too: no other spelling of a name is one.
    if not is_digest(name) or not request.scope["raw_path"].endswith(b"/" + name.encode()):
        raise NotHere("a blob's name is 64 lower-case hex digits")
    return BlobName(name)


def stored_answer(stored: int, finished: bool) -> Response:
    """How many bytes of a blob are here, and whether it is complete, in headers."""
    return Response(
        headers={
            "x-comity-stored": str(stored),
            "x-comity-finished": "true" if finished else "false",
        }
    )


def json_answer(value: object, status: int = 200) -> Response:
    """One JSON value."""
    return Response(json.dumps(value).encode(), status, media_type="application/json")
