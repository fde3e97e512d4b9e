"""What is to run: commands, files, variables, and what they need."""

from __future__ import annotations

import copy
import os
import re
from typing import Any, Iterable, Optional, Union

from .exceptions import InvalidTaskError, InvalidTaskYAMLError
from .resources import Resources

#: Entries of the first document of several.
HEADER = {"name", "execution", "primary_tasks", "termination_delay", "inter_connection"}
#: A source that is not a path of this machine.
_URI = re.compile(r"[A-Za-z0-9]+://")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
#: Characters of JSON text that YAML wants escaped.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

_Commands = Union[str, list[str], None]
_Wishes = Union[Resources, dict[str, Any], list[Resources], set[Resources], None]


class Task:
    """A task. All arguments are optional.

    ``setup`` and ``run`` are shell commands, one text or a list of lines; ``envs`` and ``secrets`` are variables of
    both; ``workdir`` is a directory of this machine (or ``{"url": …, "ref": …}`` of a Git repository) that is copied to
    ``~/sky_workdir``; ``file_mounts`` maps places on the nodes to files here or to URIs; ``resources`` is what a node
    must offer: one :class:`Resources`, a list in order of preference, or a set of equals.
    """

    def __init__(
        self,
        name: Optional[str] = None,
        *,
        setup: _Commands = None,
        run: _Commands = None,
        envs: Optional[dict[str, str]] = None,
        secrets: Optional[dict[str, str]] = None,
        workdir: Union[str, dict[str, Any], None] = None,
        num_nodes: Optional[int] = None,
        file_mounts: Optional[dict[str, Any]] = None,
        storage_mounts: Optional[dict[str, Any]] = None,
        volumes: Optional[dict[str, Any]] = None,
        resources: _Wishes = None,
        event_callback: Optional[str] = None,
    ) -> None:
        if callable(run):
            raise InvalidTaskError("`run` is a shell command, not a function")
        self.name = name
        self.setup = _script(setup)
        self.run = _script(run)
        self.workdir = workdir
        self.num_nodes = 1 if num_nodes is None else num_nodes
        self.event_callback = event_callback
        #: Entries of the YAML that have no attribute of their own.
        self.extra: dict[str, Any] = {}
        #: The text that the user wrote, where there was one.
        self.user_yaml: Optional[str] = None
        self._envs: dict[str, Any] = {}
        self._secrets: Any = {}
        self._file_mounts: dict[str, Any] = {**(file_mounts or {}), **(storage_mounts or {})}
        self._volumes: dict[str, Any] = dict(volumes or {})
        self._resources: dict[str, Any] = {}
        self._mapping: dict[str, str] = {}
        self.update_envs(envs)
        self.update_secrets(secrets)
        self.set_resources(resources)
        from . import dag

        current = dag.current()
        if current is not None:
            current.add(self)

    @classmethod
    def from_yaml(cls, path: Union[str, os.PathLike[str]]) -> Task:
        """Reads a task from a YAML file. Its relative paths are relative to the working directory."""
        return cls.from_yaml_str(read_text(path))

    @classmethod
    def from_yaml_str(cls, text: str) -> Task:
        """Reads a task from YAML text."""
        documents = read_documents(text)
        if len(documents) == 2 and documents[0].keys() <= HEADER:
            documents.pop(0)
        if len(documents) != 1:
            raise InvalidTaskYAMLError(
                f"one task is expected, and the text has {len(documents)} documents",
                hints=["sky.Dag.from_yaml reads several"],
            )
        task = cls.from_yaml_config(documents[0])
        task.user_yaml = text
        return task

    @classmethod
    def from_yaml_config(
        cls, config: dict[str, Any], env_overrides: Optional[Iterable[tuple[str, str]]] = None
    ) -> Task:
        """Makes a task of a mapping as it stands in YAML; the server checks the fields."""
        config = copy.deepcopy(config)
        task = cls(
            name=None if config.get("name") is None else str(config["name"]),
            setup=config.pop("setup", None),
            run=config.pop("run", None),
            workdir=config.pop("workdir", None),
            num_nodes=config.pop("num_nodes", None),
            file_mounts=config.pop("file_mounts", None),
            volumes=config.pop("volumes", None),
            event_callback=config.pop("event_callback", None),
        )
        config.pop("name", None)
        task._resources = config.pop("resources", None) or {}
        task._envs = {key: _env(value) for key, value in (config.pop("envs", None) or {}).items()}
        task._secrets = config.pop("secrets", None) or {}
        if isinstance(task._secrets, dict):
            task._secrets = {key: _env(value) for key, value in task._secrets.items()}
        task.extra = config
        task.update_envs(dict(env_overrides or ()))
        return task

    def to_yaml_config(self) -> dict[str, Any]:
        """Returns the task as a mapping that can be written as YAML (JSON is YAML); secrets are in clear."""
        config: dict[str, Any] = {
            "name": self.name,
            "resources": self._resources,
            "num_nodes": self.num_nodes,
            "workdir": self.workdir,
            "event_callback": self.event_callback,
            "setup": self.setup,
            "run": self.run,
            "envs": self._envs,
            "secrets": self._secrets,
            "file_mounts": self._file_mounts,
            "volumes": self._volumes,
            **self.extra,
        }
        return copy.deepcopy({key: value for key, value in config.items() if value is not None and value != {}})

    @property
    def envs(self) -> dict[str, str]:
        """The variables of ``setup`` and ``run``."""
        return {key: value for key, value in self._envs.items() if value is not None}

    @property
    def secrets(self) -> dict[str, str]:
        """The secret variables."""
        pairs = self._secrets.items() if isinstance(self._secrets, dict) else ()
        return {key: value for key, value in pairs if value is not None}

    @property
    def file_mounts(self) -> dict[str, Any]:
        """Places on the nodes, and what is copied or mounted there."""
        return dict(self._file_mounts)

    @property
    def volumes(self) -> dict[str, Any]:
        """Places on the nodes, and the volumes there."""
        return dict(self._volumes)

    @property
    def resources(self) -> list[Resources]:
        """What a node must offer: the alternatives, in order."""
        config = dict(self._resources)
        alternatives = config.pop("any_of", None) or config.pop("ordered", None)
        return [Resources.from_yaml_config({**config, **more}) for more in alternatives or [{}]]

    def set_resources(self, resources: _Wishes) -> Task:
        """Says what a node must offer: one :class:`Resources`, a list in order of preference, or a set of equals."""
        if resources is None:
            self._resources = {}
        elif isinstance(resources, Resources):
            self._resources = resources.to_yaml_config()
        elif isinstance(resources, dict):
            self._resources = dict(resources)
        else:
            listed = [wish.to_yaml_config() for wish in list(resources)]
            key = "any_of" if isinstance(resources, (set, frozenset)) else "ordered"
            self._resources = listed[0] if len(listed) == 1 else {key: listed}
        return self

    def set_resources_override(self, override: dict[str, Any]) -> Task:
        """Puts values over those of every alternative."""
        return self.set_resources([wish.copy(**override) for wish in self.resources])

    def with_autostop(self, idle_minutes: int, down: bool, wait_for: Optional[str]) -> Task:
        """Returns the same task for a cluster that stops (or is torn down) after so many idle minutes."""
        autostop: dict[str, Any] = {"idle_minutes": idle_minutes, "down": down}
        if wait_for is not None:
            autostop["wait_for"] = wait_for
        task = copy.copy(self)
        task._resources = {**self._resources, "autostop": autostop}
        for key in ("any_of", "ordered"):
            if key in task._resources:
                bare = [{k: v for k, v in wish.items() if k != "autostop"} for wish in task._resources[key]]
                task._resources[key] = bare
        return task

    def update_envs(self, envs: Union[dict[str, str], Iterable[tuple[str, str]], None]) -> Task:
        """Sets variables of ``setup`` and ``run``."""
        self._envs.update((_variable(key), _env(value)) for key, value in dict(envs or {}).items())
        return self

    def update_secrets(self, secrets: Union[dict[str, str], Iterable[tuple[str, str]], None]) -> Task:
        """Sets variables whose values are not shown and not stored in clear."""
        more = {_variable(key): _env(value) for key, value in dict(secrets or {}).items()}
        if isinstance(self._secrets, dict):
            self._secrets.update(more)
        elif more:
            self._secrets.append(more)
        return self

    def set_file_mounts(self, file_mounts: Optional[dict[str, Any]]) -> Task:
        """Replaces what is copied to the nodes."""
        self._file_mounts = dict(file_mounts or {})
        return self

    def update_file_mounts(self, file_mounts: dict[str, Any]) -> Task:
        """Adds to what is copied to the nodes."""
        self._file_mounts.update(file_mounts)
        return self

    def set_volumes(self, volumes: dict[str, Any]) -> Task:
        """Replaces the volumes."""
        self._volumes = dict(volumes)
        return self

    def update_volumes(self, volumes: dict[str, Any]) -> Task:
        """Adds volumes."""
        self._volumes.update(volumes)
        return self

    def validate(self) -> None:
        """Lets the server check the task; raises :class:`sky.exceptions.InvalidTaskError`."""
        from .client import sdk

        sdk.validate(self)

    def __rshift__(self, other: Task) -> Task:
        from . import dag

        current = dag.current()
        if current is None:
            raise InvalidTaskError("`a >> b` belongs into `with sky.Dag():`")
        current.add_edge(self, other)
        return other

    def __repr__(self) -> str:
        run = self.run if self.run is None or len(self.run) <= 20 else self.run[:20] + "..."
        return f"Task(name={self.name!r}, run={run!r})"

    def local_paths(self) -> list[str]:
        """Returns the paths of this machine that the task names, as the server will see them."""
        config = self.to_wire()
        named = [config["workdir"]] if isinstance(config.get("workdir"), str) else []
        sources = (config.get("file_mounts") or {}).values()
        return named + [source for source in sources if isinstance(source, str) and not _URI.match(source)]

    def note_upload(self, paths: list[str]) -> None:
        """Remembers that these paths travel with the request."""
        self._mapping = {path: path for path in paths}

    def to_wire(self) -> dict[str, Any]:
        """Returns the task as it travels: variables in paths replaced, paths absolute."""
        config = self.to_yaml_config()
        for key in ("workdir", "file_mounts", "volumes", "service", "pool"):
            if key in config:
                config[key] = self._expanded(config[key])
        workdir = config.get("workdir")
        if isinstance(workdir, str):
            config["workdir"] = _existing(workdir, "workdir")
            if not os.path.isdir(config["workdir"]):
                raise InvalidTaskError(f"workdir `{workdir}` is not a directory")
        for target, source in (config.get("file_mounts") or {}).items():
            if isinstance(source, str) and not _URI.match(source):
                config["file_mounts"][target] = _existing(source, f"file_mounts: {target}")
        if self._mapping:
            config["file_mounts_mapping"] = self._mapping
        if self.user_yaml is not None:
            config["_user_specified_yaml"] = self.user_yaml
        return config

    def _expanded(self, value: Any) -> Any:
        """Returns a value with the task's variables replaced in every text."""
        if isinstance(value, str):
            known = {**self.secrets, **self.envs}
            return _VARIABLE.sub(lambda m: known.get(m.group(1) or m.group(2), m.group()), value)
        if isinstance(value, list):
            return [self._expanded(item) for item in value]
        if isinstance(value, dict):
            return {self._expanded(key): self._expanded(item) for key, item in value.items()}
        return value


