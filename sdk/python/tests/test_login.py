"""The log-in with a browser, and the file of cookies that it shares with SkyPilot's clients."""

from __future__ import annotations

import asyncio
import base64
import http.cookiejar
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from conftest import Home, Team

import sky
from sky import exceptions
from sky.client import cookies, login, sdk_async, session
from sky.client.endpoint import Endpoint

PASSWORD = "correct horse"
SESSION = "sky_session"

#: A browser with a user who vouches at once.
BROWSER = f"""#!{sys.executable}
import json, sys, urllib.request
page, challenge = sys.argv[1].split("/auth/authorize?code_challenge=")
assert "Authorize" in urllib.request.urlopen(sys.argv[1]).read().decode()
body = json.dumps({{"code_challenge": challenge}}).encode()
headers = {{"Authorization": "Basic %s", "Content-Type": "application/json"}}
urllib.request.urlopen(urllib.request.Request(page + "/api/v1/auth/authorize", body, headers))
"""


def basic(name: str) -> str:
    return base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()


def vouch(team: Team, challenge: str, name: str) -> None:
    """Does what somebody does on the page."""
    body = json.dumps({"code_challenge": challenge}).encode()
    headers = {"Authorization": f"Basic {basic(name)}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{team.url}/api/v1/auth/authorize", body, headers)) as answer:
        assert json.load(answer) == {"status": "authorized"}


def set_cookie(home: Home, team: Team, value: str) -> None:
    cookies.keep(Endpoint.parse(team.url), {SESSION: value})
    assert (home.path / ".sky/cookies.txt").exists()


def test_a_program_logs_in_with_a_browser(team: Team, home: Home) -> None:
    team.add_user("ann", PASSWORD)
    browser = home.path / "browser"
    browser.write_text(BROWSER % basic("ann"))
    browser.chmod(0o755)
    environment = {**home.environment, "BROWSER": str(browser), "PYTHONPATH": str(Path(sky.__file__).parents[1])}
    program = "import sys, sky; print(sky.api_login(sys.argv[1]).user.name)"
    command = [sys.executable, "-c", program, team.url]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "ann\n"
    assert re.search(rf"\n  {team.url}/auth/authorize\?code_challenge=[\w-]{{43}}\n", done.stderr)

    # From now on nothing more is needed; the program's own file says so, and no token is kept.
    file = home.path / ".sky/cookies.txt"
    assert file.stat().st_mode & 0o777 == 0o600
    assert team.url in (home.path / ".sky/config.yaml").read_text()
    assert "token" not in (home.path / ".sky/config.yaml").read_text()
    user = sky.api_info().user
    assert user is not None and user.name == "ann"
    assert sky.get(sky.status()) == []

    # SkyPilot's clients read the same file.
    jar = http.cookiejar.MozillaCookieJar(str(file))
    jar.load()
    (cookie,) = jar
    assert (cookie.name, cookie.domain, cookie.path, cookie.secure) == (SESSION, ".127.0.0.1", "", False)
    assert cookie.expires is not None and 0 <= time.time() + 7 * 24 * 3600 - cookie.expires < 60
    request = urllib.request.Request(f"{team.url}/api/status")
    jar.add_cookie_header(request)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200

    # Logging in again uses what is there. The file can be elsewhere.
    assert sky.api_login(team.url).user == user
    os.environ["SKYPILOT_API_COOKIE_FILE"] = "~/elsewhere.txt"
    with pytest.raises(exceptions.ApiServerAuthenticationError, match="demands credentials"):
        sky.api_info()
    file.rename(home.path / "elsewhere.txt")
    assert sky.api_info().user == user
    assert "SKYPILOT_API_COOKIE_FILE" not in session.open_session().common("x")["env_vars"]
    sky.api_logout()
    assert (home.path / "elsewhere.txt").read_text() == "# Netscape HTTP Cookie File\n"


async def logged_in(team: Team, challenge_of: Callable[[], str], relogin: bool = False) -> Any:
    """Logs in, and lets somebody vouch."""
    task = asyncio.create_task(sdk_async.api_login(team.url, relogin, no_browser=True))
    said = ""
    while "code_challenge=" not in said:
        assert not task.done(), task
        await asyncio.sleep(0.02)
        said += challenge_of()
    found = re.search(r"code_challenge=([\w-]+)\s", said)
    assert found is not None
    await asyncio.to_thread(vouch, team, found[1], "ann")
    return await task


