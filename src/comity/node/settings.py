"""What one operator sets for one node: `node.toml`. What owners decide is in `site.toml` (gate)."""

from __future__ import annotations

import ssl
import tomllib
from pathlib import Path
from typing import Annotated, Literal, final

import msgspec
from msgspec import Meta, Struct

from comity.errors import Misconfigured
from comity.node.tls import client_tls
from comity.statements.fields import MemberField
from comity.values import PlainHttp


@final
class NodeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a node.

    member: this institution's id in the charter. host_url: where the host is reached.
    cosign_every_s: how long a head may wait for this node's cosignature when nothing needs it.
    poll_s: how long one request for new entries stays open. train_s_max: wall-clock limit of one
    training run. proxy: URL of the institution's proxy, "" for none. ca_file: PEM file of the
    authorities that may vouch for the host, "" for those of the system. plain_http: where plain
    HTTP may go: this machine only, or other machines too, on purpose.
    """

    member: MemberField
    host_url: Annotated[str, Meta(min_length=8, max_length=2_000, pattern=r"\Ahttps?://")]
    cosign_every_s: Annotated[int, Meta(ge=1, le=3_600)] = 10
    poll_s: Annotated[int, Meta(ge=1, le=25)] = 25
    train_s_max: Annotated[int, Meta(ge=1, le=604_800)] = 3_600
    proxy: Annotated[str, Meta(max_length=2_000, pattern=r"\A(https?://.+)?\Z")] = ""
    ca_file: Annotated[str, Meta(max_length=4_096)] = ""
    plain_http: Literal["loopback", "on-purpose"] = "loopback"


def authorities(settings: NodeSettings, url: str = "") -> ssl.SSLContext | PlainHttp:
    """How a node of these settings reaches a URL, or its host. Raises Misconfigured: `ca_file`."""
    if (url or settings.host_url).startswith("http:") and settings.plain_http == "on-purpose":
        return PlainHttp.ON_PURPOSE
    return client_tls(settings.ca_file)


def read_node_settings(path: Path) -> NodeSettings:
    """Read `node.toml`. Raises Misconfigured naming the setting and what is allowed."""
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(parsed, NodeSettings)
    except FileNotFoundError as error:
        raise Misconfigured(f"no {path}: make it with `comity commons join`") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"cannot read {path}: {error}") from error
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{path}: {error}") from error


def write_node_settings(path: Path, settings: NodeSettings) -> None:
    """Write `node.toml` with every setting and its value."""
    lines = ["# Settings of this node; unknown ones are refused."]
    for name, value in msgspec.to_builtins(settings).items():
        text = str(value) if isinstance(value, int) else msgspec.json.encode(value).decode()
        lines.append(f"{name} = {text}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
