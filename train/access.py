"""Who may train from the page."""

from collections.abc import Collection, Mapping
from typing import Any

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def refusal(signed_in: Mapping[str, Any] | None, allowed: Collection[str], address: str | None) -> str:
    """Why the person at the page may not train, as a sentence; empty if they may.

    Args:
        signed_in: Streamlit's user, None where no sign-in is configured. allowed: e-mail addresses that may train.
        address: that the server listens on.
    """
    if signed_in is None:
        if address in LOOPBACK:
            return ""
        return (
            "This server can be reached from other machines and asks nobody to sign in, so nobody may train here. Configure "
            "[auth] as the README says, or let the server listen on 127.0.0.1."
        )
    if not signed_in.get("is_logged_in"):
        return "Sign in to train models."
    if signed_in.get("email_verified") is False:
        return "The e-mail address of this account is not verified, so it may not train."
    if str(signed_in.get("email") or "").lower() not in {address.lower() for address in allowed}:
        return f"{signed_in.get('email') or 'This account'} is not on the list of those who may train. Ask who runs this server."
    return ""
