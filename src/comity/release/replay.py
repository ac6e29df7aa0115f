"""The log of a release folder: read from its tiles, checked against the head, replayed from 0.

Only what gives the head's root is replayed; only what the fold says about it counts. So a void
entry is seen to be void, which the signatures alone cannot show (architecture.md 1.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from comity.commons.charter import Charter
from comity.commons.fold import admit, apply, found
from comity.commons.state import Accepted, Proposal, State, Study
from comity.errors import ComityError, Forged, Malformed
from comity.log.heads import SignedHead
from comity.log.merkle import Tree, leaf_hash
from comity.log.tiles import ENTRIES, TilePlace, check_hash_tile, decode_bundle, places_between
from comity.release.epochs import founding_entries
from comity.release.form import FOUNDERS, LOG, LOG_ENTRIES_MAX, SIGNS, FolderReader, read_file
from comity.statements.entries import Statement
from comity.statements.governing import ReleaseSign


@final
@dataclass(frozen=True, slots=True)
class Signed:
    """A release.sign as it stands in the folder; its signature fits. envelope: the line."""

    envelope: bytes
    statement: Statement
    body: ReleaseSign


@final
@dataclass(frozen=True, slots=True)
class Replayed:
    """A log that leads to the head, and its meaning."""

    tree: Tree
    entries: tuple[bytes, ...]
    state: State


def has_log(sizes: Mapping[str, int]) -> bool:
    """Whether the folder holds any part of a log; then it must hold all of it."""
    return any(path.startswith(LOG) for path in sizes)


def replay_log(
    folder: FolderReader, sizes: Mapping[str, int], charter: Charter, signed: SignedHead
) -> Replayed:
    """Read and replay the whole log.

    Raises:
        Malformed: a file of it is missing, too many or not in form.
        Forged: the entries do not give the head's root, a tile or the stored head differs, or an
            entry must not be in any log of this commons.
    """
    size = signed.head.size
    if size > LOG_ENTRIES_MAX:
        raise Malformed(f"a folder holds a log of up to {LOG_ENTRIES_MAX} entries, not {size}")
    places = list(places_between(0, size))
    _check_files(sizes, places)
    if read_file(folder, f"{LOG}checkpoint") != signed.note():
        raise Forged(f"{LOG}checkpoint is not the head of the inclusion text")
    entries: list[bytes] = []
    for place in places:
        if place.level == ENTRIES:
            entries += _bundle(folder, place)
    tree = Tree(leaf_hash(entry) for entry in entries)
    for place in places:
        if place.level != ENTRIES:
            _check_tile(folder, tree, place)
    if tree.root() != signed.head.root:
        raise Forged(f"{LOG}: its {size} entries do not give the root of the head")
    return Replayed(tree, tuple(entries), _replay(charter, entries))


def check_release(
    log: Replayed,
    shown: State,
    founders: Sequence[bytes],
    signs: Sequence[Signed],
    last_index: int,
) -> tuple[Proposal, Study, Accepted]:
    """Check that the replayed log says what the rest of proof/ says.

    Args:
        shown: with the epochs that the rest of proof/ gives.
        founders: the lines of the founders' file. signs: at least one, all of one release.
        last_index: where the inclusion text says that the last of `signs` is.
    Returns:
        The proposal, its study, and the accepted result that is released.
    Raises:
        Forged: names what the log knows otherwise.
    """
    state = log.state
    if list(founders) != founding_entries(state, log.entries):
        raise Forged(f"{FOUNDERS} holds other statements than the first ones in the log")
    if _epochs(state) != _epochs(shown):
        raise Forged("the log has other epochs than proof/epochs")
    body = signs[0].body
    proposal = state.proposals.get(body.proposal)
    motion = proposal.release if proposal is not None and proposal.decided else None
    if proposal is None or motion is None:
        raise Forged("the log holds no decision for this release")
    if (motion.manifest, motion.model) != (body.manifest, body.model):
        raise Forged("the decision in the log is for another manifest or model")
    study = state.studies[motion.study]
    result = study.results[motion.round_no - 1]
    assert result.model == motion.model, "a proposal about another model is void"
    indices = [_index(log, proposal, sign) for sign in signs]
    if indices != sorted(indices) or indices[-1] != last_index:
        raise Forged(f"{SIGNS} is not in the order of the log")
    return proposal, study, result


def _epochs(state: State) -> list[str]:
    return [epoch.digest for epoch in (*state.past, state.epoch)]


def _check_files(sizes: Mapping[str, int], places: Sequence[TilePlace]) -> None:
    expected = {f"{LOG}checkpoint", *(LOG + place.path() for place in places)}
    here = {path for path in sizes if path.startswith(LOG)}
    for path in sorted(expected - here):
        raise Malformed(f"{path} is missing: the log is cut off, or longer than the head says")
    for path in sorted(here - expected):
        raise Malformed(f"{path} is too many: a log of this size has no such file")


def _bundle(folder: FolderReader, place: TilePlace) -> tuple[bytes, ...]:
    path = LOG + place.path()
    try:
        return decode_bundle(read_file(folder, path), place.width)
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error


def _check_tile(folder: FolderReader, tree: Tree, place: TilePlace) -> None:
    path = LOG + place.path()
    try:
        check_hash_tile(tree, place, read_file(folder, path))
    except (Malformed, Forged) as error:
        raise Forged(f"{path} does not fit the entries: {error}") from error


def _replay(charter: Charter, entries: Sequence[bytes]) -> State:
    state, tree = found(charter), Tree()
    for index, envelope in enumerate(entries):
        try:
            entry = admit(state, tree, envelope)
        except ComityError as error:
            raise Forged(f"entry {index} must not be in the log: {error}") from error
        state, _ = apply(state, entry)
        tree.append(leaf_hash(envelope))
    if not state.founded_size:
        raise Forged("the log ends before all founders have entered")
    return state


def _index(log: Replayed, proposal: Proposal, sign: Signed) -> int:
    member = sign.statement.author
    index = proposal.signed.get(member)
    if index is None or log.entries[index] != sign.envelope:
        raise Forged(f"{SIGNS}: the release.sign of {member} is void in the log, or not in it")
    return index
