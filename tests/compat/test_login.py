"""Credentials against a team server: tokens, passwords in the address, the log-in with a browser."""

import base64
import json
import re
import subprocess
import urllib.request

import pytest
from world import PATIENCE, RELEASE, Team, wait_for


@pytest.fixture
def team(world):
    return Team(world)


def call(team, path, body=None, credential=None, method=None):
    headers = {'Content-Type': 'application/json'}
    if credential:
        headers['Authorization'] = credential
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(team.url + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def ann(team):
    call(team, '/users/create', {'username': 'ann', 'password': 'correct horse', 'role': 'user'}, f'Bearer {team.admin}')


def test_without_credentials_one_sentence_names_the_log_in(world, team):
    world.published('status', SKYPILOT_API_SERVER_ENDPOINT=team.url).ends(1).shows('sky api login').hides('Traceback')


def test_tokens_and_files(world, team):
    """A bearer token; the work directory is uploaded; logs come back."""
    world.extra.update(SKYPILOT_API_SERVER_ENDPOINT=team.url, SKYPILOT_SERVICE_ACCOUNT_TOKEN=team.admin)
    world.published('api', 'info').ends(0).shows('HEALTHY', 'admin')
    world.file('work/word.txt', 'uploaded')
    world.file('extra.txt', 'mounted')
    task = world.file('task.yaml', 'workdir: ./work\nfile_mounts:\n  ~/extra.txt: ./extra.txt\n'
                      'run: cat word.txt ~/extra.txt\n')
    for _ in range(2):
        world.published('launch', '-y', '-c', 'r', str(task)).ends(0).shows('uploaded', 'mounted')
    world.published('logs', '--sync-down', 'r', '1').ends(0)
    assert any('uploaded' in path.read_text() for path in world.home.glob('sky_logs/**/*.log'))
    world.published('down', '-y', 'r').ends(0)


def test_a_password_in_the_address(world, team):
    ann(team)
    url = team.url.replace('http://', 'http://ann:correct%20horse@')
    world.published('status', SKYPILOT_API_SERVER_ENDPOINT=url).ends(0).shows('No existing clusters')


ANN = 'Basic ' + base64.b64encode(b'ann:correct horse').decode()


def browser(world) -> str:
    """A browser that only notes which addresses it is to open."""
    program = world.file('browser', '#!/bin/sh\necho "$1" >>"$HOME/opened"\n')
    program.chmod(0o700)
    return str(program)


def test_log_in_with_a_browser(world, team):
    """The command waits, somebody authorises on our page, and later commands need nothing more."""
    ann(team)
    child = world.popen(['sky', 'api', 'login', '-e', team.url], BROWSER=browser(world))
    opened = world.home / 'opened'
    text = wait_for(lambda: opened.exists() and opened.read_text(), 'the browser', PATIENCE)
    challenge = re.search(r'code_challenge=([\w-]+)', text).group(1)
    assert 'Authorize' in call(team, f'/auth/authorize?code_challenge={challenge}')
    call(team, '/api/v1/auth/authorize', {'code_challenge': challenge}, ANN)
    text, _ = child.communicate(timeout=60)
    assert child.returncode == 0, text
    assert 'ann' in text, text
    world.published('api', 'info').ends(0).shows('ann')
    world.published('status').ends(0).shows('No existing clusters')
    # Our command line finds the session where the published one keeps it.
    world.ours('api', 'info').ends(0).shows('ann')
    world.published('api', 'logout').ends(0)


@pytest.mark.skipif(RELEASE >= (0, 13), reason='later releases wait at the server, browser or not')
def test_a_token_is_pasted_where_there_is_no_browser(world, team):
    ann(team)
    child = world.popen(['sky', 'api', 'login', '-e', team.url], stdin=subprocess.PIPE)
    assert 'Paste this' in call(team, '/token')
    session = json.loads(call(team, '/api/v1/auth/session', None, ANN, method='POST'))
    text, _ = child.communicate(session['token'] + '\n', timeout=PATIENCE)
    assert child.returncode == 0 and f'{team.url}/token' in text, text
    world.published('api', 'info').ends(0).shows('ann')


def test_completion(world, team):
    world.extra.update(SKYPILOT_API_SERVER_ENDPOINT=team.url, SKYPILOT_SERVICE_ACCOUNT_TOKEN=team.admin)
    world.ours('launch', '-y', '-d', '-c', 'complete-me', 'true').ends(0)
    for kind, typed, needle in (('cluster_name', 'comp', 'complete-me'), ('api_request', '', '-')):
        names = json.loads(call(team, f'/api/completion/{kind}?incomplete={typed}', None, f'Bearer {team.admin}'))
        assert any(needle in name for name in names), names
    for kind in ('storage_name', 'volume_name'):
        assert json.loads(call(team, f'/api/completion/{kind}?incomplete=', None, f'Bearer {team.admin}')) == []
