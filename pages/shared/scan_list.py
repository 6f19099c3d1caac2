"""The list of scans beside Analyse and Compare: uploads, samples, what was refused, and the choice of one."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from zlib import crc32

import streamlit as st

from pages.shared.upload_limits import LIMITS, pop_upload, rejected_uploads
from pages.shared.uploaded_scan import UploadedScan, add_upload, predict
from rcdnet.errors import ImageError, RcdnetError
from rcdnet.present.answers import label
from rcdnet.present.text import printable
from rcdnet.reading.inference import Classifier, Prediction

SAMPLES = Path(__file__).parent.parent.parent / "assets" / "samples"
# Begin what the session keeps of a scan beside it: a lesion that the reader gave, and the name of a second scan.
SCAN_KEY_PREFIXES = ("mask ", "box ", "second ")
FEW_LINES, NAME_LENGTH, LONGEST_REASON = 4, 40, 200  # of files that were not read

state = st.session_state


def scan_list(
    classifiers: list[Classifier], below: Callable[[list[UploadedScan]], None] | None = None
) -> tuple[list[UploadedScan], int]:
    """All scans of the session, and the place of the chosen one. A page that has drawn them ends with `read_next_upload`.

    `below` draws what else belongs under the list.
    """
    state.setdefault("scans", {})  # (sha256, name) -> UploadedScan
    state.setdefault("refused", [])  # (name, sentence)
    state.setdefault("upload_round", 0)
    state.setdefault("waiting", [])  # (name, how to get its bytes): a change of page while they are read loses none
    # `size`: files of the last uploads together; `first`: the key of their first scan, until it is chosen
    state.setdefault("batch", {})
    with st.sidebar:
        uploads = st.file_uploader(
            "Breast ultrasound scans",
            accept_multiple_files=True,
            key=f"upload_{state.upload_round}",
            help="Scans stay in memory on this machine. Each is one still image of up to 4096 pixels a side.",
        )
        st.caption(f"PNG, JPEG, BMP or TIFF, {LIMITS}.")
        rejected_uploads(key="rejected_uploads", on_refused_change=_keep_rejected)
        samples = st.button("Try three synthetic phantoms", width="stretch", icon=":material/science:")
        if uploads or samples:
            drawn = [(path.name, path.read_bytes) for path in sorted(SAMPLES.glob("*.png"))] if samples else []
            _queue([(file.name, partial(pop_upload, file.file_id)) for file in uploads] + drawn)
            state.upload_round += 1  # an empty uploader: the list below is the one list of scans
            st.rerun()
        while state.waiting and "done" not in state.batch:
            _take_in(classifiers)
        if state.waiting:
            size = state.batch["size"]
            read = size - len(state.waiting)
            st.progress(read / size, text=f"Reading scan {read + 1} of {size}")
        if (first := state.batch.pop("first", None)) in state.scans:
            state["chosen"] = first
        uploaded = list(state.scans.values())
        chosen = list(state.scans).index(state.chosen) if state.get("chosen") in state.scans else 0
        for position, one in enumerate(uploaded):
            # A model of one's own may have come later than the scan.
            if missing := [c for c in classifiers if c.key not in one.predictions]:
                one.predictions.update(predict(one.scan.pixels, missing))
            _list_entry(position, one, one.predictions[classifiers[0].key], chosen=position == chosen)
        if uploaded and below:
            below(uploaded)
        if uploaded:
            with st.popover("Clear all scans", width="stretch"):
                what = "the scan with its" if len(uploaded) == 1 else f"the {len(uploaded)} scans with their"
                st.markdown(f"This removes {what} calls, masks and boxes. They are kept nowhere else.")
                st.button("Clear them", on_click=_clear, width="stretch")
    _refusals()
    return uploaded, chosen


def read_next_upload(classifiers: list[Classifier]) -> None:
    """Read the next file that waits, now that the page shows all before it."""
    if state.waiting:
        _take_in(classifiers)
        st.rerun()


def uploads_pending() -> bool:
    """Whether files still wait, so that the page is about to be drawn again."""
    return bool(state.waiting)


def _refusals() -> None:
    """A line for each file that was not read, which goes when it is dismissed."""
    refused = state.refused
    # There at any time, so that nothing below it moves on to another place
    with st.container(key="refusals", gap=None):
        with st.container(height=150 if len(refused) > FEW_LINES else "content", border=False, gap=None):
            for name, reason in refused:
                # No place in the list, which a click may find changed
                key = crc32(f"{name} {reason}".encode(errors="replace"))
                with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"refused_{key}"):
                    st.button("✕", key=f"dismiss_{key}", type="tertiary", on_click=_dismiss, args=((name, reason),))
                    st.text(f"{shortened(name)}: {reason}")
        if len(refused) > 1:
            st.button(f"✕ Dismiss all {len(refused)}", on_click=refused.clear, key="dismiss_all", type="tertiary")


def shortened(name: str) -> str:
    """A file's name short enough for a line, with its beginning and its end.

    >>> shortened("a" * 40 + "b" * 40 + ".png")
    'aaaaaaaaaaaaaaaaaaaaaaaaaaa…bbbbbbbb.png'
    """
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 13]}…{name[-12:]}"


def _refuse(refused: list[tuple[str, str]], name: str, reason: str) -> None:
    """Once, however often the same file is given."""
    if (name, reason) not in refused:
        refused.append((name, reason))


def _dismiss(refusal: tuple[str, str]) -> None:
    if refusal in state.refused:
        state.refused.remove(refusal)


def _keep_rejected() -> None:
    for name, reason in state["rejected_uploads"]["refused"]:
        _refuse(state.refused, printable(str(name)), str(reason)[:LONGEST_REASON])


def _list_entry(position: int, one: UploadedScan, call: Prediction, *, chosen: bool) -> None:
    left, right = st.columns([2, 3], vertical_alignment="center")
    left.image(one.thumbnail)
    right.button(
        label(call, binary=bool(state.get("keep_binary"))),
        key=f"show_{position + 1}",
        width="stretch",
        type="primary" if chosen else "secondary",
        help=f"Show scan {position + 1}",
        on_click=state.__setitem__,  # another rerun from here would drop the figure that the page offers to take away
        args=("chosen", list(state.scans)[position]),
    )
    right.text(one.name)


def _queue(files: list[tuple[str, Callable[[], bytes]]]) -> None:
    """Have files wait to be read. A click elsewhere may end the script wherever it touches its state, so that is done first."""
    waiting, batch = state.waiting, state.batch
    if not waiting:
        batch.clear()
    waiting += [(printable(name), data) for name, data in files]
    batch["size"] = batch.get("size", 0) + len(files)


def _take_in(classifiers: list[Classifier]) -> None:
    """Read and classify the first file that waits; bytes already here are not run again."""
    # As in `_queue`: between taking a file and keeping its scan neither the page nor the state may be touched.
    waiting, scans, refused, batch = state.waiting, state.scans, state.refused, state.batch
    name, data = waiting.pop(0)
    try:
        key = add_upload(scans, name, data(), classifiers)
        if "done" not in batch:
            batch["done"], batch["first"] = True, key
    except RcdnetError as error:
        _refuse(refused, name, str(error))


def _clear() -> None:
    for _, data in state.waiting:
        with suppress(ImageError):
            data()  # which has the server forget it
    for kept in (state.scans, state.refused, state.waiting):
        kept.clear()
    for key in ["chosen", *(key for key in state if str(key).startswith(SCAN_KEY_PREFIXES))]:
        state.pop(key, None)
