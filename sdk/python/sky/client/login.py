"""Logging in to a server and out of it: with a token, with a password in the address, or with a browser.

A log-in with a browser: this side keeps a secret (the verifier), shows its hash (the challenge) to the server's page,
and asks each second whether somebody has vouched for it there. What it is given are cookies.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Optional

from .. import exceptions
from . import config, cookies, endpoint as servers, scope, session
from .endpoint import Target
from .session import Session

if TYPE_CHECKING:
    from ..results import ServerInfo

#: The oldest API of a server with a page to log in on.
_MIN_API_VERSION = 30
#: How long somebody may take (servers forget after that), and how often the server is asked, in seconds.
_PATIENCE, _PERIOD = 300.0, 1.0
#: The time for one such answer, in seconds.
_ANSWER = 10.0


def api_login(
    endpoint: Optional[str] = None,
    relogin: bool = False,
    service_account_token: Optional[str] = None,
    no_browser: bool = False,
) -> ServerInfo:
    """Uses a server from now on: checks it and the credentials, then keeps its address in ``~/.sky/config.yaml``.

    ``endpoint`` is ``https://[user:password@]host[:port]``, else what ``SKYPILOT_API_SERVER_ENDPOINT`` says. A token is
    kept too. Without one, a server that demands credentials is logged in to with a browser: the address of its page is
    written to standard error and opened, unless ``no_browser``; within five minutes somebody has to vouch there. The
    session is kept in ``~/.sky/cookies.txt`` for seven days. ``relogin`` forgets the token and the session that there
    are.
    """
    url = _address(endpoint)
    given = _token(service_account_token)
    target = servers.at(url, given or (None if relogin else _kept_token(url)))
    if relogin:
        target = target._replace(cookies=None)
    if given is None and target.endpoint.credentials is None:
        target = _let_in(target, no_browser)
    reached = Session(target)
    reached.health = reached.ask_health()
    # A server may say that it is well to anybody: this call it answers to its users only.
    with reached.call("GET", "/api/status", query={"limit": 1}) as answer:
        answer.read()
    is_own = target.local
    config.save_server(None if is_own else url, None if is_own else target.token)
    session.forget()
    return reached.health


def api_logout() -> None:
    """Uses the server of this machine again; the token and the session of the other one are forgotten."""
    if os.environ.get(servers.VARIABLE):
        raise exceptions.ConflictError(
            f"the server is named by {servers.VARIABLE}, not by a login", hints=[f"unset {servers.VARIABLE}"]
        )
    named = config.server_key(config.load(), "endpoint")
    if named is None:
        raise exceptions.ConflictError("you are not logged in anywhere: the server of this machine is used")
    config.save_server(None, None)
    with contextlib.suppress(exceptions.InvalidRequestError):
        cookies.forget(servers.Endpoint.parse(named))
    session.forget()


def _address(endpoint: Optional[str]) -> str:
    """Returns the address to log in to."""
    url = (endpoint or os.environ.get(servers.VARIABLE) or "").strip().rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise exceptions.InvalidRequestError(
            "the address of a server begins with http:// or https://",
            hints=['sky.api_login("https://HOST[:PORT]")'],
        )
    return url


def _token(given: Optional[str]) -> Optional[str]:
    """Returns the token that was given, checked."""
    token = given.strip() if given else None
    if token is not None and not (token.startswith("sky_") and token.isascii() and token.isprintable()):
        raise exceptions.InvalidRequestError("a token begins with `sky_` and has no spaces")
    return token


def _kept_token(url: str) -> Optional[str]:
    """Returns the token that an earlier log-in to this server left."""
    kept = config.load()
    return config.server_key(kept, "service_account_token") if config.server_key(kept, "endpoint") == url else None


def _let_in(target: Target, no_browser: bool) -> Target:
    """Returns the server with what it demands: what is kept if that is good, else a session made with a browser."""
    has_any = target.token is not None or target.cookies is not None
    try:
        found = Session(target).probe()
        if found.status != "needs_auth":
            return target
    except exceptions.ApiServerAuthenticationError:
        if not has_any:
            raise
    if has_any:
        return _let_in(target._replace(token=None, cookies=None), no_browser)
    version = found.api_version or ""
    if not version.isdigit() or int(version) < _MIN_API_VERSION:
        raise _unauthenticated(f"the server at {target.url} demands credentials, and has no page to log in on")
    cookies.keep(target.endpoint, _vouched(Session(target), no_browser))
    return target._replace(cookies=cookies.header_for(target.endpoint))


def _vouched(reached: Session, no_browser: bool) -> dict[str, str]:
    """Lets somebody vouch for this client with a browser; returns the cookies of the session."""
    import base64
    import hashlib
    import sys

    verifier = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=").decode()
    page = f"{reached.target.url}/auth/authorize?code_challenge={challenge}"
    print(f"The server demands credentials. Log in with a browser:\n\n  {page}\n", file=sys.stderr, flush=True)
    if not no_browser:
        _open_browser(page)
    end = time.monotonic() + _PATIENCE
    while True:
        token = _ask(reached, verifier.decode())
        if token is not None:
            return _read(token)
        if time.monotonic() > end:
            raise _unauthenticated(f"nobody logged in at {page} within {_PATIENCE / 60:.0f} minutes")
        scope.current().wait(_PERIOD)


def _ask(reached: Session, verifier: str) -> Optional[str]:
    """Asks whether somebody has vouched; returns what the server gives then, once."""
    query = {"code_verifier": verifier}
    try:
        with reached.call("GET", "/api/v1/auth/token", query=query, timeout=_ANSWER) as answer:
            value = answer.json()
    except (
        exceptions.NotFoundError,  # Not yet.
        exceptions.ApiServerConnectionError,
        exceptions.RequestTimeoutError,
        exceptions.ServerTemporarilyUnavailableError,
    ):
        return None
    token = value.get("token") if isinstance(value, dict) else None
    return token if isinstance(token, str) else ""


def _read(token: str) -> dict[str, str]:
    """Reads what the server gave: ``{"v": 1, "cookies": {…}}`` in base64; old servers give the cookies alone."""
    import base64

    try:
        value = json.loads(base64.b64decode(token))
    except ValueError:
        value = None
    given = value
    if isinstance(value, dict) and "v" in value:
        given = value.get("cookies") if value["v"] == 1 else None
    found = given.items() if isinstance(given, dict) else ()
    # What could break a header, or a line of the file, is nothing that a server means.
    session_cookies = {name: text for name, text in found if _is_plain(name) and _is_plain(text)}
    if not session_cookies:
        raise _unauthenticated("the server gave a log-in that this package does not understand")
    return session_cookies


def _is_plain(text: object) -> bool:
    return isinstance(text, str) and text != "" and all("!" <= c <= "~" and c != ";" for c in text)


def _unauthenticated(message: str) -> exceptions.ApiServerAuthenticationError:
    return exceptions.ApiServerAuthenticationError(
        message, hints=["log in with a token: sky.api_login(..., service_account_token=...)"]
    )


def _open_browser(page: str) -> None:
    """Opens a page where there is a screen. Browsers of terminals are left alone unless ``BROWSER`` asks for one."""
    import webbrowser

    try:
        browser = webbrowser.get()
        if "BROWSER" in os.environ or type(browser) is not webbrowser.GenericBrowser:
            browser.open(page)
    except (webbrowser.Error, OSError):
        pass  # The address was written: nothing is lost.
