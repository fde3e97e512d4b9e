"""Requests that outlive their client, as the published command line sees them."""

import signal

from world import first, plain, wait_for

REQUEST = r'([0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{8})'


def test_requests_are_submitted_listed_and_followed(served):
    """`--async` in a loop, then `api status` and `api logs` by the beginning of an id."""
    requests = []
    for number in range(3):
        ran = served.published('launch', '-y', '--async', '-c', f'x{number}', f'echo number {number}').ends(0)
        requests.append(first(REQUEST, ran))
    for request in requests:
        served.published('api', 'logs', request[:8]).ends(0).shows(r'Job submitted, ID: 1')
    served.published('api', 'status', '-a', '-l', '10').ends(0).shows('sky.launch', 'SUCCEEDED')
    served.published('api', 'logs', 'ffffffff').ends(1).shows('not found').hides('Traceback')
    served.published('logs', 'x2', '1').ends(0).shows('number 2')
    served.published('api', 'cancel', '-y', requests[0]).ends(0)


def test_ctrl_c_during_a_launch_detaches(served):
    """The launch goes on, the client says how to come back, and `api cancel` ends it."""
    launch = served.popen(['sky', 'launch', '-y', '-c', 'y', '--num-nodes', '24', 'sleep 600'])
    seen = ''
    for line in launch.stdout:
        seen += line
        if 'Launching on' in line:
            break
    launch.send_signal(signal.SIGINT)
    rest, _ = launch.communicate(timeout=60)
    text = plain(seen + rest)
    assert launch.returncode != 0, text
    assert 'sky api logs' in text and 'sky api cancel' in text, text
    request = first(REQUEST, served.ours('api', 'status', '-a'))
    served.published('api', 'cancel', '-y', request).ends(0)
    wait_for(lambda: served.ours('api', 'status', '-a', request).text.count('CANCELLED')
             or served.ours('api', 'status', '-a', request).text.count('SUCCEEDED'), 'the end of the launch')
    served.published('down', '-y', 'y').ends(0)


def test_ctrl_c_during_logs_ends_the_follower_only(served):
    served.ours('launch', '-y', '-d', '-c', 'z', 'echo begun; sleep 600').ends(0)
    logs = served.popen(['sky', 'logs', 'z', '1'])
    for line in logs.stdout:
        if 'begun' in line:
            break
    logs.send_signal(signal.SIGINT)
    logs.communicate(timeout=60)
    served.ours('queue', 'z').shows('RUNNING')
