"""Find, check and split the data of the demo: one CSV file per institution.

The first of these that works: a folder named by the caller, the folder in COMITY_DATA, the user's
cache, a download, and at last a table that comes with scikit-learn, cut into four simulated
institutions. What was found is said, never hidden; a file with another checksum is never used.

The real files are the four of the UCI Heart Disease data (CC BY 4.0). They are split as FLamby
splits them (owkin/FLamby, fed_heart_disease): rows with missing values do not count, 66 % train
and 34 % test per centre, random_state 43, stratified where both outcomes have more than 2 rows.
Columns 11 to 13 are left out and the label is made binary; the study then drops the rows with
missing values itself, as its file declares.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.resources
import io
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from comity.errors import DataFault, Misconfigured, Unavailable

CENTRES: Final = {
    "cleveland": "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
    "hungarian": "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
    "switzerland": "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
    "va": "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
}
"""SHA-256 of `processed.<name>.data`, byte for byte as the repository offers it."""

SINGLE_FILES: Final = (
    "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/processed.{}.data"
)
ONE_ARCHIVE: Final = "https://archive.ics.uci.edu/static/public/45/heart+disease.zip"
DOWNLOAD_BYTES_MAX: Final = 4 * 2**20
DOWNLOAD_WAIT_S: Final = 5.0

ATTRIBUTION: Final = (
    "Heart Disease [data set], Janosi A., Steinbrunn W., Pfisterer M., Detrano R. (1988), UCI "
    "Machine Learning Repository, https://doi.org/10.24432/C52P4X, licensed CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/). Investigators: Andras Janosi, M.D. "
    "(Hungarian Institute of Cardiology, Budapest); William Steinbrunn, M.D. (University Hospital, "
    "Zurich); Matthias Pfisterer, M.D. (University Hospital, Basel); Robert Detrano, M.D., Ph.D. "
    "(V.A. Medical Center, Long Beach, and Cleveland Clinic Foundation). Changes: three columns "
    "left out, label made binary, a column train/test added."
)
BREAST_ATTRIBUTION: Final = (
    "Breast Cancer Wisconsin (Diagnostic) [data set], Wolberg W., Mangasarian O., Street N., "
    "Street W. (1993), UCI Machine Learning Repository, as it comes with scikit-learn, licensed "
    "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). Changes: rows drawn into four "
    "simulated institutions, a column train/test added."
)

_COLUMNS: Final = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak"),
    *("slope", "ca", "thal", "disease"),
)
_LEFT_OUT: Final = ("slope", "ca", "thal")
_WITH_FRACTION: Final = ("trestbps", "chol", "thalach", "oldpeak")
_SIMULATED_SHARES: Final = (0.4, 0.3, 0.15)
_SIMULATED_SEED: Final = 20_240_601


@final
@dataclass(frozen=True, slots=True)
class Institution:
    """One institution's table. Row counts are those the study uses, without missing values."""

    name: str
    path: Path
    train_rows: int
    test_rows: int


@final
@dataclass(frozen=True, slots=True)
class DemoData:
    """What the demo runs on.

    Args:
        source: where the rows came from, in words for people.
        attribution: what the licence asks to show.
        simulated: whether the institutions are invented.
        institutions: four, in a fixed order.
        recipe: text of the study file to run.
        remarks: why earlier sources were not used, one sentence each.
    """

    source: str
    attribution: str
    simulated: bool
    institutions: tuple[Institution, ...]
    recipe: str
    remarks: tuple[str, ...]


