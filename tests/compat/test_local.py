"""The published command line finds and stops our local server, and says in one sentence what it cannot do."""

import http.server
import json
import threading

import pytest
from world import RELEASE, Team, wait_for

NOT_YET = r'this server does not support `\S+` yet'

REFUSED = [
    'jobs launch -y -n a true',
    'jobs cancel -y 1',
    'jobs logs 1 --no-follow',
    'serve logs a 1 --no-follow',
    'serve down -y a',
    'local up',
]
if RELEASE >= (0, 13):
    REFUSED.append('logs --hook stop a')


def test_a_local_server_is_found_and_stopped(served):
    """It looks for the command line of the official server; ours carries the same words."""
    served.published('api', 'info').ends(0).shows('HEALTHY', served.url)
    served.published('api', 'status').ends(0).hides('not running')
    served.published('api', 'stop').ends(0)
    wait_for(lambda: 'sky.server.server' not in ' '.join(commands(served)), 'the end of the server')
    # Our own command starts it again, and nothing is lost.
    served.ours('status').ends(0)


def commands(world):
    for pid in world.processes():
        try:
            with open(f'/proc/{pid}/cmdline', encoding='utf-8') as file:
                yield file.read().replace('\0', ' ')
        except OSError:
            pass


def test_what_the_server_does_not_do_is_one_sentence(served):
    listed = [
        ('jobs queue', 'No in-progress managed jobs'),
        ('jobs pool status', 'No existing pools'),
        ('serve status', 'No existing services'),
        ('storage ls', r'(?i)no (existing )?storage'),
        ('volumes ls', r'(?i)no (existing )?volumes'),
    ]
    for words, shown in listed:
        served.published(*words.split()).ends(0).shows(shown).hides('Traceback')
    for words in REFUSED:
        served.published(*words.split()).shows(NOT_YET).hides('Traceback')


def test_pools_of_hosts(served):
    """Without any, the server says where they are named."""
    served.published('ssh', 'up').shows(r'there are no pools in').hides('Traceback')
    words = ['gpus', 'list'] if RELEASE >= (0, 12) else ['show-gpus']
    served.published(*words, '--infra', 'ssh').hides('Traceback')


class Peer(http.server.BaseHTTPRequestHandler):
    """A server of another time. A newer one has dropped what we speak."""
    api = '62'

    def do_GET(self):
        too_new = int(self.api) > 62
        if too_new and self.path != '/api/health':
            self.answer(400, {'error': 'version_mismatch', 'message': 'this server speaks API 90 to 99; upgrade your client'})
        else:
            self.answer(200, {'status': 'healthy', 'api_version': self.api, 'version': '0.99.0', 'commit': 'x'})

    do_POST = do_GET

    def answer(self, status, value):
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header('X-SkyPilot-API-Version', self.api)
        self.send_header('X-SkyPilot-Version', '0.99.0' if int(self.api) > 62 else '0.9.0')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(params=['10', '99'])
def other(request):
    handler = type('Other', (Peer,), {'api': request.param})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield request.param, f'http://localhost:{server.server_port}'
    server.shutdown()


def test_our_client_with_servers_of_other_times(world, other):
    """One sentence from `status`; `api info` says it of an old one, and shows a new one as it is."""
    api, url = other
    old = api == '10'
    sentence = r'is too old: it speaks API version 10' if old else r'the server is too new for this program: it no longer speaks API version 62'
    ran = world.ours('status', SKYPILOT_API_SERVER_ENDPOINT=url).ends(1).shows(sentence)
    assert len(sentences(ran)) == 1, ran.text
    info = world.ours('api', 'info', SKYPILOT_API_SERVER_ENDPOINT=url).ends(1 if old else 0).shows(sentence if old else 'HEALTHY')
    assert not old or len(sentences(info)) == 1, info.text


def sentences(ran):
    """What a command printed besides what to do next."""
    return [line for line in ran.text.strip().splitlines() if 'Hint:' not in line]


OTHER_TIME = """
import sys
from sky.server import constants, rest
if sys.argv[1] == 'older':
    rest._session.headers[constants.API_VERSION_HEADER] = '10'
else:
    constants.MIN_COMPATIBLE_API_VERSION = 90
from sky.client.cli import command
command.cli(['status'])
"""


@pytest.mark.parametrize('time,sentence', [
    ('older', r'this server speaks API 24 to 62 \(SkyPilot 0\.11\.0 to 0\.14\.1\); your client is older: upgrade it'),
    ('newer', r'(?i)not compatible|too old|outdated|upgrade'),
])
def test_our_server_with_published_clients_of_other_times(world, time, sentence):
    """A client that claims another version is told in words. (Of the local server it says to start it again.)"""
    team = Team(world)
    world.extra.update(SKYPILOT_API_SERVER_ENDPOINT=team.url, SKYPILOT_SERVICE_ACCOUNT_TOKEN=team.admin)
    world.run(['python', '-c', OTHER_TIME, time]).ends(1).shows(sentence).hides('Traceback')
