"""TLS towards a host: what is asked of it, and one sentence for each way in which it fails.

Decided here: TLS 1.3, a chain to the authorities of the settings or else the system's, the name in
the URL. There is no setting that leaves a check out. Plain HTTP goes to this machine only, or
anywhere on purpose. TLS keeps strangers from reading along and from cutting single requests out;
what members say is signed, and checked whatever the transport.
"""

from __future__ import annotations

import ipaddress
import ssl
from typing import Final

from comity.errors import Misconfigured, Unavailable

_CLOCK: Final = "or set this machine's clock if that is what is wrong"
_AUTHORITY: Final = (
    "if that authority is your partners' own, get its certificate from them by another way and name"
    " its PEM file as ca_file in node.toml; if a proxy of your institution opens TLS, name its"
)
_REFUSALS: Final = {
    # X509_V_ERR_*: what was found, and what to do
    9: ("is not valid yet", f"its operator looks at the date it begins; {_CLOCK}"),
    10: ("has expired", f"its operator renews it; {_CLOCK}"),
    18: (
        "is signed by itself, and nothing here vouches for it",
        "its operator gets one from an authority, or gives you this one by another way, to be named"
        " as ca_file in node.toml",
    ),
    19: ("comes from an authority that is not known here", _AUTHORITY),
    20: ("comes from an authority that is not known here", _AUTHORITY),
    21: ("comes from an authority that is not known here", _AUTHORITY),
    23: ("was revoked", "its operator gets a new one"),
    62: (
        "is for another name",
        "host_url in node.toml must hold a name that is in the certificate",
    ),
    64: (
        "is for another address",
        "host_url in node.toml must hold a name or address that is in the certificate",
    ),
}
_OLD_TLS: Final = {
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY",
}
_NO_TLS: Final = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}


class Untrusted(Unavailable):
    """The host's TLS was refused. It may be well again later, but not by trying again at once."""


def client_tls(ca_file: str = "") -> ssl.SSLContext:
    """What a node asks of a host: TLS 1.3, a chain, the name.

    Args:
        ca_file: PEM of the authorities that may vouch for it; "" for those of the system.
    Raises:
        Misconfigured: no such file, or no certificate in it.
    """
    try:
        made = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"node.toml: cannot use ca_file {ca_file} ({error}); expected certificates in PEM"
        ) from None
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def require_loopback(host: str) -> None:
    """Refuse plain HTTP to any other machine. Raises Misconfigured: `host` is not this one."""
    try:
        here = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        here = host == "localhost"
    if not here:
        raise Misconfigured(
            f"http://{host} is plain HTTP to another machine, where anybody on the way reads along"
            ' and cuts out what they like: give its https address, or set plain_http = "on-purpose"'
            " in node.toml"
        )


def tls_refusal(error: BaseException) -> Untrusted | None:
    """The refusal behind a failed request, in one sentence; None when TLS is not the reason."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            found, advice = _REFUSALS.get(
                seen.verify_code, (f"was refused ({seen.verify_message})", "its operator looks")
            )
            return Untrusted(f"the host's certificate {found}: {advice}")
        if isinstance(seen, ssl.SSLError) and seen.reason in _OLD_TLS:
            return Untrusted(
                "the host offers no TLS 1.3: its operator, or that of the reverse proxy before it,"
                " switches TLS 1.3 on"
            )
        if isinstance(seen, ssl.SSLError) and seen.reason in _NO_TLS:
            return Untrusted(
                "the host does not speak TLS at this port: compare host_url in node.toml with what"
                " its operator says"
            )
        seen = seen.__cause__ or seen.__context__
    return None
