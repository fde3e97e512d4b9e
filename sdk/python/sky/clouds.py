"""Infra that a task may ask for: ``sky.AWS()``, ``sky.Kubernetes()``, ``sky.Local()``, …

Which of them is enabled is the server's business: ``sky check`` shows it.
"""

from __future__ import annotations


class Cloud:
    """A kind of infra. Use its subclasses."""

    #: The name in ``infra:`` of a task.
    name = ""

    def __repr__(self) -> str:
        return type(self).__name__

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cloud) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class Local(Cloud):
    """The machine on which the server runs."""

    name = "local"


class SSH(Cloud):
    """Machines of your own, reached by SSH."""

    name = "ssh"


class Slurm(Cloud):
    """Slurm clusters."""

    name = "slurm"


class Kubernetes(Cloud):
    """Kubernetes clusters."""

    name = "kubernetes"


class AWS(Cloud):
    """Amazon Web Services."""

    name = "aws"


class GCP(Cloud):
    """Google Cloud Platform."""

    name = "gcp"


class Azure(Cloud):
    """Microsoft Azure."""

    name = "azure"


class Cudo(Cloud):
    """Cudo Compute."""

    name = "cudo"


class DO(Cloud):
    """DigitalOcean."""

    name = "do"


class Fluidstack(Cloud):
    """Fluidstack."""

    name = "fluidstack"


class Hyperbolic(Cloud):
    """Hyperbolic."""

    name = "hyperbolic"


class IBM(Cloud):
    """IBM Cloud."""

    name = "ibm"


class Lambda(Cloud):
    """Lambda Cloud."""

    name = "lambda"


class Mithril(Cloud):
    """Mithril."""

    name = "mithril"


class Nebius(Cloud):
    """Nebius."""

    name = "nebius"


class OCI(Cloud):
    """Oracle Cloud Infrastructure."""

    name = "oci"


class Paperspace(Cloud):
    """Paperspace."""

    name = "paperspace"


class PrimeIntellect(Cloud):
    """Prime Intellect."""

    name = "primeintellect"


class RunPod(Cloud):
    """RunPod."""

    name = "runpod"


class SCP(Cloud):
    """Samsung Cloud Platform."""

    name = "scp"


class Seeweb(Cloud):
    """Seeweb."""

    name = "seeweb"


class Shadeform(Cloud):
    """Shadeform."""

    name = "shadeform"


class Vast(Cloud):
    """Vast.ai."""

    name = "vast"


class Vsphere(Cloud):
    """VMware vSphere."""

    name = "vsphere"


#: The short name of Kubernetes.
K8s = Kubernetes
