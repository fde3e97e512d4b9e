"""What our pickles become in the published client: its own classes, with their attributes."""

import subprocess
import sys

PROGRAM = '''
import sky
from sky import clouds, exceptions
from sky.client import sdk
job, handle = sdk.stream_and_get(sdk.launch(sky.Task(run='true'), cluster_name='o'))
assert job == 1, job
assert type(handle).__name__ == 'CloudVmRayResourceHandle', handle
assert handle.get_cluster_name() == 'o' and handle.launched_nodes == 1
assert handle.head_ip.startswith('127.'), handle.head_ip
resources = handle.launched_resources
assert str(resources.infra.formatted_str()) == 'Local', resources.infra
assert str(resources).startswith('Local(cpus='), str(resources)
assert resources.get_cost(3600) == 0
cloud = resources.cloud
for other in (clouds.AWS(), clouds.GCP(), clouds.Kubernetes()):
    assert not cloud.is_same_cloud(other) and not other.is_same_cloud(cloud)
record = sdk.get(sdk.status(['o']))[0]
assert record['status'] == sky.ClusterStatus.UP and record['handle'].head_ip == handle.head_ip
assert record['resources_str'].startswith('1x(')

def raises(kind, call):
    try:
        sdk.stream_and_get(call())
    except kind as error:
        return error
    raise AssertionError(f'no {kind}')

raises(exceptions.ClusterDoesNotExist, lambda: sdk.queue('nope'))
raises(exceptions.InvalidClusterNameError, lambda: sdk.queue('../x'))
sdk.get(sdk.stop('o'))
down = raises(exceptions.ClusterNotUpError, lambda: sdk.queue('o'))
assert down.cluster_status == sky.ClusterStatus.STOPPED, down.cluster_status
assert sdk.get(sdk.status(['o']))[0]['handle'].cached_external_ips is None
refused = raises(exceptions.ResourcesUnavailableError,
                 lambda: sdk.launch(sky.Task(run='true', resources=sky.Resources(accelerators='H100:8')), cluster_name='p'))
assert refused.failover_history == [] and refused.no_failover is False
from sky import jobs
raises(exceptions.NotSupportedError, lambda: jobs.cancel(all=True))
report = sdk.get(sdk.cost_report())
assert report[0]['name'] == 'o' and report[0]['total_cost'] == 0 and report[0]['resources'].get_cost(10) == 0
try:
    sdk.validate(sky.Dag())
except Exception as error:
    assert 'task' in str(error).lower(), error
print('all is well')
'''


def test_objects(served):
    program = served.file('program.py', PROGRAM)
    ran = served.run([sys.executable, str(program)])
    ran.ends(0).shows('all is well')


def test_goldens_are_read_by_the_client():
    """The bytes that the unit tests compare with are what the client reads."""
    code = ('import base64, json, pathlib, pickle, sys\n'
            'for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):\n'
            '    value = pickle.loads(base64.b64decode(json.loads(path.read_text())["base64"]))\n'
            '    print(path.stem, type(value).__name__)\n')
    from world import HERE
    done = subprocess.run([sys.executable, '-c', code, str(HERE / 'captures' / 'handmade')],
                          capture_output=True,
                          text=True,
                          check=False,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    assert 'handle-aws-up CloudVmRayResourceHandle' in done.stdout, done.stdout
    assert 'resources-aws-self-priced Resources' in done.stdout, done.stdout
