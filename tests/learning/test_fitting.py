"""What of a table fits: each trouble is found, counted, and told without a value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.errors import StudyFault
from comity.learning.fitting import Fit, check_fit
from comity.learning.steps import FedAvg
from comity.learning.study import Contract, Study, Tensor, describe
from comity.learning.tables import Column, Reading, Source, inspect_table, read_table

COLUMNS = (
    Column("age", "integer", unit="years", low=0, high=120),
    Column(
        "chol",
        "real",
        unit="mg/dl",
        low=50,
        high=600,
        sources=(Source("chol_mmol", unit="mmol/l", factor=38.67),),
    ),
    Column(
        "sex",
        "category",
        categories=("f", "m"),
        sources=(Source("gender", recode=(("1", "f"), ("2", "m"))),),
    ),
    Column("ill", "label", categories=("no", "yes")),
)
GOOD = "age,chol,sex,ill\n41,200,f,no\n52,220.5,m,yes\n63,240,f,no\n"


def fit(text: str, missing: str = "refuse") -> Fit:
    """What is found in a table of these columns."""
    wanted = "drop rows" if missing == "drop rows" else "refuse"
    return check_fit(Contract(COLUMNS, wanted, ("",), False), text.encode())  # type: ignore[arg-type]


def test_a_table_that_fits_has_no_findings() -> None:
    assert fit(GOOD) == Fit(True, 3, 3, (), ())


@pytest.mark.parametrize(
    ("text", "trouble", "column", "count", "refused"),
    [
        (GOOD.replace("age", "alter"), "missing-column", "age", 1, True),
        (GOOD.replace("chol", "chol [mmol/l]"), "wrong-unit", "chol", 1, True),
        (GOOD.replace("age", "age (months)"), "wrong-unit", "age", 1, True),
        (GOOD.replace("200", "5.2").replace("220.5", "5.7"), "wrong-unit", "chol", 2, True),
        (GOOD.replace("200", "5.2"), "out-of-range", "chol", 1, True),
        (GOOD.replace("41", "old"), "not-a-number", "age", 1, True),
        (GOOD.replace("41", "nan"), "not-a-number", "age", 1, True),
        (GOOD.replace("m,yes", "x,yes"), "unknown-category", "sex", 1, True),
        (GOOD.replace("52", ""), "missing", "age", 1, True),
        ("age,chol,sex,ill\n,200,f,no\n,210,m,yes\n", "all-missing", "age", 2, True),
        (GOOD.replace("yes", "no"), "one-class", "ill", 3, False),
        (GOOD.replace("m,yes", "f,yes"), "constant", "sex", 3, False),
        (GOOD + "41,200,f,no\n", "duplicates", "", 1, False),
        (GOOD + "41,200,f\n", "unreadable", "", 1, True),
        (GOOD.replace("age", "age,age").replace("\n4", "\n4,4"), "unreadable", "age", 1, True),
        ('age,chol,sex,ill\n"41,200,f,no\n', "unreadable", "", 1, True),
        ("PAR1\x15\x04", "unreadable", "", 1, True),
        ("age;chol;sex;ill\n1;2;3;4\n", "missing-column", "age", 1, True),
        ("", "missing-column", "age", 1, True),
    ],
)
def test_each_trouble_is_counted(
    text: str, trouble: str, column: str, count: int, refused: bool
) -> None:
    found = fit(text)
    told = [(f.trouble, f.column, f.count, f.refused) for f in found.findings]
    assert (trouble, column, count, refused) in told
    assert found.fits != any(each.refused for each in found.findings)


def test_declared_dropping_makes_missing_cells_no_hindrance() -> None:
    found = fit(GOOD.replace("52", ""), missing="drop rows")
    assert (found.fits, found.rows, found.used) == (True, 3, 2)
    first = found.findings[0]
    assert (first.trouble, first.column, first.refused) == ("missing", "age", False)


def test_declared_steps_bring_a_site_to_the_same_numbers() -> None:
    """Another name, unit and code at one site; the study reads the same table."""
    there = "gender,chol_mmol,age,ill\n1,5,41,no\n2,6,52,yes\n"
    here = f"age,chol,sex,ill\n41,{5 * 38.67!r},f,no\n52,{6 * 38.67!r},m,yes\n"
    tables = [read_table(COLUMNS, text.encode(), file_name="t").table for text in (there, here)]
    for column in COLUMNS:
        assert tables[0][column.name].tolist() == tables[1][column.name].tolist()
    assert fit(there).steps == (
        "chol_mmol is read as chol, times 38.67 (mmol/l to mg/dl)",
        "gender is read as sex, 2 texts recoded",
    )


def test_declared_steps_are_hashed_with_the_study() -> None:
    """Another factor is another schema; a study without sources has the digest it always had."""

    def schema(*sources: Source) -> str:
        column = Column("chol", "real", unit="mg/dl", sources=sources)
        return describe(
            Study(
                name="s",
                title="S",
                columns=(column,),
                tensors=(Tensor("w", (1,)),),
                rounds=1,
                rule=FedAvg(),
            )
        ).schema

    digests = [
        schema(),
        schema(Source("c")),
        schema(Source("c", unit="mmol/l")),
        schema(Source("c", factor=38.67)),
        schema(Source("c", factor=38.66)),
        schema(Source("c"), Source("d")),
    ]
    assert len(set(digests)) == 6 and digests[0] == WITHOUT


WITHOUT = "7628ba8889cc5ebb1d239e4713fdcc5e72f271f0a0e4efaad59ffa05e4393407"
"""Schema digest of one real column in mg/dl, from before there were sources."""


def test_a_column_in_two_forms_is_refused() -> None:
    both = "age,chol,chol_mmol,sex,ill\n41,200,5.2,f,no\n"
    found = fit(both)
    assert [(f.trouble, f.column, f.count) for f in found.findings] == [("unreadable", "chol", 2)]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Source(" x"),
        lambda: Source("x", factor=0.0),
        lambda: Source("x", factor=float("nan")),
        lambda: Source("x", recode=(("1", "f"), ("1", "m"))),
        lambda: Column("x", sources=(Source("x"),)),
        lambda: Column("x", "category", categories=("a", "b"), sources=(Source("y", factor=2.0),)),
        lambda: Column(
            "x", "category", categories=("a", "b"), sources=(Source("y", recode=(("1", "c"),)),)
        ),
    ],
)
def test_steps_that_cannot_be_meant_are_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(StudyFault, match="study file"):
        wrong()


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200) | st.text("age,cholsxi\n0123456789.\"'", max_size=200).map(str.encode)
)
def test_any_bytes_get_an_answer_that_agrees_with_reading(raw: bytes) -> None:
    found = check_fit(Contract(COLUMNS, "refuse", ("",), False), GOOD.encode() + raw)
    read = inspect_table(COLUMNS, GOOD.encode() + raw)
    assert found.fits == isinstance(read, Reading)
    assert found.fits != any(each.refused for each in found.findings)


def test_no_finding_holds_a_value() -> None:
    """Planted in a cell of each column, and in a column the study does not read."""
    secret = "SECRET4711"
    for column in ("age", "chol", "sex", "ill"):
        cells = {"age": "41", "chol": "200", "sex": "f", "ill": "no", "name": secret}
        cells[column] = secret
        text = ",".join(cells) + "\n" + ",".join(cells.values()) + "\n"
        assert secret not in repr(fit(text))
