"""The duties outside rounds: found, consent, enrol, sign, approve; and what is said already."""

from __future__ import annotations

import logging

from comity.aggregation.sharing import SEALING_RAND_BYTES, sealing_keys
from comity.commons.duties import AskConsent, SayEnrol, SignRelease
from comity.commons.state import Consent
from comity.commons.studies import next_serial
from comity.errors import Forged, Refused, Rule
from comity.node.founding import key_set_of, possession_of
from comity.node.gating import check_consent
from comity.node.station import Station
from comity.release.form import MODEL, parse_manifest
from comity.statements.governing import CommonsFound, ReleaseSign
from comity.statements.studies import ConsentGive, StudyEnrol
from comity.values import BlobName, StatementId, sha256

LOG = logging.getLogger(__name__)


def found(station: Station) -> None:
    """Enter the commons: my key set, and proof that I hold its keys."""
    mine = key_set_of(station.member, station.keys)
    station.say(CommonsFound(key_set=mine, possession=possession_of(mine, station.keys)))


def consent(station: Station, duty: AskConsent) -> None:
    """Consent by site policy, if it says so; otherwise a person is asked (`comity consent`).

    Raises:
        Refused: the first reason of the gate; WAITS_FOR_PERSON when that is all that is missing.
    """
    site, study = station.site, duty.study
    if site.studies == "ask":
        raise Refused(
            Rule.WAITS_FOR_PERSON,
            f"study {study.register.name} waits for a person: `comity consent give {study.id}`",
        )
    owned = [d for d in station.replica.state.datasets.values() if d.owner == station.member]
    if len(owned) != 1:
        raise Refused(
            Rule.WAITS_FOR_PERSON,
            f"this site has {len(owned)} data sets, so a person must choose: `comity consent give`",
        )
    wanted = Consent(dataset=owned[0].id, version=owned[0].version, exposed=site.exposed)
    check_consent(station, study, wanted, person=False)
    station.say(give_of(study.id, wanted))


def give_of(study: StatementId, wanted: Consent) -> ConsentGive:
    """The statement that gives this consent."""
    return ConsentGive(
        dataset=wanted.dataset, exposed=wanted.exposed, study=study, version=wanted.version
    )


def enrol(station: Station, duty: SayEnrol) -> None:
    """Take part from the next attempt on, with a fresh sealing key.

    Who takes part holds what the study starts from, so that it goes on without the host that had
    it and without the member that registered it.
    Raises:
        Unavailable: the host does not give it now.
    """
    for name in duty.study.register.plan.blobs:
        station.blob(BlobName(name))
    secret, public = sealing_keys(station.machine.rand(SEALING_RAND_BYTES))
    station.journal.keep_sealing(sha256(public), secret.rand)
    serial = next_serial(duty.study, station.member)
    station.say(StudyEnrol(sealing_key=public, serial=serial, study=duty.study.id))


def sign_release(station: Station, duty: SignRelease) -> None:
    """Sign a decided release, after reading its manifest and finding the accepted model in it.

    Raises:
        Malformed: no manifest that a verifier would take.
        Forged: the manifest does not name the model that the members accepted.
    """
    motion = duty.release
    manifest = parse_manifest(station.blob(motion.manifest).read_bytes())
    if manifest.get(MODEL) != motion.model:
        raise Forged("the manifest of the release does not name the accepted model")
    station.say(
        ReleaseSign(manifest=motion.manifest, model=motion.model, proposal=duty.proposal.id)
    )
