"""The command line on top of a Python SDK named `sky`: the published one, or ours.

Reads JSON lists of words, one a line: those that both command lines take, as far as the scenarios use them. Calls the SDK,
prints what the scenarios look for, and ends each with a line `=> CODE`: the exit code of the job, or 1 after an error.
"""

import argparse
import asyncio
import importlib
import json
import sys

import sky


class Sync:
    """Calls of the synchronous SDK."""

    def __init__(self):
        self.sdk = importlib.import_module('sky.client.sdk')

    def call(self, name, *args, **kwargs):
        return self.sdk.stream_and_get(getattr(self.sdk, name)(*args, **kwargs))

    def tail(self, *args, **kwargs):
        return self.sdk.tail_logs(*args, **kwargs)


class Async:
    """The same calls of the asynchronous one: each in a loop of its own."""

    def __init__(self):
        self.sdk = importlib.import_module('sky.client.sdk_async')

    def call(self, name, *args, **kwargs):
        return asyncio.run(getattr(self.sdk, name)(*args, **kwargs))

    def tail(self, *args, **kwargs):
        return asyncio.run(self.sdk.tail_logs(*args, **kwargs))


def word(status):
    return getattr(status, 'value', status)


def field(record, name):
    return record[name] if hasattr(record, '__getitem__') else getattr(record, name)


def parse(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument('verb')
    parser.add_argument('-y', action='store_true')
    parser.add_argument('-c', dest='cluster')
    parser.add_argument('-d', dest='detach', action='store_true')
    parser.add_argument('-i', dest='idle', type=int)
    parser.add_argument('--cancel', action='store_true')
    parser.add_argument('--no-follow', action='store_true')
    parser.add_argument('--gpus')
    parser.add_argument('--infra')
    parser.add_argument('-a', '--all', action='store_true')
    parser.add_argument('words', nargs='*')
    return parser.parse_intermixed_args(argv)


def launch(calls, args):
    resources = sky.Resources(accelerators=args.gpus) if args.gpus else sky.Resources()
    task = sky.Task(name='sky-cmd', run=args.words[0])
    task.set_resources(resources)
    job, handle = calls.call('launch', task, cluster_name=args.cluster)
    print(f'Cluster launched: {args.cluster}; Job submitted, ID: {job}; handle {handle is not None}')
    return 0 if args.detach else calls.tail(args.cluster, job, follow=True)


def execute(calls, args):
    job, _ = calls.call('exec', sky.Task(name='sky-cmd', run=args.words[1]), cluster_name=args.words[0])
    print(f'Job submitted, ID: {job}')
    return 0 if args.detach else calls.tail(args.words[0], job, follow=True)


def queue(calls, args):
    for job in calls.call('queue', args.words[0]):
        print(field(job, 'job_id'), field(job, 'job_name'), word(field(job, 'status')))


def logs(calls, args):
    return calls.tail(args.words[0], int(args.words[1]), follow=not args.no_follow)


def cancel(calls, args):
    ids = [int(word) for word in args.words[1:]]
    calls.call('cancel', args.words[0], all=args.all, job_ids=ids or None)
    print('Cancelled job ID(s):', *ids)


def status(calls, args):
    found = calls.call('status', args.words or None)
    for record in found:
        minutes = field(record, 'autostop')
        infra = field(record, 'cloud')
        print(field(record, 'name'), infra, word(field(record, 'status')), f'{minutes}m' if minutes >= 0 else '-')
    if not found:
        print('No existing clusters.')


def autostop(calls, args):
    calls.call('autostop', args.words[0], -1 if args.cancel else args.idle)
    print('autostop is set')


def of_cluster(verb):
    def run(calls, args):
        calls.call(verb, args.words[0])
        print(f'{verb} {args.words[0]} done')
    return run


def cost_report(calls, args):
    for record in calls.call('cost_report'):
        print(field(record, 'name'), field(record, 'total_cost'))


def check(calls, args):
    print(calls.call('check', None, False))


VERBS = {
    'launch': launch,
    'exec': execute,
    'queue': queue,
    'logs': logs,
    'cancel': cancel,
    'status': status,
    'autostop': autostop,
    'stop': of_cluster('stop'),
    'start': of_cluster('start'),
    'down': of_cluster('down'),
    'cost-report': cost_report,
    'check': check,
}


def run(calls, words):
    args = parse(words)
    try:
        return VERBS[args.verb](calls, args) or 0
    except Exception as error:  # pylint: disable=broad-except
        print(f'{type(error).__name__}: {error}')
        return 1


def main():
    calls = Async() if '--async-sdk' in sys.argv else Sync()
    for line in sys.stdin:
        code = run(calls, json.loads(line))
        print(f'=> {code}', flush=True)


if __name__ == '__main__':
    main()
