"""Tables as Excel, Windows and the Mac write them, and patients as people write them."""

import shutil
import unicodedata
from pathlib import Path

import pytest

from rcdnet.errors import DatasetError
from train.config import TrainConfig
from train.data.audit import audit
from train.data.csv_tables import is_table
from train.data.custom_dataset import read_folder, source_name
from train.data.dataset_readers import read_sources
from train.data.load_images import decode
from train.data.patient_ids import parse_patient_ids
from train.data.splits import make_split
from train.runs.data_locations import DatasetLocation, find_datasets

B, M = "benign/benign (1).png", "malignant/malignant (1).png"


@pytest.fixture
def set_(busi, tmp_path) -> Path:
    """Two phantoms with their masks; `Größe.png` is spelt as a Mac's disk spells it."""
    for path in (B, M, "benign/benign (1)_mask.png"):
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(busi / path, tmp_path / "set" / path)
    shutil.copy(busi / B, tmp_path / "set" / unicodedata.normalize("NFD", "Größe.png"))
    return tmp_path / "set"


def read(folder: Path, content: str | bytes) -> tuple[list[str], list[str]]:
    """Ids of a table, all of whose images can be read, and what was said of it."""
    table, message = folder / "t.csv", []
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    samples = read_sources([("folder", str(table))], message.append)
    assert audit(samples)[0].unreadable == ()
    assert [sample.label for sample in samples] == [0, 1]
    return [sample.id.removeprefix("t/") for sample in samples], message


