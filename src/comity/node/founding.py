"""Identities, and entering a commons, as plain functions; no station is needed.

    new_identity(folder, "hospital-a", passphrase=...)       # keys.pem and hospital-a.id.json
    enter_commons(folder, read_charter(path), keys=..., host_url=...)

An id file is the public thing to send around: the key set, and proof that its keys are held.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, final

from msgspec import Struct

from comity.commons.charter import (
    Charter,
    charter_bytes,
    charter_from_toml,
    commons_id,
    parse_charter,
)
from comity.errors import Forged, Malformed, Misconfigured, Refused, Rule, Unavailable
from comity.node.keyfile import MemberKeys, Unencrypted, make_keys, write_keys
from comity.node.settings import NodeSettings, write_node_settings
from comity.statements.fields import TextField
from comity.statements.governing import KeySet, Possession, PublicKeys
from comity.statements.keysets import check_possession, key_set_digest, make_possession
from comity.statements.wire import canonical, read_canonical
from comity.values import (
    CHARTER_BYTES_MAX,
    SLUG_BYTES_MAX,
    TEXT_BYTES_MAX,
    CommonsId,
    Digest,
    MemberId,
    is_slug,
)

KEYS: Final = "keys.pem"
CHARTER: Final = "charter.json"
ID_BYTES_MAX: Final = 65_536
ID_SUFFIX: Final = ".id.json"

SITE: Final = """\
# Site policy: what this institution alone decides. Unknown settings are refused; each is explained
# in docs/site-policy.md. It is read again at each decision, so a change needs no restart.
format = "comity-site/1"

# Who answers a request for consent: "ask", a person each time; "first-time", a person the first
# time that a study file is to use a data set; "auto", a yes by itself for the files listed in code.
studies = "{studies}"

# Digests of the study files that may run here; empty: any that a person consented to.
code = []

# Whether a consent may accept that absences of others show nearly this site's update.
exposed = false

# Which walls must hold around a study's process: "require" for all, "warn" for none, or a list of
# "network", "files", "processes", "limits", "gpu".
sandbox = "{sandbox}"

# The fewest members whose sum this site goes into, and the most rounds of one study.
survivors_min = 3
rounds_max = 1000

# Limits of a study's process: memory in MiB, processor seconds of one round.
memory_mb_max = 4096
cpu_s_max = 3600

# When a study's work may begin; without this line, at any time.
# hours = "20:00-06:00 UTC"

# What a data set may be used for, in DUO terms; a study that does not fit is refused, and one that
# does not say enough waits for a person.
# [dataset.heart-a]
# use = "DUO:0000006"
# modifiers = ["DUO:0000046"]
# until = "2027-12-31"
"""


@final
class PublicId(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `<member>.id.json` holds, as canonical JSON. Nothing in it is secret."""

    format: Literal["comity-id/1"]
    key_set: KeySet
    possession: Possession
    country: TextField = ""
    name: TextField = ""


@final
class Identity(Struct, frozen=True, tag="identity"):
    """A member's public identity. digest: of its key set, which a charter lists."""

    member: MemberId
    digest: Digest
    name: str
    country: str
    id_file: str


@final
class Entered(Struct, frozen=True, tag="entered"):
    """A node folder that is ready to run."""

    member: MemberId
    commons: CommonsId
    folder: str
    host_url: str


# -- identities ----------------------------------------------------------------------------------


def new_identity(
    folder: Path,
    member: str,
    *,
    passphrase: bytes | Unencrypted,
    name: str = "",
    country: str = "",
) -> Identity:
    """Make the four keys of a member for one commons, and the id file to send around.

    Args:
        folder: the node's, made with mode 0700 when absent. member: a slug.
        name, country: neutral attributes for the charter, plain text.
    Raises:
        Misconfigured: no slug, there are keys already, or the folder is open to others.
    """
    if not is_slug(member):
        raise Misconfigured(
            f"a member id has a-z, 0-9, hyphens and dots only, at most {SLUG_BYTES_MAX}, for"
            f" example hospital-a; not {member!r}"
        )
    for what, text in (("name", name), ("country", country)):
        if not text.isprintable() or len(text.encode()) > TEXT_BYTES_MAX:
            raise Misconfigured(f"a {what} is one printable line of at most {TEXT_BYTES_MAX} bytes")
    keys = make_keys()
    key_set = key_set_of(MemberId(member), keys)
    possession = possession_of(key_set, keys)
    write_keys(folder / KEYS, keys, passphrase=passphrase)
    public = PublicId("comity-id/1", key_set, possession, country=country, name=name)
    path = folder / f"{member}{ID_SUFFIX}"
    _write(path, canonical(public))
    return _identity(public, path)


def key_set_of(member: MemberId, keys: MemberKeys, serial: int = 0) -> KeySet:
    """The public key set of a member's keys. serial: how often it has replaced them."""
    return KeySet(keys=public_keys_of(keys), member=member, serial=serial)


def public_keys_of(keys: MemberKeys) -> PublicKeys:
    """The public halves."""
    return PublicKeys(
        head=keys.public_head,
        host=keys.public_host,
        model=keys.public_model,
        statement=keys.public_statement,
    )


