"""Uploaded files until they are read: how many bytes may wait, in one session and on the whole server, and why others do not."""

from pathlib import Path
from threading import Lock
from typing import Any

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from rcdnet.errors import ImageError
from rcdnet.scans.scan_and_mask import MAX_BYTES

MB = 1024**2
FILE_MB, SESSION_MB, SERVER_MB = MAX_BYTES // MB, 300, 900
LIMITS = f"up to {FILE_MB} MB each and {SESSION_MB} MB at a time"
# A refused file stands in the server's store by its name, with its reason in place of a media type, and without its bytes.
_REFUSED = {
    "refused/session": f"With this file more than {SESSION_MB} MB of your uploads would wait to be read. Upload it again later.",
    "refused/server": f"With this file more than {SERVER_MB} MB of all users would wait to be read. Upload it again in a minute.",
}
_ASSETS = Path(__file__).parent.parent.parent / "assets"
_adding, _add_file = Lock(), MemoryUploadedFileManager.add_file

# The browser turns larger files down by itself and says so in the uploader, which is emptied with every upload. This hands their
# names and reasons on, as `refused`, so that they stand with the others.
rejected_uploads = st.components.v2.component(
    "rcdnet_rejected_uploads", html="<span></span>", js=(_ASSETS / "rejected_uploads.js").read_text(encoding="utf-8")
)


def _add_within_limits(self: MemoryUploadedFileManager, session_id: str, file: UploadedFileRec) -> None:
    """In place of Streamlit's `add_file`, which takes files without end and keeps them until the session is gone."""
    with _adding:
        waiting = {
            session: sum(len(f.data) for f in list(files.values()))
            for session, files in list(self.file_storage.items())
        }
        if sum(waiting.values()) + len(file.data) > SERVER_MB * MB:
            file = file._replace(type="refused/server", data=b"")
        elif waiting.get(session_id, 0) + len(file.data) > SESSION_MB * MB:
            file = file._replace(type="refused/session", data=b"")
        _add_file(self, session_id, file)


MemoryUploadedFileManager.add_file = _add_within_limits  # type: ignore[method-assign]


def pop_upload(file_id: str) -> bytes:
    """The bytes of an uploaded file, metadata and all, which the server then forgets; they count as waiting until here.

    Raises:
        ImageError: it was one too many, or is gone.
    """
    context: Any = get_script_run_ctx()  # as Streamlit's own chat input does; its protocol does not name remove_file
    found = context.uploaded_file_mgr.get_files(context.session_id, [file_id])
    context.uploaded_file_mgr.remove_file(session_id=context.session_id, file_id=file_id)
    if not found:
        raise ImageError("The upload was lost on its way. Upload it again.")
    if found[0].type in _REFUSED:
        raise ImageError(_REFUSED[found[0].type])
    return found[0].data
