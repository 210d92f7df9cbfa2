"""Tables: a .csv file is read in the one way that fits, or refused with what to give."""

import numpy as np
import pandas as pd
import pytest

from hlvm.cli.arrays import columns_of
from hlvm.cli.csv_tables import CsvFormat, read_csv

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(50, 3))
FRAME = pd.DataFrame(Z, columns=list("abc"))
ROWS = [[1.5, 2.0], [-3.0, 0.25]]

READ = {
    "commas": ("a,b\n1.5,2\n-3,.25\n", {}),
    "spaces after commas": ("a, b\n1.5, 2\n-3, 0.25\n", {}),
    "semicolons and decimal commas": ("a;b\n1,5;2\n-3;0,25\n", {}),
    "tabs": ("a\tb\n1.5\t2\n-3\t0.25\n", {}),
    "tabs and decimal commas": ("a\tb\n1,5\t2\n-3\t0,25\n", {}),
    "bars": ("a|b\n1.5|2\n-3|0.25\n", {}),
    "spaces": ("a b\n 1.5  2 \n-3 2.5e-1\n", {}),
    "quotes": ('"a","b"\n"1.5","2"\n"-3","0.25"\n', {}),
    "quoted decimal commas": ('a,b\n"1,5","2"\n"-3","0,25"\n', {}),
    "a byte order mark": ("\ufeffa,b\n1.5,2\n-3,0.25\n", {}),
    "other line endings": ("a,b\r1.5,2\r\n-3,0.25", {}),
    "blank lines at the end": ("a,b\n1.5,2\n-3,0.25\n\n \n", {}),
    "no names": ("1.5,2\n-3,0.25\n", {}),
    "names that are numbers": ("0,1\n1.5,2.0\n-3.0,0.25\n", {"header": True}),
    "quoted names that are numbers": ('"2019","2020"\n1.5,2\n-3,0.25\n', {}),
    "numbers that may be names": ("1,2\n1.5,2.0\n", {"header": False}),
    "another delimiter": ("a:b\n1.5:2\n-3:0.25\n", {"delimiter": ":"}),
}
ALSO = {"numbers that may be names": [[1, 2], [1.5, 2]]}


@pytest.mark.parametrize("case", READ)
def test_read_csv_reads_what_can_be_read_in_one_way(tmp_path, case):
    text, given = READ[case]
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    table = read_csv(tmp_path / "a.csv", CsvFormat(**given))
    np.testing.assert_array_equal(np.column_stack(list(table.arrays.values())), ALSO.get(case, ROWS))


@pytest.mark.parametrize("options", [{"sep": ";", "decimal": ","}, {"sep": "\t"}, {"header": False}, {"quoting": 1}])
@pytest.mark.parametrize("names", [list("abc"), [0, 1, 2], ["a", "b", "a b"]], ids=str)
def test_read_csv_reads_what_pandas_writes(tmp_path, options, names):
    FRAME.set_axis(names, axis=1).to_csv(tmp_path / "a.csv", index=False, **options)
    np.testing.assert_allclose(columns_of(str(tmp_path / "a.csv")).values, Z, rtol=1e-15)


def test_read_csv_reads_truth_values_and_says_how_it_read(tmp_path):
    (tmp_path / "a.csv").write_text("m;k\nTrue;0,5\nFalse;2\n")
    found = columns_of(str(tmp_path / "a.csv"))
    np.testing.assert_array_equal(found.values, [[1, 0.5], [0, 2]])
    assert found.about == (
        f"{tmp_path}/a.csv: 2 rows of m, k (names in line 1; 2 columns, delimiter ';', decimal ',')",
    )