def possession_of(key_set: KeySet, keys: MemberKeys) -> Possession:
    """What shows that the keys of a set are held."""
    return make_possession(
        key_set, statement=keys.statement, head=keys.head, host=keys.host, model=keys.model
    )


def read_identity(path: Path) -> PublicId:
    """Read an id file, and check that whoever made it holds its keys.

    Raises:
        Misconfigured: it cannot be read. Malformed, Forged: it is no id file, or was changed.
    """
    try:
        public = read_canonical(_read(path, ID_BYTES_MAX), PublicId, ID_BYTES_MAX)
        check_possession(public.key_set, public.possession)
    except Malformed as error:
        raise Malformed(f"{path} is no id file: {error}") from error
    except Forged as error:
        raise Forged(f"{path}: {error}; ask its owner to send it again") from error
    return public


def show_identity(folder: Path) -> Identity:
    """The identity of a node folder: its one id file. Raises as `own_identity`."""
    path = _own_id_file(folder)
    return _identity(read_identity(path), path)


def own_identity(folder: Path) -> PublicId:
    """What the one id file of a folder says. Raises Misconfigured: none, or several; Forged."""
    return read_identity(_own_id_file(folder))


def _own_id_file(folder: Path) -> Path:
    found = sorted(folder.glob(f"*{ID_SUFFIX}"))
    if len(found) != 1:
        raise Misconfigured(
            f"expected one id file in {folder}, found {len(found)}: make one with `comity id new`,"
            " and keep those of other members elsewhere"
        )
    return found[0]


# -- charters ------------------------------------------------------------------------------------


def read_charter(path: Path, voters: Mapping[MemberId, str] | None = None) -> Charter:
    """Read a charter, as TOML or as canonical JSON. Raises Misconfigured, Malformed.

    Args:
        voters: as in `charter.charter_fault`; its founders when None.
    """
    raw = _read(path, CHARTER_BYTES_MAX)
    if raw.startswith(b"{"):
        return parse_charter(raw, voters)
    try:
        return charter_from_toml(raw.decode(), voters)
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path} is no charter: it is not UTF-8 text") from error


def enter_commons(
    folder: Path,
    charter: Charter,
    *,
    keys: MemberKeys,
    host_url: str,
    expected: str | None = None,
    studies: Literal["ask", "auto"] = "ask",
    sandbox: Literal["require", "warn"] = "require",
) -> Entered:
    """Make a node folder ready: the charter as it is hashed, settings, and a site policy.

    Run again with the same charter it changes settings only; a site policy is never replaced.

    Args:
        expected: commons id, or its beginning of 16 digits or more, as told by another channel.
        studies, sandbox: of the new site policy.
    Raises:
        Refused(KEYS_NOT_IN_CHARTER): the charter lists no member with these keys.
        Misconfigured: another commons lives in this folder, or is not the expected one.
    """
    commons = commons_id(charter)
    if expected is not None and not (len(expected) >= 16 and commons.startswith(expected)):
        raise Misconfigured(f"expected the charter of commons {expected}, this is {commons}")
    settings = NodeSettings(member=_member_of(charter, keys), host_url=host_url)
    return make_ready(folder, charter, settings, studies=studies, sandbox=sandbox)


def make_ready(
    folder: Path,
    charter: Charter,
    settings: NodeSettings,
    *,
    studies: Literal["ask", "auto"] = "ask",
    sandbox: Literal["require", "warn"] = "require",
) -> Entered:
    """Write what a node folder needs beside its keys; a site policy is never replaced.

    Raises:
        Misconfigured: another commons lives in this folder. Unavailable: the disk.
    """
    whole = charter_bytes(charter)
    path = folder / CHARTER
    if path.exists() and path.read_bytes() != whole:
        raise Misconfigured(
            f"{path} is of another commons: each commons has a folder and keys of its own"
        )
    _write(path, whole)
    write_node_settings(folder / "node.toml", settings)
    if not (folder / "site.toml").exists():
        _write(folder / "site.toml", SITE.format(studies=studies, sandbox=sandbox).encode())
    commons = commons_id(charter)
    return Entered(settings.member, commons, str(folder.resolve()), settings.host_url)


def _member_of(charter: Charter, keys: MemberKeys) -> MemberId:
    for founder in charter.founders:
        if key_set_digest(key_set_of(founder.id, keys)) == founder.keys:
            return founder.id
    raise Refused(
        Rule.KEYS_NOT_IN_CHARTER,
        "the charter lists no member with the keys of this folder: send your id file to whoever"
        " writes the charter, and sign the one that lists it",
    )


def _identity(public: PublicId, path: Path) -> Identity:
    digest = key_set_digest(public.key_set)
    return Identity(public.key_set.member, digest, public.name, public.country, str(path))


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(bytes_max + 1)
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > bytes_max:
        raise Misconfigured(f"{path} has more than {bytes_max} bytes")
    return raw


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Unavailable(f"cannot write {path} ({error.strerror}); check the disk") from error
