"""Run AI and batch work on any infrastructure: the Python side of ``sky``.

>>> import sky
>>> task = sky.Task(run="echo hello", resources=sky.Resources(cloud=sky.Local()))
>>> job_id, handle = sky.stream_and_get(sky.launch(task, cluster_name="demo"))
>>> sky.tail_logs("demo", job_id)

What is used is imported when it is first used, so that ``import sky`` costs next to nothing.
"""

from ._version import __version__

#: Where each name lives.
_PLACES = {
    "client.sdk": (
        "api_cancel api_info api_login api_logout api_server_logs api_start api_status api_stop autostop cancel check "
        "cost_report down download_logs enabled_clouds endpoints exec get job_status launch list_accelerator_counts "
        "list_accelerators optimize queue ssh_down ssh_list ssh_up start status stop stream_and_get tail_logs "
        "tail_provision_logs validate"
    ),
    "client.session": "RequestId",
    "clouds": (
        "AWS Azure Cudo DO Fluidstack GCP Hyperbolic IBM K8s Kubernetes Lambda Local Mithril Nebius OCI Paperspace "
        "PrimeIntellect RunPod SCP SSH Seeweb Shadeform Slurm Vast Vsphere"
    ),
    "dag": "Dag",
    "resources": "Resources",
    "results": (
        "ClusterHandle ClusterRecord CostRecord InstanceTypeInfo JobRecord ManagedJobRecord RequestRecord ServerInfo "
        "User"
    ),
    "states": "AutostopWaitFor ClusterStatus JobExitCode JobStatus ManagedJobStatus RequestStatus StatusRefreshMode",
    "task": "Task",
}
_HOME = {name: module for module, names in _PLACES.items() for name in names.split()}
_MODULES = ("client", "clouds", "dag", "exceptions", "jobs", "resources", "results", "serve", "states", "task")

__all__ = ["__version__", *_HOME, "clouds", "exceptions", "jobs", "serve"]


def __getattr__(name: str) -> object:
    import importlib

    if name in _HOME:
        value: object = getattr(importlib.import_module(f"sky.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"sky.{name}")
    raise AttributeError(f"module 'sky' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(_MODULES))