def prepare(
    folder: Path,
    *,
    given: Path | None = None,
    environment: Mapping[str, str] | None = None,
    download: bool = True,
) -> DemoData:
    """Find the data and write one CSV file per institution into `folder`.

    Args:
        folder: made when absent; files in it with the same names are replaced.
        given: a folder with the four `processed.*.data` files; then nothing else is tried.
        environment: for COMITY_DATA, XDG_CACHE_HOME and HOME; the process's own when None.
        download: whether the network may be tried; what comes is kept in the cache.
    Raises:
        Misconfigured: `given` or COMITY_DATA lacks a file or has one with another checksum; or
            scikit-learn is not installed.
        DataFault: never for files with the right checksum.
    """
    environment = os.environ if environment is None else environment
    folder.mkdir(parents=True, exist_ok=True)
    named = environment.get("COMITY_DATA")
    if given is None and named:
        given = _heart_folder(Path(named))
    if given is not None:
        try:
            return _real(folder, _read_folder(given), f"the folder {given}", ())
        except (OSError, DataFault) as error:
            raise Misconfigured(
                f"the folder {given} must hold processed.<name>.data for {', '.join(CENTRES)}: "
                f"{error}"
            ) from None
    cache = _cache(environment)
    remarks: list[str] = []
    try:
        return _real(folder, _read_folder(cache), f"the cache {cache}", ())
    except FileNotFoundError:
        pass
    except (OSError, DataFault) as error:
        remarks.append(f"cache {cache} not used: {error}")
    if download:
        try:
            files, address = _download(remarks)
        except Unavailable as error:
            remarks.append(str(error))
        else:
            _keep(cache, files, remarks)
            return _real(folder, files, address, tuple(remarks))
    else:
        remarks.append("the network was not tried")
    return _simulated(folder, tuple(remarks))


def recipe_text(name: str) -> str:
    """The text of a study file that comes with this package: heart, breast, minimal, bench."""
    place = importlib.resources.files("comity") / "recipes" / f"{name}.py"
    return place.read_text("utf-8")


def _heart_folder(named: Path) -> Path:
    inside = named / "heart_disease"
    return inside if inside.is_dir() else named


def _cache(environment: Mapping[str, str]) -> Path:
    root = environment.get("XDG_CACHE_HOME") or os.path.join(
        environment.get("HOME", str(Path.home())), ".cache"
    )
    return Path(root) / "comity" / "heart_disease"


def _read_folder(folder: Path) -> dict[str, bytes]:
    return {
        name: _checked(name, (folder / f"processed.{name}.data").read_bytes()) for name in CENTRES
    }


def _checked(name: str, raw: bytes) -> bytes:
    found = hashlib.sha256(raw).hexdigest()
    if found != CENTRES[name]:
        raise DataFault(
            f"expected SHA-256 {CENTRES[name]}, got {found}; copies with changed line ends or "
            "headers do not count",
            f"processed.{name}.data",
        )
    return raw


