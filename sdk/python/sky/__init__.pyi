"""What `sky` exports, for type checkers: the module itself imports each name when it is first used."""

from . import clouds as clouds
from . import exceptions as exceptions
from . import jobs as jobs
from . import serve as serve
from ._version import __version__ as __version__
from .client.sdk import (
    api_cancel as api_cancel,
)
from .client.sdk import (
    api_info as api_info,
)
from .client.sdk import (
    api_login as api_login,
)
from .client.sdk import (
    api_logout as api_logout,
)
from .client.sdk import (
    api_server_logs as api_server_logs,
)
from .client.sdk import (
    api_start as api_start,
)
from .client.sdk import (
    api_status as api_status,
)
from .client.sdk import (
    api_stop as api_stop,
)
from .client.sdk import (
    autostop as autostop,
)
from .client.sdk import (
    cancel as cancel,
)
from .client.sdk import (
    check as check,
)
from .client.sdk import (
    cost_report as cost_report,
)
from .client.sdk import (
    down as down,
)
from .client.sdk import (
    download_logs as download_logs,
)
from .client.sdk import (
    enabled_clouds as enabled_clouds,
)
from .client.sdk import (
    endpoints as endpoints,
)
from .client.sdk import (
    exec as exec,
)
from .client.sdk import (
    get as get,
)
from .client.sdk import (
    job_status as job_status,
)
from .client.sdk import (
    launch as launch,
)
from .client.sdk import (
    list_accelerator_counts as list_accelerator_counts,
)
from .client.sdk import (
    list_accelerators as list_accelerators,
)
from .client.sdk import (
    optimize as optimize,
)
from .client.sdk import (
    queue as queue,
)
from .client.sdk import (
    start as start,
)
from .client.sdk import (
    status as status,
)
from .client.sdk import (
    stop as stop,
)
from .client.sdk import (
    stream_and_get as stream_and_get,
)
from .client.sdk import (
    tail_logs as tail_logs,
)
from .client.sdk import (
    tail_provision_logs as tail_provision_logs,
)
from .client.sdk import (
    validate as validate,
)
from .client.session import RequestId as RequestId
from .clouds import (
    AWS as AWS,
)
from .clouds import (
    DO as DO,
)
from .clouds import (
    GCP as GCP,
)
from .clouds import (
    IBM as IBM,
)
from .clouds import (
    OCI as OCI,
)
from .clouds import (
    SCP as SCP,
)
from .clouds import (
    SSH as SSH,
)
from .clouds import (
    Azure as Azure,
)
from .clouds import (
    Cudo as Cudo,
)
from .clouds import (
    Fluidstack as Fluidstack,
)
from .clouds import (
    Hyperbolic as Hyperbolic,
)
from .clouds import (
    K8s as K8s,
)
from .clouds import (
    Kubernetes as Kubernetes,
)
from .clouds import (
    Lambda as Lambda,
)
from .clouds import (
    Local as Local,
)
from .clouds import (
    Mithril as Mithril,
)
from .clouds import (
    Nebius as Nebius,
)
from .clouds import (
    Paperspace as Paperspace,
)
from .clouds import (
    PrimeIntellect as PrimeIntellect,
)
from .clouds import (
    RunPod as RunPod,
)
from .clouds import (
    Seeweb as Seeweb,
)
from .clouds import (
    Shadeform as Shadeform,
)
from .clouds import (
    Slurm as Slurm,
)
from .clouds import (
    Vast as Vast,
)
from .clouds import (
    Vsphere as Vsphere,
)
from .dag import Dag as Dag
from .resources import Resources as Resources
from .results import (
    ClusterHandle as ClusterHandle,
)
from .results import (
    ClusterRecord as ClusterRecord,
)
from .results import (
    CostRecord as CostRecord,
)
from .results import (
    InstanceTypeInfo as InstanceTypeInfo,
)
from .results import (
    JobRecord as JobRecord,
)
from .results import (
    RequestRecord as RequestRecord,
)
from .results import (
    ServerInfo as ServerInfo,
)
from .results import (
    User as User,
)
from .states import (
    AutostopWaitFor as AutostopWaitFor,
)
from .states import (
    ClusterStatus as ClusterStatus,
)
from .states import (
    JobExitCode as JobExitCode,
)
from .states import (
    JobStatus as JobStatus,
)
from .states import (
    ManagedJobStatus as ManagedJobStatus,
)
from .states import (
    RequestStatus as RequestStatus,
)
from .states import (
    StatusRefreshMode as StatusRefreshMode,
)
from .task import Task as Task