@pytest.mark.parametrize(
    "content",
    [
        f"path,label\n{B},benign\n{M},malignant\n".replace("/", "\\"),
        f"path,label\n.\\{B},benign\n./{M},malignant\n",
        f"label, path\nbenign, {B}\nmalignant, {M}\n",
        f"path,label\n {B} ,Benign \n\"{M}\",MALIGNANT\n",
        f"path,label\n{B},benign\n{M},malignant\n,\n,\n\n",
        f"path,label,,\n{B},benign,,\n,,,\n{M},malignant,,\n",
        f"Path;Label\r\n{B};benign\r\n{M};malignant\r\n",
        f"path\tlabel\n{B}\tbenign\n{M}\tmalignant\n",
        f"sep=;\npath;label\n{B};benign\n{M};malignant\n",
        f"\ufeffpath,label\n{B},benign\n{M},malignant\n",
        f"\ufeff\u00a0path , label\n\u200b{B},\u00a0benign\n{M},malignant\n",
        f"path,label\n{B.upper()},benign\nMalignant/{M[10:]},malignant\n",
        f"path,label\r{B},benign\r{M},malignant\r",
    ],
)  # fmt: skip
def test_a_table_is_read_as_it_is_meant(set_, content):
    assert read(set_, content) == ([B, M], [])
    assert is_table(set_ / "t.csv")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_in_either_unicode_form_and_has_one_id(set_, form):
    name = unicodedata.normalize(form, "Größe.png")
    assert read(set_, f"path,label\n{name},benign\n{M},malignant\n") == (["Größe.png", M], [])


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("utf-16", "t.csv is not in UTF-8 and was read as UTF-16"), ("cp1252", "t.csv is not in UTF-8 and was read as Windows-1252")],
)  # fmt: skip
def test_other_encodings_of_excel_are_read_and_said(set_, encoding, message):
    assert read(set_, f"path;label\nGröße.png;benign\n{M};malignant\n".encode(encoding)) == (
        ["Größe.png", M],
        [f"t: {message}"],
    )
    assert is_table(set_ / "t.csv")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (f"path,label\n{B},B\n", "is labelled 'B'; expected benign, malignant or normal"),
        (f"path,label\n{B},0\n", "is labelled '0'; expected"),
        (f"path,label\n{B},\n", "is labelled ''; expected"),
        ("path,label\n,benign\n", "Line 2 of t.csv names no image"),
        (f"path;label\n\n;\n;benign\n{B};benign\n", "Line 4 of t.csv names no image"),
        ("label,path\nbenign,benign/a, left.png\n", "Line 2 of t.csv has 3 cells; expected 2"),
        (f'path,label\n"{B},benign\n{M},malignant\n', "A quote in t.csv is not closed before line 3"),
        ("image;diagnosis\n1;2\n", "has no column path, label; it has image;diagnosis"),
        (f"path,label\n{B},benign\n{B},benign\n", "is there twice"),
        (f"path,label\n{B},benign\n{B.upper()},benign\n", "is there twice"),
        ("", "has no column path, label"),
    ],
)  # fmt: skip
def test_a_table_that_says_two_things_is_refused(set_, content, sentence):
    with pytest.raises(DatasetError, match=sentence):
        read(set_, content)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("set/" + B, r"Is .*/set/benign/benign \(1\).png meant\?"),
        ("benign (1).png", "is not there. Is .*"),
        ("benign/bening (1).png", r"Is benign \(1\).png .*meant\?"),
        (r"C:\scans\a.png", "That is a Windows path: give paths relative to the table"),
        (r"\\server\scans\a.png", "is not there"),
        ("benign/" + "long" * 100 + ".png", "cannot be opened|is not there"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_there_has_a_hint(set_, path, sentence):
    (set_ / "t.csv").write_text(f"path,label\n{path},benign\n{M},malignant\n")
    (finding,) = audit(read_folder(set_ / "t.csv"))
    assert len(finding.unreadable) == 1
    with pytest.raises(DatasetError, match=sentence):
        decode(read_folder(set_ / "t.csv"), 64)


def test_litter_in_a_table_that_a_script_wrote_is_passed_over(set_):
    content = (
        f"path,label\n{B},benign\nbenign/.ipynb_checkpoints/x.png,malignant\nbenign/._a.png,benign\n{M},malignant\n"
    )
    ids, message = read(set_, content)
    assert ids == [B, M]
    assert message == [
        "t: skipped 2 hidden or system files or folders: benign/.ipynb_checkpoints/x.png, benign/._a.png"
    ]
    above = f"path,label\n../set/{B},benign\n{M},malignant\n"
    assert read(set_, above) == ([f"../set/{B}", M], [])


def test_a_hidden_folder_that_a_table_names_is_meant(set_):
    shutil.copytree(set_ / "benign", set_ / ".images")
    content = f"path,label\n.images/{B[7:]},benign\n{M},malignant\n"
    assert read(set_, content) == ([f".images/{B[7:]}", M], [])


def test_masks_of_a_table_are_found_in_the_same_way_and_may_be_missing(set_):
    (set_ / "t.csv").write_text(f"path,label,mask\n{B},benign,benign\\benign (1)_mask.png\n{M},malignant,nan\n")
    samples = read_folder(set_ / "t.csv")
    assert [len(sample.masks) for sample in samples] == [1, 0]
    assert decode(samples, 64).masked.tolist() == [True, False]


def test_a_workbook_is_no_table(set_):
    (set_ / "labels.xlsx").write_bytes(b"PK\3\4")
    with pytest.raises(DatasetError, match=r"labels.xlsx is neither a folder nor a CSV file. Save a table as CSV"):
        read_folder(set_ / "labels.xlsx")
    with pytest.raises(DatasetError, match=r"lables.csv does not exist\. .* Is labels.csv meant\?"):
        (set_ / "labels.csv").write_text("path,label\n")
        read_folder(set_ / "lables.csv")


def test_tables_of_excel_are_offered(set_, tmp_path):
    (set_ / "benign" / "own.png").touch()  # so that it is no longer BUSI
    (set_ / "excel.csv").write_text("\ufeffPath;Label;Patient\r\n", encoding="utf-8")
    (set_ / "other.csv").write_text("name;age\n", encoding="utf-8")
    assert DatasetLocation("folder", "set/excel.csv") in find_datasets(tmp_path)
    assert DatasetLocation("folder", "set/other.csv") not in find_datasets(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "001"), ("1.0", "1"), ("p2", "P2"), ("P-02", "p2"), (" 7", "7\u00a0"), ("Ä1", "A\u03081"), ("１", "1"), ("MRN_000", "mrn 0")],
)  # fmt: skip
def test_a_patient_is_one_however_written(one, other):
    found, message = parse_patient_ids([one, "else", other])
    assert found[0] == found[2] == one.strip()
    assert found[1] == "else"
    if one.strip() != other.strip():
        assert "are each taken for one patient, because only their spelling differs" in message[0]


