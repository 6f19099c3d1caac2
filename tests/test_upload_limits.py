"""How much may wait to be read: in one session, on the whole server, and what becomes of the rest."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from pages.shared import upload_limits
from pages.shared.upload_limits import pop_upload
from rcdnet.errors import ImageError
from rcdnet.scans.scan_and_mask import MAX_BYTES


@pytest.fixture
def store(monkeypatch) -> MemoryUploadedFileManager:
    """A server's store in which four bytes of a session may wait, and six of all; scripts run in session "a"."""
    store = MemoryUploadedFileManager("/upload")
    monkeypatch.setattr(upload_limits, "MB", 1)
    monkeypatch.setattr(upload_limits, "SESSION_MB", 4)
    monkeypatch.setattr(upload_limits, "SERVER_MB", 6)
    context = SimpleNamespace(session_id="a", uploaded_file_mgr=store)
    monkeypatch.setattr(upload_limits, "get_script_run_ctx", lambda: context)
    return store


def add(store: MemoryUploadedFileManager, session: str, name: str, data: bytes) -> None:
    store.add_file(session, UploadedFileRec(name, name, "image/png", data))


def held(store: MemoryUploadedFileManager) -> int:
    return sum(len(file.data) for files in store.file_storage.values() for file in files.values())


def test_what_goes_beyond_a_session_is_refused_and_nothing_before_it_is_lost(store):
    for name, data in (("1", b"12"), ("2", b"34"), ("3", b"5"), ("4", b"")):
        add(store, "a", name, data)
    assert held(store) == 4
    assert (pop_upload("1"), pop_upload("2"), pop_upload("4")) == (b"12", b"34", b"")
    with pytest.raises(ImageError, match="of your uploads would wait to be read"):
        pop_upload("3")
    add(store, "a", "5", b"5678")  # those that were read count no more
    assert pop_upload("5") == b"5678"
    assert held(store) == 0


def test_one_session_leaves_room_for_others_until_the_server_is_full(store):
    add(store, "b", "1", b"1234")
    add(store, "a", "2", b"12")
    add(store, "a", "3", b"3")
    assert pop_upload("2") == b"12"
    with pytest.raises(ImageError, match="of all users would wait to be read"):
        pop_upload("3")
    store.remove_session_files("b")  # as where a session ends
    add(store, "a", "4", b"1234")
    assert pop_upload("4") == b"1234"


def test_uploads_at_the_same_time_pass_no_limit(store):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda k: add(store, f"{k % 8}", f"{k}", b"1"), range(400)))
    assert held(store) == 6


def test_an_upload_that_is_gone_is_said_to_be(store):
    add(store, "b", "1", b"1")
    for name in ("1", "2"):  # another session's, and one that never was
        with pytest.raises(ImageError, match="lost on its way"):
            pop_upload(name)
    assert held(store) == 1


def test_the_uploader_and_the_sentence_below_it_name_what_is_read():
    import streamlit

    assert upload_limits.FILE_MB * 1024**2 == MAX_BYTES
    assert streamlit.get_option("server.maxUploadSize") == upload_limits.FILE_MB
    assert upload_limits.LIMITS == "up to 20 MB each and 300 MB at a time"