def _download(remarks: list[str]) -> tuple[dict[str, bytes], str]:
    try:
        files = {name: _checked(name, _fetch(SINGLE_FILES.format(name))) for name in CENTRES}
        return files, SINGLE_FILES.format("*")
    except (Unavailable, DataFault) as error:
        remarks.append(f"download not used: {error}")
    try:
        with zipfile.ZipFile(io.BytesIO(_fetch(ONE_ARCHIVE))) as archive:
            files = {name: _checked(name, _unpacked(archive, name)) for name in CENTRES}
        return files, ONE_ARCHIVE
    except (DataFault, KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise Unavailable(f"download of {ONE_ARCHIVE} not used: {error}") from None


def _unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(f"processed.{name}.data") as file:
        return file.read(DOWNLOAD_BYTES_MAX)


def _fetch(address: str) -> bytes:
    assert address.startswith("https://")
    try:
        with urllib.request.urlopen(  # noqa: S310 (https only, see above)
            address, timeout=DOWNLOAD_WAIT_S
        ) as answer:
            raw = answer.read(DOWNLOAD_BYTES_MAX + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise Unavailable(f"{address} cannot be read: {error}") from None
    if not isinstance(raw, bytes) or len(raw) > DOWNLOAD_BYTES_MAX:
        raise Unavailable(f"{address} has more than {DOWNLOAD_BYTES_MAX} bytes")
    return raw


def _keep(cache: Path, files: dict[str, bytes], remarks: list[str]) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for name, raw in files.items():
            partial = cache / f"processed.{name}.data.part"
            partial.write_bytes(raw)
            partial.replace(cache / f"processed.{name}.data")
    except OSError as error:
        remarks.append(f"the download was not kept in {cache}: {error}")


def _real(folder: Path, files: dict[str, bytes], source: str, remarks: tuple[str, ...]) -> DemoData:
    return DemoData(
        source=f"UCI Heart Disease, four centres, from {source}",
        attribution=ATTRIBUTION,
        simulated=False,
        institutions=tuple(_write_centre(folder, name, files[name]) for name in CENTRES),
        recipe=recipe_text("heart"),
        remarks=remarks,
    )


def _write_centre(folder: Path, name: str, raw: bytes) -> Institution:
    rows = [_centre_row(line) for line in raw.decode("ascii").splitlines() if line.strip()]
    whole = [place for place, row in enumerate(rows) if "" not in row.values()]
    parts = _split([rows[place]["disease"] for place in whole])
    for row in rows:
        row["part"] = ""  # rows with a missing value belong to no part, and the study drops them
    for place, part in zip(whole, parts, strict=True):
        rows[place]["part"] = part
    return _write(folder, name, rows)


def _centre_row(line: str) -> dict[str, str]:
    row: dict[str, str] = {}
    for column, text in zip(_COLUMNS, line.split(","), strict=True):
        if column in _LEFT_OUT:
            continue
        if text == "?":
            row[column] = ""
        elif column == "disease":
            row[column] = "1" if float(text) > 0 else "0"
        elif column in _WITH_FRACTION:
            row[column] = f"{float(text):g}"
        else:
            row[column] = str(int(float(text)))
    return row


def _split(labels: list[str]) -> list[str]:
    """Each row's part, exactly as FLamby splits a centre."""
    from sklearn.model_selection import train_test_split  # an extra, needed by the demo alone

    counts = [labels.count(label) for label in ("0", "1")]
    places = list(range(len(labels)))
    train, _ = train_test_split(
        places,
        test_size=0.34,
        train_size=0.66,
        random_state=43,
        shuffle=True,
        stratify=labels if min(counts) > 2 else None,
    )
    chosen = set(train)
    return ["train" if place in chosen else "test" for place in places]


def _write(folder: Path, name: str, rows: list[dict[str, str]]) -> Institution:
    path = folder / f"{name}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    parts = [row["part"] for row in rows]
    return Institution(name, path, parts.count("train"), parts.count("test"))


def _simulated(folder: Path, remarks: tuple[str, ...]) -> DemoData:
    from sklearn.datasets import load_breast_cancer  # an extra, needed by the demo alone

    bunch = load_breast_cancer()
    columns = [str(name).replace(" ", "_") for name in bunch.feature_names]
    rng = np.random.Generator(np.random.PCG64(_SIMULATED_SEED))
    order = rng.permutation(len(bunch.target))
    cuts = np.cumsum([int(share * len(order)) for share in _SIMULATED_SHARES])
    institutions: list[Institution] = []
    for number, places in enumerate(np.split(order, cuts), start=1):
        rows = [
            dict(zip(columns, (repr(float(value)) for value in bunch.data[place]), strict=True))
            | {"malignant": "1" if bunch.target[place] == 0 else "0"}
            for place in places
        ]
        for row, part in zip(rows, _split([row["malignant"] for row in rows]), strict=True):
            row["part"] = part
        institutions.append(_write(folder, f"sim-{number}", rows))
    return DemoData(
        source="simulated institutions: a table that comes with scikit-learn, cut into four",
        attribution=BREAST_ATTRIBUTION,
        simulated=True,
        institutions=tuple(institutions),
        recipe=recipe_text("breast"),
        remarks=remarks,
    )
