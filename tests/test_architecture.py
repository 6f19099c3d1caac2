"""The shape of the project: one direction of imports, nothing private in the tree, documents that match the disk."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from rcdnet.errors import NotTrained
from rcdnet.models.checkpoint import read_card
from rcdnet.models.registry import MODELS

MODULES = [
    *sorted(path for folder in ("rcdnet", "train", "pages") for path in (ROOT / folder).rglob("*.py")),
    ROOT / "app.py",
]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
PARTS = {  # each on those before it
    "rcdnet": ["scans", "models", "reading", "explain", "present"],
    "train": ["data", "fit", "metrics", "evaluate", "publish", "studies", "results", "runs"],
}
BASE = {"errors", "safe_read", "cpu_sharing"}  # of rcdnet, on which every part may stand
FORBIDDEN = {
    "rcdnet": {"train", "pages", "pages.shared", "streamlit", "app"},
    "train": {"pages", "pages.shared", "streamlit", "app"},
    "pages": {"pages", "torch", "torchvision", "timm", "cv2", "app"},
    "app.py": {"torch", "torchvision", "timm", "cv2"},
}


def imports_of(path) -> set[str]:
    """Top-level names of every import in a file, wherever it stands; what pages share is named whole."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add("pages.shared" if node.module.startswith("pages.shared.") else node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    floor = path.relative_to(ROOT).parts[0]
    assert not imports_of(path) & FORBIDDEN[floor]


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p.parent.parent in [ROOT / name for name in PARTS]],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_the_parts_stand_on_those_before_them(path):
    package, part = path.relative_to(ROOT).parts[:2]
    later = PARTS[package][PARTS[package].index(part) + 1 :]
    assert not re.findall(
        rf"^\s*from {package}\.(?:{'|'.join(later)})\b.*" if later else r"(?!)", path.read_text(), re.M
    )


@pytest.mark.parametrize("path", sorted((ROOT / "train" / "data").glob("*.py")), ids=lambda p: p.name)
def test_data_knows_nothing_of_the_settings_of_a_run(path):
    assert not re.findall(r"^\s*from train\.(?:config|presets)\b", path.read_text(), re.M)


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.parent.parent == ROOT / "rcdnet"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_part_of_the_library_climbs_to_its_commands(path):
    used = set(re.findall(r"^\s*from rcdnet(?:\.(\w+))? import", path.read_text(), re.M))
    assert used <= {*BASE, *PARTS["rcdnet"]}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_small_and_say_what_they_own(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def test_no_pickle_is_ever_loaded():
    for path in MODULES:
        assert not re.search(
            r"torch\.load|pickle|joblib|allow_pickle=True", path.read_text().replace("never a pickle", "")
        )


def test_what_trains_runs_without_streamlit_plotly_and_grad_cam():
    """The machine that trains may have torch and timm only."""
    code = (
        "import sys\n"
        "for name in ('streamlit', 'plotly', 'pytorch_grad_cam', 'pooch'): sys.modules[name] = None\n"
        "import train.__main__\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=60)


def test_what_windows_lacks_is_not_needed():
    """The README gives Windows commands, and `fcntl` is Unix's."""
    code = "import sys\nsys.modules['fcntl'] = None\nimport train.__main__\nfrom train.runs import watch, weights_for_analyse, worker"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_the_tree_in_the_document_is_the_tree_on_disk():
    tree = re.search(r"```\n(app\.py.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.S).group(1)
    listed, folders = set(), []
    for line in tree.splitlines():
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name]
        listed.add("".join(folders))
    on_disk = {str(p.relative_to(ROOT)) for p in MODULES if p.name != "__init__.py"}
    assert {name for name in listed if name.endswith(".py")} == on_disk


def test_no_image_of_a_data_set_is_tracked():
    assert not [name for name in TRACKED if re.search(r"bus_\d{4}-|(benign|malignant|normal) \(\d+\)", name)]


def test_the_top_level_holds_only_what_was_agreed():
    assert {name.split("/")[0] for name in TRACKED} <= {
        "app.py", "pages", "rcdnet", "train", "tests", "assets", "requirements.txt", "requirements-dev.txt", "README.md",
        "LICENSE", "CHANGELOG.md", "pyproject.toml", ".streamlit", ".ci", ".gitignore", ".gitattributes", "findings", "docs",
    }  # fmt: skip


def figures_row(card, figures) -> str:
    """A line of the table of validation in docs/figures.md, from the card beside the weights."""
    low, high = figures.auc_interval
    return (
        f"| {MODELS[card.model].title} | {figures.data} | {figures.images} ({figures.malignant}) | {figures.auc:.3f} "
        f"[{low:.3f}, {high:.3f}] | {figures.auc_by_group:.3f} | {card.threshold:.3f} | {figures.sensitivity:.3f} | "
        f"{figures.specificity:.3f} |"
    )


def test_the_documents_say_what_the_cards_say():
    text = (ROOT / "docs" / "figures.md").read_text()
    for name in MODELS:
        try:
            card = read_card(name)
        except NotTrained:
            continue
        for figures in card.validation:
            assert figures_row(card, figures) in text
        assert card.training_command in text


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_a_document_has_no_gap_and_what_it_points_to_exists(path):
    text = path.read_text()
    assert not re.search(r"@[A-Z]+@", text)
    for target in re.findall(r"\]\((?!https?:)(.*?)\)", text):
        file, _, heading = target.partition("#")
        other = path.parent / file if file else path
        assert other.exists(), target
        titles = re.findall(r"^#+ (.*)", other.read_text(), re.M) if heading else []
        assert not heading or heading in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}, target


def test_the_readme_is_short_and_leads_to_every_document():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert [p.name for p in DOCUMENTS[1:] if f"docs/{p.name}" not in text] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_a_document_names_files_that_exist(path):
    """Those of this project, in code style; what a command writes, or a user brings, lies elsewhere."""
    named = re.findall(r"`((?:rcdnet|train|pages|tests|assets|docs)/[\w/.-]*)(?::(\w+))?`", path.read_text())
    assert [name for name, _ in named if not (ROOT / name).exists()] == []
    functions = [(name, function) for name, function in named if function]
    assert [f for f in functions if not re.search(rf"^(def|class) {f[1]}\b", (ROOT / f[0]).read_text(), re.M)] == []


def test_the_changelog_has_a_day_for_each_section_the_newest_first():
    days = re.findall(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert days == sorted(set(days), reverse=True)
    assert [day for day in days if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day)] == []
