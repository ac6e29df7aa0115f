"""Opening a member's node folder: its parts, checked one by one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from comity.aggregation import linear_check, sharing
from comity.commons.charter import Charter, commons_id, parse_charter
from comity.errors import Misconfigured
from comity.learning.steps import flush_to_zero_fault
from comity.node.addresses import followed_url
from comity.node.alarms import Alarms
from comity.node.bootstrap import LOG_FILE
from comity.node.founding import KEYS, public_keys_of
from comity.node.keyfile import MemberKeys
from comity.node.leaving import Ledger
from comity.node.machine import Machine
from comity.node.relaying import Relay
from comity.node.remote import Remote
from comity.node.replica import Replica
from comity.node.rotating import (
    KEYS_NEXT,
    OwnKeys,
    adopt_if_final,
    has_other_keys,
    keys_in_force,
    sign_unlogged_again,
)
from comity.node.settings import authorities, read_node_settings
from comity.node.site_file import SiteFile
from comity.node.station import Clock, Station, system_clock
from comity.node.stopping import stop_of
from comity.storage.blobs import FileBlobStore
from comity.storage.journal import SqliteJournal
from comity.values import MemberId


def open_own(
    folder: Path, own: OwnKeys, *, clock: Clock = system_clock, machine: Machine | None = None
) -> Station:
    """`open_station` with whichever of the folder's keys the log has in force.

    Raises:
        Misconfigured: it has others in force that belong to this folder, and are not here.
    """
    station = open_station(folder, own.now, coming=own.coming, clock=clock, machine=machine)
    if has_other_keys(station):
        station.close()
        raise Misconfigured(
            f"the log has the new keys of {station.member} in force, and neither {KEYS} nor"
            f" {KEYS_NEXT} in {folder} holds them: restore that file from its backup"
        )
    return station


def open_station(
    folder: Path,
    keys: MemberKeys,
    *,
    coming: MemberKeys | None = None,
    clock: Clock = system_clock,
    machine: Machine | None = None,
) -> Station:
    """Open a member's node folder; what was said and not yet settled waits to be sent again.

    Args:
        keys, coming: of the member; the epoch in force says which of the two are used.
        machine: what the node takes from the machine it runs on; this one, when None.

    Raises:
        Misconfigured: a file is missing or wrong, or this machine cannot compute as agreed.
        Unavailable: another process runs this node.
    """
    machine = machine or Machine()
    _check_arithmetic()
    settings = read_node_settings(folder / "node.toml")
    charter = _charter_of(folder)
    policy = SiteFile(folder)
    policy.now()
    member = MemberId(settings.member)
    outlet = Ledger(folder, clock)

    def remote_to(url: str) -> Remote:
        return Remote(
            url,
            member,
            statement_key=keys.statement,
            commons=commons_id(charter),
            other_keys=[each.statement for each in own.newest_first if each is not keys],
            clock=clock,
            tls=authorities(settings, url),
            proxy=settings.proxy or None,
            connect=partial(machine.connect, outlet=outlet),
        )

    journal = SqliteJournal(folder, hook=machine.hook)
    try:
        replica = _replica_of(folder, charter, member, machine)
        own = OwnKeys(keys, coming)
        keys = keys_in_force(replica.state, member, own)
        held = replica.state.keys.get(member)
        if held is not None and held.keys == public_keys_of(keys):
            sign_unlogged_again(journal, replica.state, member, keys)
    except BaseException:
        journal.close()
        raise
    remote = remote_to(settings.host_url)
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
        outlet,
    )
    outlet.follow(lambda: replica.state)
    _note_stop(station)
    for left in station.work.iterdir():
        if left.is_file():
            left.unlink()  # made by a process that was killed; whatever it was is made again
    station.coming = coming
    adopt_if_final(station)
    station.use_host(followed_url(replica.state, journal, settings))
    return station


def _check_arithmetic() -> None:
    fault = flush_to_zero_fault()
    if fault is not None:
        raise Misconfigured(fault)
    sharing.self_check()
    linear_check.self_check()


def _charter_of(folder: Path) -> Charter:
    path = folder / "charter.json"
    try:
        return parse_charter(path.read_bytes())
    except FileNotFoundError as error:
        raise Misconfigured(
            f"no {path}: copy the signed charter there with `comity commons join`"
        ) from error


def _replica_of(folder: Path, charter: Charter, member: MemberId, machine: Machine) -> Replica:
    """The folder's copy of the log: a founder's may begin empty, another's has been verified."""
    replica = Replica(folder / LOG_FILE, charter, hook=machine.hook)
    if member not in replica.state.authors:
        replica.close()
        raise Misconfigured(
            f"{member} is no founder in the charter, and no member in this folder's log: once it is"
            " admitted, `comity commons join` with an anchor reads and checks the log first"
        )
    return replica


def _note_stop(station: Station) -> None:
    stop = stop_of(station.folder, station.clock())
    if stop is not None:
        station.faults["stop"] = stop.words