REFUSED = {
    "two ways": ("1,5\n2,5\n", "can be read as 2 columns, delimiter ',', decimal '.' or as one column, decimal ','"),
    "a decimal comma or a row name": ("a\n1,5\n2,7\n", "',' may be a decimal mark or stand between cells"),
    "thousands": ("a;b\n1,234;2\n5,678;3\n", 'separate thousands: give --decimal "." or --decimal ","'),
    "thousands with a point": ("a;b\n1.234;2\n5.678;3\n", "separate thousands"),
    "thousands and decimals": ('a\n"1,234.5"\n', "line 2 has '1,234.5', with ',' in it"),
    "a delimiter at the end": ("a,b\n1,2,\n3,4,\n", "line 2 has 3 values, and line 1 has 2: remove the ',' at the end"),
    "row names": ("a,b\n0,1,2\n", "if the first of them is a row name, write a name for it into line 1"),
    "a short row": ("a,b\n1,2\n3\n", "line 3 has 1 value, and line 1 has 2: every row needs as many"),
    "other delimiters below": ("a,b\n1;2\n", "line 2 has 1 value, and line 1 has 2"),
    "an empty cell": ("a,b\n1,\n", r"got b \(line 2 has nothing there: write nan"),
    "a text": ("z1,z2\n1,2\n3,oops\n", r"got z2 \(line 3 has 'oops'\): name the columns to take, as in .*a\.csv::z1$"),
    "a number for Python only": ("a,b\n1_0,2\n", "line 2 has '1_0'"),
    "no name": (",a\n0,1\n", r"a column without a name.*::a$"),
    "one name twice": ("a,a\n1,2\n", "two columns called 'a': rename column 2"),
    "a gap among the first": (
        "NA,1.5\n2,3\n",
        r"line 1 \('NA, 1.5'\) may hold names or numbers: give --header yes or no",
    ),
    "a first line 0, 1": ("0,1\n0.5,0.25\n", "may hold names or numbers"),
    "a first line of whole numbers": ("1,2,3\n0.5,0.25,0.1\n", "may hold names or numbers"),
    "counted names or numbers": ("0,1,2\n1,0,2\n", "may hold names or numbers"),
    "a comment": ("# made by us\na,b\n1,2\n", "line 1 begins with '#', as comments do: remove it"),
    "a blank line": ("a\n1\n\n2\n", "line 3 is blank: remove it, or write nan"),
    "an open quote": ('a,b\n1,"2\n', "line 2: unexpected end of data"),
    "no rows": ("a,b\n", "has names in line 1 but no rows"),
    "nothing": ("", "there is nothing in the file"),
    "binary": ("a\0b\n", "is not a .csv file: it holds bytes that are not text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_columns_of_refuses_what_it_would_have_to_guess(tmp_path, case):
    text, message = REFUSED[case]
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.csv.*{message}"):
        columns_of(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("text", "given", "values"),
    [
        ("1,5\n2,5\n", {"decimal": ","}, [1.5, 2.5]),
        ("1,5\n2,5\n", {"delimiter": ","}, [[1, 5], [2, 5]]),
        ("a;b\n1,234;2\n", {"decimal": ","}, [[1.234, 2]]),
        ("0,1\n0.5,0.25\n", {"header": True}, [[0.5, 0.25]]),
        ("0,1\n0.5,0.25\n", {"header": False}, [[0, 1], [0.5, 0.25]]),
    ],
)
def test_columns_of_does_as_it_is_told(tmp_path, text, given, values):
    (tmp_path / "a.csv").write_text(text)
    np.testing.assert_array_equal(columns_of(str(tmp_path / "a.csv"), CsvFormat(**given)).values, values)


def test_columns_of_takes_columns_by_names_of_any_kind(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,"x, y", b ,"say ""z"""\ns1,1,2,3\ns2,4,5,6\n')
    np.testing.assert_array_equal(columns_of(f'{path}::"x, y",b').values, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(columns_of(f"{path}::x, y").values, [1, 4])
    np.testing.assert_array_equal(columns_of(f'{path}::"say ""z"""').values, [3, 6])
    with pytest.raises(ValueError, match="id holds no numbers: line 2 has 's1'"):
        columns_of(f"{path}::id")
    with pytest.raises(ValueError, match=r'as in .*::"x, y",b,"say ""z"""$'):
        columns_of(str(path))
    with pytest.raises(ValueError, match=r'expected names after "::", got none'):
        columns_of(f"{path}::")


def test_read_parquet_takes_columns_of_any_library_and_no_index(tmp_path):
    pytest.importorskip("pyarrow")
    frame = FRAME.astype("float64[pyarrow]").assign(i=pd.array([1, None] * 25, dtype="Int64"), s="text")
    frame.index = pd.Index(range(50), name="row")
    frame.to_parquet(tmp_path / "a.parquet")
    found = columns_of(f"{tmp_path}/a.parquet::a,b,c,i").values
    np.testing.assert_array_equal(found, np.column_stack([Z, np.tile([1, np.nan], 25)]))
    for name, why in (("row", "it is the index of the frame"), ("s", "expected numbers, got str")):
        with pytest.raises(ValueError, match=f"a.parquet: {name} holds no numbers: {why}"):
            columns_of(f"{tmp_path}/a.parquet::{name}")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_columns_of_reads_damaged_files_or_refuses_them_in_one_line(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        FRAME.to_parquet(whole)
    elif suffix == ".csv":
        FRAME.to_csv(whole, index=False)
    else:
        np.save(whole, Z)
    content, path, refusals = whole.read_bytes(), tmp_path / f"a{suffix}", []
    for case in range(100):
        damaged = bytearray(content)
        if case % 3 == 0:
            damaged = damaged[: RNG.integers(len(damaged))]
        else:
            damaged[RNG.integers(len(damaged))] ^= 1 << RNG.integers(8)
        path.write_bytes(damaged)
        try:
            columns_of(str(path))
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 30
    assert all(str(path) in refusal and "\n" not in refusal for refusal in refusals)
