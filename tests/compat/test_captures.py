"""Recorded conversations of the official pair, replayed against our server: every answer is equal in shape.

Shape: status, the headers that clients read, and for JSON the keys and the types behind them, also inside the documents
that travel as text. What differs on purpose stands in `ACCEPTED`, with the reason (docs/compatibility.md says more).
"""

import json
import re
import urllib.error
import urllib.parse
import urllib.request

from world import HERE

CAPTURES = HERE / 'captures'
VERSIONS = {'X-SkyPilot-API-Version': '62', 'X-SkyPilot-Version': '0.14.1'}
# In this order: the ones before make what those behind ask for.
CONVERSATIONS = [
    'api-info', 'check', 'launch', 'exec', 'queue', 'status', 'logs-status', 'cost-report', 'autostop', 'cancel', 'stop', 'start',
    'api-status', 'api-status-all', 'down', 'exec-no-such-cluster', 'launch-infeasible', 'api-logs-unknown', 'gpus-list',
    'api-cancel-finished'
]
# Conversation and place (`*` is any) -> why it differs.
ACCEPTED = {
    ('status', '/users/me/workspace'): 'here everybody has a workspace; the official server knows nobody without log-in',
    ('*', 'status/*'): 'the recorded server had no controllers and failed these queries; here there are none to list',
    ('*', '*/credentials*'): 'nodes of this machine have no SSH server',
    ('*', '*/region'): 'this machine has no regions',
    ('*', '*/owner*'): 'the identity at a cloud; this machine has none',
    ('*', '*/node_names'): 'names that a cloud gives',
    ('*', '*/storage_mounts_metadata'): 'a pickled None that no client reads',
    ('*', '*/config_hash'): 'optional, of the official backend',
    ('*', '*/last_creation_*'): 'optional; the text of a task may hold secrets',
    ('*', '*/metadata*'): 'optional',
    ('*', '*/labels*'): 'optional',
    ('*', '*/links*'): 'optional',
    ('*', '*/priority*'): 'optional',
    ('*', '*/accelerators'): 'optional; here only where there are any',
    ('*', '*/pid'): 'a request is not a process here',
    ('*', '*/resources_str_full'): 'optional in costs',
    ('*', '*/[]/cpus'): 'optional in costs',
    ('*', '*/[]/memory'): 'optional in costs',
    ('*', '*/last_event'): 'optional in costs',
    ('*', '*/workspace'): 'optional in costs',
    ('logs-status', '*/3'): 'the recorded cluster had more jobs',
    ('check', '*AWS*'): 'other infra',
    ('*', '*/external_proxy_auth_enabled'): 'shown by the dashboard only',
    ('*', '*/ingress_basic_auth_enabled'): 'shown by the dashboard only',
    ('*', '*/telemetry_enabled'): 'shown by the dashboard only',
    ('*', '*/restrict_config_to_admins'): 'shown by the dashboard only',
    ('*', '*/latest_version'): 'this server does not look for newer ones of itself',
}


def accepted(conversation, place, used):
    """Whether the list has this difference; notes which entry it is."""
    for entry in ACCEPTED:
        where, pattern = entry
        if where in ('*', conversation) and re.fullmatch(re.escape(pattern).replace(r'\*', '.*'), place):
            used.add(entry)
            return True
    return False


def call(url, exchange, ids):
    query = [(key, ids.get(value, value)) for key, value in exchange.get('query') or []]
    body = exchange.get('request_body')
    headers = dict(VERSIONS)
    data = None
    if body is not None:
        text = json.dumps(body)
        # The tasks asked for a place that is not here.
        text = re.sub(r'\\n(  )?\s*infra: aws[\w/-]*', '', text).replace('resources:\\n  cpus: 2+', 'resources:\\n  cpus: 1+')
        for old, new in ids.items():
            text = text.replace(old, new)
        data = text.encode()
        headers['Content-Type'] = 'application/json'
    address = url + exchange['path'] + ('?' + urllib.parse.urlencode(query) if query else '')
    request = urllib.request.Request(address, data=data, headers=headers, method=exchange['method'])
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read().decode()


def document(value):
    """The document in a text, where there is one."""
    if isinstance(value, str) and value[:1] in ('{', '['):
        try:
            return json.loads(value)
        except ValueError:
            pass
    return value


def kind(value):
    if isinstance(value, bool):
        return 'bool'
    return {int: 'number', float: 'number', str: 'text', list: 'list', dict: 'object', type(None): 'null'}[type(value)]


def differences(theirs, ours, place):
    theirs, ours = document(theirs), document(ours)
    if theirs is None or theirs == 'null':
        return
    if kind(theirs) != kind(ours):
        yield place, f'{kind(theirs)} is {kind(ours)}: {str(theirs)[:80]} / {str(ours)[:80]}'
    elif isinstance(theirs, dict):
        for key, value in theirs.items():
            if key not in ours:
                yield f'{place}/{key}', 'is missing'
            else:
                yield from differences(value, ours[key], f'{place}/{key}')
    elif isinstance(theirs, list) and theirs:
        if ours:
            yield from differences(theirs[0], ours[0], f'{place}/[]')


def test_replay(served):
    ids = {}
    found = []
    used = set()
    for conversation in CONVERSATIONS:
        for path in sorted((CAPTURES / conversation).glob('*.json')):
            exchange = json.loads(path.read_text())
            status, headers, text = call(served.url, exchange, ids)
            recorded = {key.lower(): value for key, value in exchange['response_headers'].items()}
            where = f'{conversation}/{path.name}'
            # An accepted POST names its request: later exchanges ask for it.
            if exchange['path'] not in ('/api/get', '/api/stream', '/api/status', '/api/health', '/validate'):
                if recorded.get('x-skypilot-request-id') and headers.get('x-skypilot-request-id'):
                    ids[recorded['x-skypilot-request-id']] = headers['x-skypilot-request-id']
            ours = text
            if 'response_body' in exchange:
                ours = json.loads(text)
            if status != exchange['status']:
                if not accepted(conversation, exchange['path'], used) and not accepted(conversation, f'status/{exchange["status"]}', used):
                    found.append(f'{where}: status {exchange["status"]} is {status}: {text[:200]}')
                continue
            for name in ('content-type', 'x-skypilot-api-version', 'x-skypilot-version'):
                if recorded.get(name) and name == 'content-type':
                    same = headers.get(name, '').split(';')[0] == recorded[name].split(';')[0]
                else:
                    same = headers.get(name) == recorded.get(name) or not recorded.get(name)
                if not same:
                    found.append(f'{where}: header {name} {recorded.get(name)} is {headers.get(name)}')
            if 'response_body' in exchange:
                for place, what in differences(exchange['response_body'], ours, 'body'):
                    if not accepted(conversation, place, used):
                        found.append(f'{where}: {place} {what}')
    assert not found, '\n' + '\n'.join(found)
    # The list says no more than what is so.
    unused = sorted(set(ACCEPTED) - used)
    assert not unused, '\n' + '\n'.join(map(str, unused))
