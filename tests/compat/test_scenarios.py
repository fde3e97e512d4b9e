"""The same scenarios with every client: outputs' essentials and exit codes are the same."""

import json
import os
import subprocess
import sys

import pytest
from scenarios import SCENARIOS
from world import HERE, PATIENCE, RELEASE, ROOT, Ran, binary, plain

OUR_SDK = str(ROOT / 'sdk' / 'python')

COMMAND_LINES = {'published-cli': 'published', 'our-cli': 'ours'}
SDKS = {
    'published-sdk': ([], None),
    'published-sdk-async': (['--async-sdk'], None),
    'our-sdk': ([], OUR_SDK),
    'our-sdk-async': (['--async-sdk'], OUR_SDK),
}


class Driver:
    """A process with an SDK in it; one for a scenario, because the published one takes seconds to start."""

    def __init__(self, world, options, path):
        tools = world.cwd / 'tools'
        tools.mkdir()
        (tools / 'sky').symlink_to(binary())
        env = world.env()
        env['PATH'] = f'{tools}{os.pathsep}{env["PATH"]}'
        if path:
            env['PYTHONPATH'] = path
        self.child = subprocess.Popen([sys.executable, str(HERE / 'sdk_driver.py'), *options],
                                      cwd=world.cwd,
                                      env=env,
                                      stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT,
                                      text=True)

    def run(self, words):
        self.child.stdin.write(json.dumps(words) + '\n')
        self.child.stdin.flush()
        lines = []
        for line in self.child.stdout:
            if line.startswith('=> '):
                return Ran(['sdk', *words], int(line.split()[1]), plain(''.join(lines)))
            lines.append(line)
        raise AssertionError(f'the SDK ended: {"".join(lines)}')

    def close(self):
        self.child.stdin.close()
        self.child.wait(timeout=PATIENCE)


@pytest.mark.parametrize('client', [*COMMAND_LINES, *SDKS])
@pytest.mark.parametrize('scenario', SCENARIOS)
def test_scenario(served, scenario, client):
    driver = Driver(served, *SDKS[client]) if client in SDKS else None
    for step in SCENARIOS[scenario]:
        if step.only and client not in step.only:
            continue
        if client == 'published-cli' and RELEASE < step.since:
            continue
        if driver:
            ran = driver.run(step.words)
        else:
            ran = getattr(served, COMMAND_LINES[client])(*step.words)
        ran.ends(step.codes.get(client, step.code)).shows(*step.shows)
        # A trace is never the way to tell a user.
        ran.hides('Traceback')
    if driver:
        driver.close()
