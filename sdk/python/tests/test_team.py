"""A server on another machine (so the client thinks): credentials, uploads, downloads."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import trustme
from conftest import Home, Team

import sky
from sky import exceptions


def test_login_upload_run_and_download(team: Team, home: Home) -> None:
    with pytest.raises(exceptions.ApiServerAuthenticationError, match="refuses your credentials"):
        sky.api_login(team.url, service_account_token="sky_wrong")
    with pytest.raises(exceptions.InvalidRequestError, match="begins with http"):
        sky.api_login("sky.example")
    info = sky.api_login(team.url, service_account_token=team.token)
    assert info.user is not None and info.user.role == "admin"
    file = home.path / ".sky/config.yaml"
    assert team.url in file.read_text() and file.stat().st_mode & 0o777 == 0o600

    work = home.path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "sub/run.sh").write_text("echo uploaded script\n")
    (work / "sub/run.sh").chmod(0o755)
    (work / "left.log").write_text("x")
    (work / ".skyignore").write_text("*.log\n")
    (work / "big").write_bytes(os.urandom(200_000))
    (home.path / "data.txt").write_text("uploaded mount\n")
    # Several chunks.
    os.environ["SKY_UPLOAD_CHUNK_BYTES"] = "50000"
    task = sky.Task(
        run="sh sub/run.sh; cat ~/data.txt; wc -c < big; ls left.log",
        workdir="work",
        file_mounts={"~/data.txt": "data.txt"},
    )
    job, _ = sky.stream_and_get(sky.launch(task, cluster_name="remote"), output_stream=io.StringIO())
    out = io.StringIO()
    assert sky.tail_logs("remote", job, output_stream=out) == sky.JobExitCode.FAILED
    for words in ("uploaded script", "uploaded mount", "200000", "left.log"):
        assert words in out.getvalue()
    # The same content is not sent again; the user's task is as it was.
    again, _ = sky.get(sky.exec(task, "remote"))
    assert again == 2 and "file_mounts_mapping" not in task.to_wire()
    places = sky.download_logs("remote", [job])
    assert "uploaded script" in (Path(places[str(job)]) / "run.log").read_text()
    assert Path(places[str(job)]).is_relative_to(home.path)
    assert sky.get(sky.api_cancel(silent=True)) == []
    with pytest.raises(exceptions.InvalidRequestError, match="is for the server of this machine"):
        sky.api_stop()
    sky.get(sky.down("remote"))
    sky.api_logout()
    assert not file.read_text()
    with pytest.raises(exceptions.ConflictError, match="not logged in"):
        sky.api_logout()


def test_the_environment_names_server_and_token(team: Team, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYPILOT_API_SERVER_ENDPOINT", team.url)
    with pytest.raises(exceptions.ApiServerAuthenticationError, match="demands credentials") as error:
        sky.status()
    assert f"sky api login -e {team.url}" in error.value.hints[0]
    monkeypatch.setenv("SKYPILOT_SERVICE_ACCOUNT_TOKEN", team.token)
    assert sky.get(sky.status()) == []
    with pytest.raises(exceptions.ConflictError, match="named by"):
        sky.api_logout()


def test_a_user_with_a_password(team: Team, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    team.add_user("ann", "pw-ann:pw@")
    monkeypatch.setenv("SKYPILOT_API_SERVER_ENDPOINT", team.url.replace("//", "//ann:pw-ann%3Apw%40@"))
    user = sky.api_info().user
    assert user is not None and user.name == "ann" and user.role == "user"
    assert "pw-ann" not in sky.api_info().endpoint
    monkeypatch.setenv("SKYPILOT_API_SERVER_ENDPOINT", team.url.replace("//", "//ann:wrong@"))
    with pytest.raises(exceptions.ApiServerAuthenticationError, match="refuses your credentials"):
        sky.api_info()


def test_https(home: Home, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    trusted, chain, key = directory / "ca.pem", directory / "chain.pem", directory / "key.pem"
    authority.cert_pem.write_to_path(trusted)
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    team = Team(directory, "--tls-cert", str(chain), "--tls-key", str(key))
    try:
        with pytest.raises(exceptions.ApiServerConnectionError, match="certificate") as error:
            sky.api_login(team.url, service_account_token=team.token)
        assert "SSL_CERT_FILE" in error.value.hints[0]
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        sky.api_login(team.url, service_account_token=team.token)
        job, _ = sky.get(sky.launch(sky.Task(run="echo over TLS"), cluster_name="sealed"))
        out = io.StringIO()
        assert sky.tail_logs("sealed", job, output_stream=out) == 0
        assert "over TLS" in out.getvalue()
        sky.get(sky.down("sealed"))
    finally:
        team.close()
