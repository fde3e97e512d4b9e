"""What a task wants to run on."""

from __future__ import annotations

from typing import Any, Optional, Union

from .clouds import Cloud
from .exceptions import InvalidTaskError

#: Fields that a task's ``resources:`` may have, in the order of writing; ``infra`` is put together of its parts.
_FIELDS = (
    "instance_type",
    "cpus",
    "memory",
    "accelerators",
    "accelerator_args",
    "use_spot",
    "job_recovery",
    "disk_size",
    "disk_tier",
    "network_tier",
    "local_disk",
    "ports",
    "image_id",
    "labels",
    "autostop",
    "priority",
    "priority_class",
    "max_hourly_cost",
    "volumes",
)


class Resources:
    """What one node of a task must offer. All arguments are optional; what is not said may be anything.

    ``cpus`` and ``memory`` (GB) are numbers, with ``+`` for "at least" (``"4+"``); ``accelerators`` is ``"H100:8"`` or
    ``{"H100": 8}``; ``disk_size`` is in GB; ``autostop`` is idle minutes, ``"10m"``, ``True``/``False`` or a mapping.
    ``infra`` (``"aws/us-east-1"``, ``"kubernetes/context"``) and ``cloud``/``region``/``zone`` exclude each other.
    The server checks the values.
    """

    def __init__(
        self,
        cloud: Union[Cloud, str, None] = None,
        instance_type: Optional[str] = None,
        cpus: Union[int, float, str, None] = None,
        memory: Union[int, float, str, None] = None,
        accelerators: Union[str, dict[str, Union[int, float]], list[str], None] = None,
        accelerator_args: Optional[dict[str, Any]] = None,
        infra: Optional[str] = None,
        use_spot: Optional[bool] = None,
        job_recovery: Union[str, dict[str, Any], None] = None,
        region: Optional[str] = None,
        zone: Optional[str] = None,
        image_id: Union[str, dict[Optional[str], str], None] = None,
        disk_size: Union[int, str, None] = None,
        disk_tier: Optional[str] = None,
        network_tier: Optional[str] = None,
        local_disk: Optional[str] = None,
        max_hourly_cost: Optional[float] = None,
        ports: Union[int, str, list[Union[int, str]], tuple[Union[int, str], ...], None] = None,
        labels: Optional[dict[str, str]] = None,
        autostop: Union[bool, int, str, dict[str, Any], None] = None,
        priority: Optional[int] = None,
        priority_class: Optional[str] = None,
        volumes: Optional[list[dict[str, Any]]] = None,
    ) -> None:
        if infra is not None and (cloud is not None or region is not None or zone is not None):
            raise InvalidTaskError("`infra` says cloud, region and zone: leave those out")
        values = locals()
        self._config: dict[str, Any] = {}
        place = infra if infra is not None else _place(cloud, region, zone)
        if place is not None:
            self._config["infra"] = place
        for name in _FIELDS:
            value = values[name]
            if value is not None:
                self._config[name] = list(value) if isinstance(value, tuple) else value

    @classmethod
    def from_yaml_config(cls, config: Optional[dict[str, Any]]) -> Resources:
        """Makes resources of a mapping as it stands under ``resources:``; the server checks it."""
        resources = cls()
        resources._config = dict(config or {})
        return resources

    def to_yaml_config(self) -> dict[str, Any]:
        """Returns the mapping as it stands under ``resources:``."""
        return dict(self._config)

    def copy(self, **override: Any) -> Resources:
        """Returns the same with other values; ``None`` clears one."""
        config = dict(self._config)
        if {"cloud", "region", "zone"} & override.keys():
            config.pop("infra", None)
            config.update(infra=_place(*(override.pop(part, None) for part in ("cloud", "region", "zone"))))
        config.update(override)
        return Resources.from_yaml_config({key: value for key, value in config.items() if value is not None})

    def __getattr__(self, name: str) -> Any:
        # Only for what is not an attribute: the fields, as they were given.
        if name in _FIELDS:
            return self._config.get(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def infra(self) -> Optional[str]:
        """``cloud[/region[/zone]]``, or ``None`` for anywhere."""
        place = self._config.get("infra")
        if place is None:
            place = _place(*(self._config.get(part) for part in ("cloud", "region", "zone")))
        return place if place is None else str(place)

    @property
    def cloud(self) -> Optional[str]:
        """The name of the infra."""
        return self._part(0)

    @property
    def region(self) -> Optional[str]:
        """The region; context of Kubernetes, pool of SSH, cluster of Slurm."""
        return self._part(1)

    @property
    def zone(self) -> Optional[str]:
        """The zone; partition of Slurm."""
        return self._part(2)

    def _part(self, index: int) -> Optional[str]:
        parts = (self.infra or "").split("/", 2)
        part = parts[index] if index < len(parts) else ""
        return part if part not in ("", "*") else None

    def __repr__(self) -> str:
        return "Resources(" + ", ".join(f"{key}={value!r}" for key, value in self._config.items()) + ")"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self._config == other._config

    def __hash__(self) -> int:
        return hash(repr(self))


def _place(
    cloud: Union[Cloud, str, None] = None, region: Optional[str] = None, zone: Optional[str] = None
) -> Optional[str]:
    """Returns ``cloud[/region[/zone]]``; a part before one that is named may be anything."""
    parts = [str(part) if part is not None else "*" for part in (cloud, region, zone)]
    while parts and parts[-1] == "*":
        parts.pop()
    return "/".join(parts) or None
