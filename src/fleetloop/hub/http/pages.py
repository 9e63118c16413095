"""Pages of the web: a hub that asks for no tokens trusts the programs of this machine, and a browser is one of them."""

from urllib.parse import urlsplit

from starlette.requests import Request

from fleetloop.core.errors import HubRefused
from fleetloop.hub.options import is_loopback

REMEDY = "call the hub by 127.0.0.1 or localhost, or have it ask for tokens (hub.require_tokens)"


def refuse_pages(request: Request) -> None:
    """Refuse what a page has a browser ask here; for hubs that listen to this machine alone. The hub has no pages.

    A page may send requests without reading their answers: browsers name its site as their Origin. Or its name may
    lead to this machine, so that it reads answers too: then it is the Host.

    Raises:
        HubRefused: with status 403.
    """
    origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
    if not is_loopback(_name(host)):
        raise HubRefused("Host", f"is {host!r}, which is not this machine, and no token is asked for", REMEDY, 403)
    if origin is not None:
        raise HubRefused("Origin", f"is {origin!r}: pages may ask nothing here", REMEDY, 403)


def _name(host: str) -> str:
    """Without its port; empty if it can't be told."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