def test_what_is_kept_and_no_longer_good_is_replaced(
    team: Team, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    team.add_user("ann", PASSWORD)

    def printed() -> str:
        return capsys.readouterr().err

    def kept_session() -> Optional[str]:
        return cookies.header_for(Endpoint.parse(team.url))

    set_cookie(home, team, "sky_over")
    first = asyncio.run(logged_in(team, printed))
    assert first.user.name == "ann"
    kept = kept_session()
    assert kept is not None and kept.startswith("sky_session=") and "sky_over" not in kept
    # A session that is good is replaced on demand only.
    sky.api_login(team.url)
    assert kept_session() == kept
    asyncio.run(logged_in(team, printed, relogin=True))
    assert kept_session() not in (None, kept)
    # So is a token; one that works needs no browser, and goes before the session.
    (home.path / ".sky/config.yaml").write_text(
        f"api_server:\n  endpoint: {team.url}\n  service_account_token: sky_over\n"
    )
    asyncio.run(logged_in(team, printed))
    assert "sky_over" not in (home.path / ".sky/config.yaml").read_text()
    info = sky.api_login(team.url, service_account_token=team.token)
    assert info.user is not None and info.user.role == "admin"
    sky.api_logout()
    assert kept_session() is None


def test_leaving_ends_the_wait(team: Team, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    async def leave() -> None:
        task = asyncio.create_task(sdk_async.api_login(team.url, no_browser=True))
        while "code_challenge=" not in capsys.readouterr().err:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert not (home.path / ".sky/cookies.txt").exists()
    assert not (home.path / ".sky/config.yaml").exists()


def test_nobody_vouches(team: Team, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "_PATIENCE", 0.0)
    monkeypatch.setattr(login, "_PERIOD", 0.01)
    with pytest.raises(exceptions.ApiServerAuthenticationError, match="nobody logged in at http") as error:
        sky.api_login(team.url, no_browser=True)
    assert "service_account_token" in error.value.hints[0]
    assert not (home.path / ".sky/config.yaml").exists()


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"v": 1, "user": "u", "cookies": {"a": "1|2=", "b": "x\r\ny", "c": 3, "": "d"}}, {"a": "1|2="}),
        ({"_oauth2_proxy": "abc"}, {"_oauth2_proxy": "abc"}),
        ({"v": 1, "cookies": {"a": "x;y"}}, None),
        ({"v": 2, "user": "u", "cookies": {"a": "b"}}, None),
        (["a"], None),
    ],
)
def test_what_servers_give(document: Any, wanted: Optional[dict[str, str]]) -> None:
    token = base64.b64encode(json.dumps(document).encode()).decode()
    if wanted is not None:
        assert login._read(token) == wanted
        return
    with pytest.raises(exceptions.ApiServerAuthenticationError, match="does not understand"):
        login._read(token)


def test_no_token_at_all_is_understood() -> None:
    for token in ("", "%%%", "abc"):
        with pytest.raises(exceptions.ApiServerAuthenticationError, match="does not understand"):
            login._read(token)


FILE = """# Netscape HTTP Cookie File
# http://curl.haxx.se/rfc/cookie_spec.html
.sky.example\tTRUE\t\tTRUE\t{later}\tsession\tnew
#HttpOnly_sky.example\tFALSE\t/\tFALSE\t0\tplain\tforever
sky.example\tFALSE\t/deep\tFALSE\t{later}\tdeep\td
sky.example\tFALSE\t/\tFALSE\t{before}\told\tover
.other.example\tTRUE\t/\tFALSE\t{later}\tother\to
half a line
"""


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://sky.example", "session=new; plain=forever"),
        ("https://SKY.example:8443", "session=new; plain=forever"),
        ("http://sky.example", "plain=forever"),
        ("https://sky.example/deep/er", "session=new; plain=forever; deep=d"),
        ("https://sky.example/deeper", "session=new; plain=forever"),
        ("https://a.sky.example", "session=new"),
        ("https://notsky.example", None),
        ("https://example", None),
        ("http://other.example", "other=o"),
        ("unix:///run/sky.sock", None),
    ],
)
def test_each_server_gets_its_own_cookies(home: Home, url: str, header: Optional[str]) -> None:
    assert cookies.header_for(Endpoint.parse(url)) is None
    now = int(time.time())
    (home.path / ".sky").mkdir()
    (home.path / ".sky/cookies.txt").write_text(FILE.format(later=now + 100, before=now - 100))
    assert cookies.header_for(Endpoint.parse(url)) == header


def test_the_rest_of_the_file_stays(home: Home) -> None:
    file = home.path / ".sky/cookies.txt"
    file.parent.mkdir()
    now = int(time.time())
    file.write_text(FILE.format(later=now + 100, before=now - 100))
    server = Endpoint.parse("https://sky.example/prefix")
    cookies.keep(server, {"session": "newer", "more": "m"})
    text = file.read_text()
    assert text.startswith("# Netscape HTTP Cookie File\n") and text.count("Netscape") == 1
    assert "forever" in text and "\tother\to\n" in text and "\tnew\n" not in text
    assert cookies.header_for(server) == "plain=forever; session=newer; more=m"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["cookies.txt"]
    cookies.forget(server)
    assert cookies.header_for(server) is None
    assert cookies.header_for(Endpoint.parse("http://other.example")) == "other=o"
    file.unlink()
    file.mkdir()
    with pytest.raises(exceptions.InvalidSkyPilotConfigError, match="cannot read the cookies"):
        cookies.header_for(server)


def test_names_without_a_dot_and_addresses_have_cookies_too(home: Home) -> None:
    for url in ("http://skyhost:1", "http://[fe80::1]:1"):
        server = Endpoint.parse(url)
        cookies.keep(server, {"a": "b"})
        assert cookies.header_for(server) == "a=b", url