def test_other_patients_stay_others():
    names = ["1", "10", "1-2", "12", "1.2", "1.20", "p1", "q1", "1p", "A", "B", "2023-1", "2023-11"]
    found, message = parse_patient_ids(names)
    assert message == [
        "patients 1-2 and 1.2 are each taken for one patient, because only their spelling differs; if they are two, give them "
        "different names"
    ]
    assert len(set(found)) == len(names) - 1


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "n/a", "N/A", "-", "?", "<NA>", "NULL", "unknown", "-1"])
def test_no_patient_is_no_patient(word):
    """All who are not known were one patient, and on one side."""
    found, message = parse_patient_ids([word, "p1", word, ""])
    assert found == [None, "p1", None, None]
    assert message == [f"the patient of 2 images is given as {word}, which is read as unknown"]


def test_a_word_for_unknown_that_is_not_known_is_noticed():
    _, message = parse_patient_ids(["nicht bekannt"] * 30 + [f"p{k}" for k in range(30)])
    assert message == ["30 of 60 images are of one patient, nicht bekannt; if that stands for unknown, leave it empty"]


def test_spellings_of_a_patient_never_part_in_a_split(busi, tmp_path):
    spelt = ("{}", "00{}", "{}.0")
    rows = [
        f"{busi}/{name}/{name} ({k}).png,{name},{spelt[(k // 4 + k) % 3].format(1 + k % 4 + 4 * (name == 'malignant'))}"
        for name in ("benign", "malignant")
        for k in range(1, 13)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,patient", *rows]))
    decoded = decode(read_folder(tmp_path / "t.csv"), 64)
    assert len({sample.patient for sample in decoded.samples}) == 8
    split = make_split(TrainConfig("rcdnet", init="random"), decoded.samples, decoded.fingerprints)
    patient = {s.id: s.patient for s in decoded.samples}
    assert not {patient[i] for i in split.train} & {patient[i] for i in split.validation}


def test_two_clinics_with_dots_in_their_names_are_two(busi, tmp_path, monkeypatch):
    for name in ("clinic.2023", "clinic.2024"):
        shutil.copytree(busi, tmp_path / name)
    samples = read_sources([("folder", str(tmp_path / name)) for name in ("clinic.2023", "clinic.2024")])
    assert {sample.source for sample in samples} == {"clinic.2023", "clinic.2024"}
    monkeypatch.chdir(tmp_path / "clinic.2024" / "benign")
    for place in ("..", "../../clinic.2024", "../../clinic.2024/benign/..", "../."):
        assert source_name(Path(place)) == "clinic.2024"
    monkeypatch.chdir("..")
    assert source_name(Path()) == "clinic.2024"
    (tmp_path / "dir.csv").mkdir()
    assert source_name(tmp_path / "dir.csv") == "dir.csv"
    assert source_name(tmp_path / "v1.2.CSV") == "v1.2"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("busi+busbra", "cannot be called busi\\+busbra: that name is kept for BUSI and BUS-BRA"), ("a\nb", "has no name that can be shown")],
)  # fmt: skip
def test_a_name_that_would_be_taken_for_another_is_refused(busi, tmp_path, name, sentence):
    shutil.copytree(busi, tmp_path / name)
    with pytest.raises(DatasetError, match=sentence):
        read_folder(tmp_path / name)
    with pytest.raises(DatasetError, match="has no name that can be shown"):
        read_folder(Path("/"))


def test_patients_that_a_spreadsheet_rounded_are_refused():
    """1.23457E+11 may be two patients, and 100000 and 1E+05 one."""
    with pytest.raises(DatasetError, match="a number that a spreadsheet rounded"):
        parse_patient_ids(["123456789012", "1.23457E+11"])
