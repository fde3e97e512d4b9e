"""The server behind `aws`: moto, with what EC2 does and moto does not.

- An instance is a host: it boots at the address that the API tells, lets `ubuntu` and `ec2-user` in with its key
  pair, and runs its user data (a script, or a cloud-config with write_files, ssh_authorized_keys, runcmd).
- Pending, stopping and shutting-down take time. A host that turns itself off is stopped or terminated, as its
  InstanceInitiatedShutdownBehavior says.
- A client token used again gives the same instances, also while no other call shows them. Image, type and key pair
  must exist. A security group in use cannot be deleted, and only its ports are reached from outside.
- Not here: instance metadata, quotas (inject VcpuLimitExceeded), a new public address after a stop.

`aws` describes the faults; this file takes them and the other orders under /testbed/.
"""

import base64, copy, io, json, os, re, select, shlex, subprocess, sys, threading, time, urllib.parse, uuid
from collections import deque
from pathlib import Path

os.environ["MOTO_ENABLE_AMI_VALIDATION"] = os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "true"

import yaml
import moto.ec2.models.elastic_network_interfaces as interfaces
import moto.ec2.utils as filters
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instances import Instance, StateReason
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

NET, PORT = os.environ["TESTBED_NET"], int(os.environ["TESTBED_AWS_PORT"])
PENDING = float(os.environ.get("TESTBED_AWS_PENDING", "1"))
BOOTS = os.environ["TESTBED_BOOT"] != "0"
CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
USERS = ["ubuntu", "ec2-user"]
calling = threading.local()  # the action that this thread serves, and for how long what it makes is hidden