def read_text(path: Union[str, os.PathLike[str]]) -> str:
    """Reads a file of tasks."""
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTaskYAMLError(f"`{os.fspath(path)}` cannot be read: {error}") from error


def read_documents(text: str) -> list[dict[str, Any]]:
    """Reads the mappings of a text."""
    from . import _yaml

    try:
        documents = _yaml.documents(text)
    except _yaml.YAMLError as error:
        raise InvalidTaskYAMLError(f"the task is not valid YAML: {error}") from error
    for document in documents:
        if not isinstance(document, dict):
            raise InvalidTaskYAMLError("a task is a mapping such as `run: echo hello`")
    return documents or [{}]


def to_json(document: Any) -> str:
    """Returns a document as JSON that is YAML too."""
    import json

    text = json.dumps(document, ensure_ascii=False, default=str)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _script(commands: _Commands) -> Optional[str]:
    return "\n".join(commands) if isinstance(commands, list) else commands


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
        raise InvalidTaskError(f"`{name}` is not the name of a variable")
    return str(name)


def _env(value: Any) -> Optional[str]:
    """Returns the value of a variable as text; ``None`` is one that must still be supplied."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _existing(path: str, what: str) -> str:
    """Returns the absolute form of a path that exists."""
    absolute = os.path.abspath(os.path.expanduser(path))
    if not os.path.lexists(absolute):
        raise InvalidTaskError(f"{what}: `{path}` cannot be found on this machine")
    return absolute
