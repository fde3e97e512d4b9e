"""The published command line finds and stops our local server, and says in one sentence what it cannot do."""

import http.server
import json
import threading

import pytest
from world import RELEASE, wait_for

NOT_YET = r'this server does not support `\S+` yet'

REFUSED = [
    'jobs launch -y -n a true',
    'jobs cancel -y 1',
    'jobs logs 1 --no-follow',
    'serve logs a 1 --no-follow',
    'serve down -y a',
    'local up',
    'ssh up',
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


class Peer(http.server.BaseHTTPRequestHandler):
    """A server of another time."""
    api = '62'

    def do_GET(self):
        body = json.dumps({'status': 'healthy', 'api_version': self.api, 'version': '0.99.0', 'commit': 'x'}).encode()
        self.send_response(200)
        self.send_header('X-SkyPilot-API-Version', self.api)
        self.send_header('X-SkyPilot-Version', '0.99.0' if int(self.api) > 62 else '0.9.0')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize('api,code', [('10', 1), ('99', 0)])
def test_servers_of_other_times(world, api, code):
    """Ours speaks to a newer one, and refuses one that is too old in a sentence."""
    handler = type('Other', (Peer,), {'api': api})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        ran = world.ours('api', 'info', SKYPILOT_API_SERVER_ENDPOINT=f'http://localhost:{server.server_port}')
        ran.ends(code).hides('panicked')
        if code:
            ran.shows(r'is too old: it speaks API version 10')
    finally:
        server.shutdown()