def hosts(*words, stdin=None):
    """One verb of `hosts`."""
    command = [str(Path(__file__).with_name("hosts")), *map(str, words)]
    done = subprocess.run(command, input=stdin or "", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print("hosts", *words[:2], done.stdout, file=sys.stderr, flush=True)
    return done.stdout


class Machine:
    """The host of an instance. Its lock keeps boot, stop and removal one after the other."""

    taken, guard = set(), threading.Lock()

    def __init__(self, instance):
        self.instance, self.lock, self.log = instance, threading.Lock(), None
        with Machine.guard:
            self.number = next(n for n in range(1, 200) if n not in Machine.taken)
            Machine.taken.add(self.number)
        self.address = f"{NET}.{10 + self.number}"

    def give_address(self):
        """What moto makes up belongs to other people's machines."""
        for card in self.instance.nics.values():
            card.private_ip_address = self.address
            for each in (each for each in card.private_ip_addresses or [] if each.get("Primary")):
                each["PrivateIpAddress"] = self.address
            if card.public_ip:
                card.public_ip = self.address

    def boot(self):
        with self.lock:
            if not BOOTS or self.instance.state != "running":
                return
            key = Path(os.environ["TESTBED_DIR"], f"{self.instance.id}.pub")
            pairs = self.instance.ec2_backend.key_pairs.values()
            key.write_text(next((p.public_key for p in pairs if p.key_name == self.instance.key_name), ""))
            users = [word for user in USERS for word in ("--user", user)]
            hosts("add", "--closed", *users, "--key", key, self.number)
            self.firewall()
            threading.Thread(target=self.watch, daemon=True).start()
        if self.instance.user_data and self.log is None:
            run, script = "cat >/run/user-data; chmod 700 /run/user-data; /run/user-data", self.instance.user_data.decode()
            self.log = hosts("exec", self.number, "sh", "-c", run, stdin=script_of(script))

    def again(self):
        with self.lock:
            if BOOTS and self.instance.state == "running":
                hosts("start", self.number)
                threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        """Waits until it is off, and does what EC2 does when it was turned off from within."""
        how = hosts("wait", self.number).strip()
        if how == "off" and self.instance.state == "running":
            ends = self.instance.instance_initiated_shutdown_behavior == "terminate"
            (Instance.terminate if ends else Instance.stop)(self.instance)
            code = "Client.InstanceInitiatedShutdown"
            self.instance.state_reason = StateReason(f"{code}: Instance initiated shutdown", code)

    def off(self):
        with self.lock:
            BOOTS and hosts("stop", self.number)

    def gone(self):
        with self.lock:
            BOOTS and hosts("drop", self.number)
        with Machine.guard:
            Machine.taken.discard(self.number)

    def firewall(self):
        ports = []
        for group in self.instance.security_groups or []:
            for rule in (rule for rule in group.ingress_rules if rule.ip_range):
                if str(rule.ip_protocol) == "-1":
                    ports.append("all")
                elif str(rule.ip_protocol) in ("tcp", "6"):
                    ports.append(f"{rule.from_port}-{rule.to_port}")
        hosts("firewall", self.number, *ports)


def script_of(data):
    """User data as a script."""
    if data.startswith("#!"):
        return data
    config = yaml.safe_load(data) or {}
    lines = ["#!/bin/sh"]
    for file in config.get("write_files") or []:
        path, text = shlex.quote(file["path"]), base64.b64encode(file.get("content", "").encode()).decode()
        mode = file.get("permissions", "0644")
        lines += [f"mkdir -p $(dirname {path})", f"echo {text} | base64 -d >{path}", f"chmod {mode} {path}"]
    for key in config.get("ssh_authorized_keys") or []:
        lines += [f"echo {shlex.quote(key)} >>/home/{user}/.ssh/authorized_keys" for user in USERS]
    for command in config.get("runcmd") or []:
        lines.append(command if isinstance(command, str) else shlex.join(map(str, command)))
    return "\n".join(lines) + "\n"


def become(instance, name):
    instance._state.name, instance._state.code = name, CODES[name]
    instance.since[name] = time.monotonic()


def pending(instance):
    """Seconds from the last time that it was made or started until it ran."""
    begun, ran = instance.since["pending"], instance.since.get("running", 0)
    return round((ran if ran > begun else time.monotonic()) - begun, 3)


def in_time(instance, through, then, *acts, first=()):
    """Through one state to the next: some acts, the time that EC2 takes, then others. Another order ends it."""
    become(instance, through)

    def work():
        for act in first:
            act()
        time.sleep(PENDING)
        if instance.state == through:
            become(instance, then)
            for act in acts:
                act()

    threading.Thread(target=work, daemon=True).start()


class Lives:
    """The life of an instance, in the place of moto's."""

    init, start, stop, terminate = Instance.__init__, Instance.start, Instance.stop, Instance.terminate

    def __init__(instance, *args, **options):
        instance.shown = time.monotonic() + getattr(calling, "unseen", 0)
        Lives.init(instance, *args, **options)
        instance.machine, instance.since = Machine(instance), {}
        instance.machine.give_address()
        in_time(instance, "pending", "running", instance.machine.boot)

    def started(instance):
        if instance.state in ("running", "pending"):
            return copy.copy(instance._state)
        if instance.state != "stopped":
            raise EC2ClientError("IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can be started.")
        before = Lives.start(instance)
        instance.machine.give_address()
        in_time(instance, "pending", "running", instance.machine.again)
        return before

    def stopped(instance):
        if instance.state in ("stopped", "stopping", "shutting-down", "terminated"):
            return copy.copy(instance._state)
        if instance.lifecycle == "spot":
            raise EC2ClientError("UnsupportedOperation", f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot Instance request.")
        before = Lives.stop(instance)
        in_time(instance, "stopping", "stopped", first=[instance.machine.off])
        return before

    def terminated(instance):
        if instance.state in ("shutting-down", "terminated"):
            return copy.copy(instance._state)
        before = Lives.terminate(instance)
        in_time(instance, "shutting-down", "terminated", first=[instance.machine.gone])
        return before


Instance.__init__, Instance.start = Lives.__init__, Lives.started
Instance.stop, Instance.terminate = Lives.stopped, Lives.terminated
filters.filter_dict_attribute_mapping["client-token"] = "client_token"
interfaces.random_public_ip = lambda *_: f"{NET}.254"  # nothing is there; give_address puts the right one

run_instances, delete_group, all_reservations = (
    EC2Backend.run_instances, EC2Backend.delete_security_group, EC2Backend.all_reservations)
asked, asking = {}, threading.Lock()


def run_once(backend, image_id, count, user_data, security_group_names, **options):
    token = options.get("client_token")
    wanted = [image_id, count, options.get("instance_type"), options.get("placement"), options.get("subnet_id")]
    with asking:
        if token and (backend.region_name, token) in asked:
            before, reservation = asked[backend.region_name, token]
            if before != wanted:
                raise EC2ClientError("IdempotentParameterMismatch", f"Arguments on this idempotent request are inconsistent with arguments used in previous request(s): {token}")
            return reservation
        if options.get("key_name"):
            backend.describe_key_pairs(key_names=[options["key_name"]])
        reservation = run_instances(backend, image_id, count, user_data, security_group_names, **options)
        if token:
            asked[backend.region_name, token] = wanted, reservation
        return reservation


def shown_reservations(backend, filters=None):
    """As calls see them: what was made a moment ago may not be there yet."""
    found, hides = all_reservations(backend, filters), getattr(calling, "action", None) not in (None, "RunInstances")
    for reservation in found:
        reservation.instances = [i for i in reservation.instances if not hides or i.shown <= time.monotonic()]
    return [reservation for reservation in found if reservation.instances]


def instances_of(backend):
    return [instance for reservation in all_reservations(backend) for instance in reservation.instances]


def delete_unused_group(backend, name=None, group_id=None):
    for instance in instances_of(backend):
        groups = [] if instance.state == "terminated" else instance.security_groups or []
        if any(group_id == g.id or name == g.name for g in groups):
            raise DependencyViolationError(f"resource {group_id or name} has a dependent object")
    return delete_group(backend, name, group_id)


def then_firewalls(change):
    def changed(backend, *args, **options):
        result = change(backend, *args, **options)
        for instance in instances_of(backend):
            with instance.machine.lock:  # a boot under way applies the rules itself
                if BOOTS and instance.state == "running":
                    instance.machine.firewall()
        return result

    return changed


EC2Backend.run_instances, EC2Backend.delete_security_group = run_once, delete_unused_group
EC2Backend.all_reservations = shown_reservations
for name in ("authorize_security_group_ingress", "revoke_security_group_ingress"):
    setattr(EC2Backend, name, then_firewalls(getattr(EC2Backend, name)))


class Faults:
    """What goes wrong on demand, and a record of all calls."""

    STATUS = {"InsufficientInstanceCapacity": 500, "InternalError": 500, "Unavailable": 503, "RequestLimitExceeded": 503}

    def __init__(self):
        self.lock, self.list, self.calls = threading.Lock(), [], deque(maxlen=10000)

    def add(self, fault):
        unknown = set(fault) - {"action", "region", "zone", "instance_type", "market", "code", "message", "status",
                                "lost", "unseen", "delay", "count"}
        if unknown or "action" not in fault or not fault.keys() & {"code", "lost", "unseen", "delay"}:
            raise ValueError(f"not a fault: {fault}")
        with self.lock:
            self.list.append({"count": 1, **fault})

    def strike(self, call):
        """The first fault that is about a call, which uses it up by one."""
        with self.lock:
            self.calls.append(call)
            meant = (f for f in self.list if all(f.get(key) in (None, "*", value) for key, value in call.items()))
            if fault := next(meant, None):
                if fault["count"] == 1:
                    self.list.remove(fault)
                fault["count"] = max(0, fault["count"] - 1)
            return fault


def describe(environ, body):
    """What a call is about."""
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    region, service = scope.groups() if scope else ("us-east-1", "unknown")
    is_form = "x-www-form-urlencoded" in environ.get("CONTENT_TYPE", "")
    form = dict(urllib.parse.parse_qsl(body.decode())) if is_form else {}
    target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    action = form.get("Action") or target or f"{service}:{environ['REQUEST_METHOD']}"
    call = {"service": service, "action": action, "region": region}
    if action == "RunInstances":
        zone, subnet = form.get("Placement.AvailabilityZone"), form.get("SubnetId") or form.get("NetworkInterface.1.SubnetId")
        backend = ec2_backends["123456789012"][region]
        if subnet and not zone:
            zone = next((s.availability_zone for s in backend.describe_subnets() if s.id == subnet), None)
        call |= {"zone": zone or f"{region}a", "instance_type": form.get("InstanceType"),
                 "market": form.get("InstanceMarketOptions.MarketType", "on-demand")}
    return call


def refusal(service, fault):
    """An error as the service's protocol has it."""
    code, message = fault["code"], fault.get("message", f"{fault['code']}, as the test asked")
    if service == "ssm":
        return "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
    error, xml = f"<Code>{code}</Code><Message>{message}</Message>", '<?xml version="1.0" encoding="UTF-8"?>\n'
    if service == "s3":
        return "application/xml", f"{xml}<Error>{error}</Error>"
    if service == "ec2":
        return "text/xml", f"{xml}<Response><Errors><Error>{error}</Error></Errors><RequestID>{uuid.uuid4()}</RequestID></Response>"
    return "text/xml", f"{xml}<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"


def all_instances():
    backends = [backend for regions in list(ec2_backends.values()) for backend in list(regions.values())]
    return [instance for backend in backends for instance in instances_of(backend)]


def interrupt(instance):
    instance.terminate()
    code = "Server.SpotInstanceTermination"
    instance._reason, instance.state_reason = code, StateReason(f"{code}: Spot instance termination", code)
    for request in instance.ec2_backend.spot_instance_requests.values():
        if request.instance is instance:
            request.state, request.status = "closed", "instance-terminated-no-capacity"


class Server:
    """Orders under /testbed/, faults, then moto."""

    def __init__(self):
        self.moto, self.faults = DomainDispatcherApplication(create_backend_app), Faults()

    def order(self, method, path, body):
        wanted = json.loads(body or b"null")
        if path == "faults":
            if method == "POST":
                self.faults.add(wanted)
            elif method == "DELETE":
                self.faults.list.clear()
            return self.faults.list
        if path == "calls":
            return list(self.faults.calls)
        if path == "instances":
            return [{"instance": i.id, "region": i.region_name, "host": i.machine.number, "address": i.machine.address,
                     "state": i.state, "pending": pending(i), "subnet": i.subnet_id, "public_ip": i.public_ip, "users": USERS,
                     "user_data_log": i.machine.log, "groups": [group.name for group in i.security_groups or []],
                     "tags": {tag["key"]: tag["value"] for tag in i.get_tags()}} for i in all_instances()]
        instance = next((i for i in all_instances() if i.id == wanted["instance"]), None)
        acts = {"interrupt": interrupt, "remove": Instance.terminate, "crash": lambda instance: instance.machine.off()}
        if instance is None or path not in acts:
            raise ValueError(f"no {path} of {wanted}")
        acts[path](instance)
        return {"instance": instance.id, "state": instance.state}

    def __call__(self, environ, reply):
        calling.action, calling.unseen = None, 0
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"].startswith("/testbed/"):
            try:
                status, out = "200 OK", self.order(environ["REQUEST_METHOD"], environ["PATH_INFO"][9:], body)
            except ValueError as e:
                status, out = "400 Bad Request", {"error": str(e)}
            reply(status, [("Content-Type", "application/json")])
            return [json.dumps(out).encode()]
        call = describe(environ, body)
        fault = self.faults.strike(call) or {}
        time.sleep(fault.get("delay", 0))
        if "code" in fault:
            kind, text = refusal(call["service"], fault)
            reply(f"{fault.get('status') or Faults.STATUS.get(fault['code'], 400)} Error", [("Content-Type", kind)])
            return [text.encode()]
        environ["wsgi.input"] = io.BytesIO(body)
        calling.action, calling.unseen = call["action"], fault.get("unseen", 0)
        answer = self.moto(environ, reply)
        if fault.get("lost"):
            environ["werkzeug.socket"].shutdown(2)
        return answer


def end_with(owner):
    """Ends with the process that the testbed is for."""
    try:
        select.select([os.pidfd_open(int(owner))], [], [])
    except ProcessLookupError:
        pass
    os._exit(0)


if __name__ == "__main__":
    if os.environ.get("TESTBED_OWNER"):
        threading.Thread(target=end_with, args=[os.environ["TESTBED_OWNER"]], daemon=True).start()
    make_server(f"{NET}.1", PORT, Server(), threaded=True, request_handler=MotoRequestHandler).serve_forever()
