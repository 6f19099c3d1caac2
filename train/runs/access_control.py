"""Who may train from the page."""

from collections.abc import Mapping
from typing import Any

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def denial_reason(signed_in: Mapping[str, Any] | None, settings: Mapping[str, Any], address: str | None) -> str:
    """Why the person at the page may not train, as a sentence; empty if they may.

    Args:
        signed_in: Streamlit's user, None where no sign-in is configured. address: that the server listens on.
        settings: `allowed`, e-mail addresses that may train; `unverified`, whether to take one that the provider does not say it
            has verified, which is for providers whose users cannot choose it themselves.
    """
    if signed_in is None:
        if address in LOOPBACK:
            return ""
        return (
            "This server can be reached from other machines without signing in, so nobody may train here. Configure "
            "[auth] as docs/training.md says, or let the server listen on 127.0.0.1."
        )
    if not signed_in.get("is_logged_in"):
        return "Sign in to train models."
    if not settings.get("unverified") and str(signed_in.get("email_verified")).lower() != "true":
        return "Your sign-in provider does not say that your e-mail address is verified, so you may not train. Ask who runs this server."
    if str(signed_in.get("email") or "").lower() not in {str(email).lower() for email in settings.get("allowed", ())}:
        return f"{signed_in.get('email') or 'This account'} is not on the list of those who may train. Ask who runs this server."
    return ""
