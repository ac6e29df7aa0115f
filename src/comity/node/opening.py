"""Opening a member's node folder: its parts, checked one by one."""

from __future__ import annotations

from pathlib import Path

from comity.aggregation import linear_check, sharing
from comity.commons.charter import commons_id, parse_charter
from comity.errors import Misconfigured
from comity.learning.steps import flush_to_zero_fault
from comity.node.addresses import followed_url
from comity.node.alarms import Alarms
from comity.node.keyfile import MemberKeys
from comity.node.machine import Machine
from comity.node.relaying import Relay
from comity.node.remote import Remote
from comity.node.replica import Replica
from comity.node.settings import authorities, read_node_settings
from comity.node.site_file import SiteFile
from comity.node.station import Clock, Station, system_clock
from comity.storage.blobs import FileBlobStore
from comity.storage.journal import SqliteJournal
from comity.values import MemberId


def open_station(
    folder: Path, keys: MemberKeys, *, clock: Clock = system_clock, machine: Machine | None = None
) -> Station:
    """Open a member's node folder; what was said and not yet settled waits to be sent again.

    Args:
        machine: what the node takes from the machine it runs on; this one, when None.

    Raises:
        Misconfigured: a file is missing or wrong, or this machine cannot compute as agreed.
        Unavailable: another process runs this node.
    """
    machine = machine or Machine()
    fault = flush_to_zero_fault()
    if fault is not None:
        raise Misconfigured(fault)
    sharing.self_check()
    linear_check.self_check()
    settings = read_node_settings(folder / "node.toml")
    charter_path = folder / "charter.json"
    try:
        charter = parse_charter(charter_path.read_bytes())
    except FileNotFoundError as error:
        raise Misconfigured(
            f"no {charter_path}: copy the signed charter there with `comity commons join`"
        ) from error
    policy = SiteFile(folder)
    policy.now()
    member = MemberId(settings.member)
    if member not in {founder.id for founder in charter.founders}:
        raise Misconfigured(f"node.toml: member {member} is not a founder in the charter")

    def remote_to(url: str) -> Remote:
        return Remote(
            url,
            member,
            statement_key=keys.statement,
            commons=commons_id(charter),
            clock=clock,
            tls=authorities(settings, url),
            proxy=settings.proxy or None,
            connect=machine.connect,
        )

    remote = remote_to(settings.host_url)
    journal = SqliteJournal(folder, hook=machine.hook)
    try:
        replica = Replica(folder / "log.sqlite", charter, hook=machine.hook)
    except BaseException:
        journal.close()
        raise
    blobs = FileBlobStore(folder / "blobs", hook=machine.hook)
    alarms, relay = Alarms(folder), Relay(folder)
    station = Station(
        folder,
        member,
        keys,
        settings,
        policy,
        replica,
        journal,
        blobs,
        remote,
        remote_to,
        clock,
        alarms,
        relay,
        machine,
    )
    for left in station.work.iterdir():
        if left.is_file():
            left.unlink()  # made by a process that was killed; whatever it was is made again
    station.use_host(followed_url(replica.state, journal, settings))
    return station
