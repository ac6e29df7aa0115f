"""Proposing a release, and writing its folder once the members have signed.

The proposer's node makes the content from the log; every part of it is a blob by its hash, which
the others fetch. Whoever has the log and the blobs writes the same folder. Source:
log-and-provenance.md 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

from msgspec import Struct

from comity.commons.state import Proposal, State
from comity.errors import Refused, Rule, Unavailable
from comity.node.lookup import find_proposal, find_study
from comity.node.models import layout_of, model_files
from comity.node.station import Station
from comity.release.bundle import (
    content_files,
    digests_of,
    manifest_text,
    proof_files,
    release_files,
)
from comity.release.card import model_card, model_config
from comity.release.form import folder_name, parse_manifest
from comity.statements.governing import ReleaseMotion
from comity.storage.folder import write_folder
from comity.values import BlobName, Digest, StatementId, sha256


@final
class Written(Struct, frozen=True, tag="written"):
    """A release folder on this machine."""

    path: str
    proposal: StatementId
    model: Digest
    files_count: int


def release_motion(
    station: Station,
    study: str,
    *,
    purpose: str = "",
    licence: str = "",
    reports: Mapping[str, bytes] | None = None,
) -> ReleaseMotion:
    """Make the content of a release of the study's newest result; its blobs go to the host.

    Args:
        study: id, its beginning, or name.
        purpose, licence: for the model card, plain text. reports: name to JSON bytes.
    Raises:
        Refused(TOO_SOON): no round has a result yet. Unavailable: the host does not take a blob.
    """
    state = station.replica.state
    found = find_study(state, study)
    if not found.results:
        raise Refused(
            Rule.TOO_SOON, f"study {found.register.name} has no result yet that could be released"
        )
    result = found.results[-1]
    model = model_files(station, found).model
    paths = tuple(f"reports/{name}.json" for name in (reports or {}))
    content = content_files(
        model=BlobName(result.model),
        card=model_card(state, found, result, purpose=purpose, licence=licence, reports=paths),
        config=model_config(state, found, result, layout_of(station, found)),
        reports=reports,
    )
    manifest = manifest_text(digests_of(content))
    for part in (*content.values(), manifest):
        if isinstance(part, bytes):
            station.remote.put_blob(_keep(station, part), part)
    station.remote.put_blob(BlobName(result.model), model)
    return ReleaseMotion(
        manifest=sha256(manifest), model=result.model, round_no=result.round_no, study=found.id
    )


def write_release(station: Station, release: str, out: Path | None = None) -> Written:
    """Write the folder of a decided release, from the log and the blobs.

    Args:
        release: id of the proposal or its beginning, or a study, for its newest decided release.
        out: the new folder; `<study>-<round>` in the working folder when None.
    Raises:
        Refused(NOT_DECIDED): the vote has not said yes. Refused(TOO_FEW): fewer than a quorum have
            signed below a final head. Misconfigured: something is at `out` already. Unavailable.
    """
    state = station.replica.state
    proposal = find_release(state, release)
    motion = proposal.release
    if motion is None:
        raise Refused(Rule.NO_SUCH_THING, "this proposal is not about a release")
    if not proposal.decided:
        raise Refused(Rule.NOT_DECIDED, "the members have not decided to publish this release")
    final = station.replica.final_head()
    if final is None:
        raise Unavailable("no head is final yet: wait until enough members have cosigned one")
    head, cosignatures = final
    entries = station.replica.entries(0, head.head.size)
    proof = proof_files(state, entries, head, cosignatures, proposal.id)
    manifest = station.blob(motion.manifest).read_bytes()
    content = {path: BlobName(digest) for path, digest in parse_manifest(manifest).items()}
    files = release_files(content, manifest, proof)
    if out is None:
        name = state.studies[motion.study].register.name
        out = Path(folder_name(name, str(motion.round_no)))
    write_folder(
        out.resolve(),
        {
            path: part if isinstance(part, bytes) else station.blob(part)
            for path, part in files.items()
        },
    )
    return Written(str(out.resolve()), proposal.id, motion.model, len(files))


def find_release(state: State, text: str) -> Proposal:
    """A proposal by its id, or the newest proposal of a study, decided ones first.

    Raises:
        Refused(NO_SUCH_THING): neither.
    """
    try:
        study = find_study(state, text).id
    except Refused:
        return find_proposal(state, text)
    of_study = [p for p in state.proposals.values() if p.release and p.release.study == study]
    if not of_study:
        raise Refused(
            Rule.NO_SUCH_THING, "no release of this study is proposed: `comity release propose`"
        )
    return max(of_study, key=lambda p: (p.decided is True, p.index))


def _keep(station: Station, part: bytes) -> BlobName:
    name = BlobName(sha256(part))
    if not station.blobs.finished(name):
        station.blobs.write(name, station.blobs.stored(name), part[station.blobs.stored(name) :])
        station.blobs.finish(name)
    return name
