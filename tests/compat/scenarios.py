"""The table of scenarios: what is typed, how it ends, and what every client shows.

A step is (words, exit code, patterns). The words are those of both command lines; `sdk_driver.py` takes them for the SDKs.
Where clients end differently for a reason, `codes` says so (see docs/compatibility.md); `since` is the first release of the
published command line that has the words.
"""

import dataclasses
from typing import Dict, List, Tuple

COMMAND_LINES = ('published-cli', 'our-cli')


@dataclasses.dataclass(frozen=True)
class Step:
    words: List[str]
    code: int
    shows: Tuple[str, ...] = ()
    codes: Dict[str, int] = dataclasses.field(default_factory=dict)
    only: Tuple[str, ...] = ()
    since: Tuple[int, int] = (0, 0)


def step(words: str, command: str = '', code: int = 0, shows: Tuple[str, ...] = (), codes=None, only=(), since=(0, 0)) -> Step:
    argv = words.split() + ([command] if command else [])
    return Step(argv, code, shows, codes or {}, only, since)


JOBS = [
    step('launch -y -c a', 'echo "hello $((40 + 2))"', 0, (r'hello 42', r'Job submitted, ID: 1\b', r'Cluster launched: a')),
    step('exec a', 'echo out; echo err >&2; exit 7', 100, (r'\bout\b', r'\berr\b', r'Job submitted, ID: 2\b')),
    step('queue a', '', 0, (r'(?m)^\s*1\b.*SUCCEEDED', r'(?m)^\s*2\b.*FAILED')),
    step('logs a 1', '', 0, (r'hello 42', r'SUCCEEDED')),
    step('logs a 2 --no-follow', '', 100, (r'\bout\b', r'FAILED')),
    step('logs --status a 1', '', 0, (r'1.*SUCCEEDED',), only=COMMAND_LINES),
    step('logs --provision a --no-follow', '', 0, (r'Launching on Local', r'Instance is up'), only=COMMAND_LINES),
    step('logs --sync-down a 1', '', 0, (r'sky_logs/',), only=COMMAND_LINES),
    step('exec -d a', 'sleep 600', 0, (r'Job submitted, ID: 3\b',)),
    step('cancel -y a 3', '', 0, (r'3',)),
    step('queue a', '', 0, (r'(?m)^\s*3\b.*CANCELLED',)),
    step('logs a 3', '', 103, ()),
    step('logs a 99', '', 102, ()),
    step('down -y a', '', 0, (r'\ba\b',)),
    step('status', '', 0, (r'No existing clusters',)),
]

LIFE = [
    step('check', '', 0, (r'[Ll]ocal',)),
    step('launch -y -d -c b', 'true', 0, (r'Job submitted, ID: 1\b',)),
    step('status', '', 0, (r'(?m)^b\b.*Local.*UP',)),
    step('status --ip b', '', 0, (r'(?m)^127\.',), only=COMMAND_LINES),
    step('autostop -y -i 10 b', '', 0, (r'(?i)auto',)),
    step('status', '', 0, (r'(?m)^b\b.*UP.*\b10m\b',)),
    step('autostop -y --cancel b', '', 0, (r'(?i)auto',)),
    step('status', '', 0, (r'(?m)^b\b.*UP\s+-',)),
    step('stop -y b', '', 0, (r'\bb\b',)),
    step('status', '', 0, (r'(?m)^b\b.*STOPPED',)),
    step('exec b', 'true', 1, (r'cluster `b` is stopped',)),
    step('start -y b', '', 0, (r'\bb\b',)),
    step('exec b', 'echo again', 0, (r'\bagain\b',)),
    step('cost-report', '', 0, (r'(?m)^\s*b\b',)),
    step('gpus list', '', 0, (r'(?m)^H100\b',), only=COMMAND_LINES, since=(0, 12)),
    step('gpus list H100', '', 0, (r'(?m)^H100\b.*us-east',), only=COMMAND_LINES, since=(0, 12)),
    step('show-gpus', '', 0, (r'(?m)^H100\b',), only=('published-cli',)),
    step('down -y b', '', 0, (r'\bb\b',)),
    step('cost-report', '', 0, (r'(?m)^\s*b\b',)),
]

NO_CLUSTER = r'cluster `nope` does not exist'

ERRORS = [
    step('exec nope', 'true', 1, (NO_CLUSTER,)),
    # Both command lines say in words that there is none, and have looked at other clusters too.
    step('queue nope', '', 1, (r'nope',), codes={'published-cli': 0}),
    step('logs nope 1', '', 1, (NO_CLUSTER,)),
    # A wrong name is a wrong use of the published command.
    step('cancel -y nope 1', '', 1, (NO_CLUSTER,), codes={'published-cli': 2}),
    step('launch -y -c c --gpus H100:8', 'true', 1, (r'no enabled infra offers',)),
    step('launch -y -c c --infra aws', 'true', 1, (r'aws', r'not enabled'), only=COMMAND_LINES),
    step('launch -y -d -c e --infra ssh/local', 'true', 0, (r'Launching on Local',), only=COMMAND_LINES),
    step('down -y e', '', 0, (), only=COMMAND_LINES),
    step('launch -y -c Bad_Name!', 'true', 1, (r'Bad_Name!',), only=COMMAND_LINES),
    step('status', '', 0, (r'No existing clusters',)),
]

SCENARIOS = {'jobs': JOBS, 'life': LIFE, 'errors': ERRORS}
