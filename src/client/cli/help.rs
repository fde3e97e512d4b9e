//! Texts of help: the grouped list of commands, and examples.

/// The help of `sky` itself. The groups name each command once (a test compares them with what exists).
pub(super) const ROOT_TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Run work:
  launch       Launch a cluster and run a task on it
  exec         Run a task or command on an existing cluster
  logs         Follow the log of a job
  queue        Show the job queues of clusters
  cancel       Cancel jobs

Clusters:
  status       Show clusters
  start        Start stopped clusters again
  stop         Stop clusters: disks stay, machines go
  autostop     Stop or tear down clusters when they are idle
  down         Tear down clusters: machines and disks go
  cost-report  Show what clusters cost

Infra:
  check        Check which infra can be used
  gpus         Show accelerators and where they are offered
  catalog      Show and update what machines of clouds cost
  ssh          Prepare, list and clean your own SSH hosts

API server:
  api          Control the API server and its requests

Options:
{options}{after-help}";

/// Examples of `sky`.
pub(super) const ROOT_EXAMPLES: &str = "Examples:
  sky launch -c demo --cpus 2 'echo hello; nproc'
  sky exec demo -- python train.py --lr 3e-4
  sky status
  sky down demo

`sky COMMAND -h` explains a command.";

/// Examples of `sky launch`.
pub(super) const LAUNCH: &str = "Examples:
  sky launch -c demo task.yaml             run a task on the cluster `demo`, which is made if needed
  sky launch -c demo --cpus 4+ 'make -j'   run a command
  sky launch -c demo -d -y task.yaml       do not ask, return once the job is submitted
  sky launch --async -y task.yaml          return at once; follow with `sky api logs`
  sky launch -c demo -i 30 --down t.yaml   tear the cluster down after 30 idle minutes
  sky launch --dryrun -v task.yaml         show what would be used, and what was ruled out";
/// Examples of `sky exec`.
pub(super) const EXEC: &str = "Examples:
  sky exec demo 'nvidia-smi'
  sky exec demo task.yaml
  sky exec demo -- python train.py --lr 3e-4    `--` ends the options of sky
  sky exec demo --num-nodes 2 'hostname' -d";
/// Examples of `sky status`.
pub(super) const STATUS: &str = "Examples:
  sky status
  sky status -r 'dev-*'      ask the infra instead of the records
  sky status --ip demo       the address of the head node only
  sky status -o json | jq -r '.[].name'";
/// Examples of `sky cost-report`.
pub(super) const COST_REPORT: &str = "Examples:
  sky cost-report
  sky cost-report --days 0 -a";
/// Examples of `sky queue`.
pub(super) const QUEUE: &str = "Examples:
  sky queue
  sky queue demo -s          only jobs that have not finished";
/// Examples of `sky logs`.
pub(super) const LOGS: &str = "Examples:
  sky logs demo              follow the latest job
  sky logs demo 3            follow job 3
  sky logs demo 3 --no-follow --tail 20
  sky logs demo 3 --status   0 succeeded, 100 failed, 101 not finished, 102 unknown, 103 cancelled
  sky logs demo --provision  how the cluster was made
  sky logs demo -s           download logs to ~/sky_logs";
/// Examples of `sky cancel`.
pub(super) const CANCEL: &str = "Examples:
  sky cancel demo 3
  sky cancel demo            the latest running job
  sky cancel demo -a -y      all of your jobs";
/// Examples of `sky stop`.
pub(super) const STOP: &str = "Examples:
  sky stop demo
  sky stop 'dev-*' -y
  sky stop -a";
/// Examples of `sky autostop`.
pub(super) const AUTOSTOP: &str = "Examples:
  sky autostop demo -i 30          stop after 30 idle minutes
  sky autostop demo -i 30 --down   tear down instead
  sky autostop demo --cancel";
/// Examples of `sky start`.
pub(super) const START: &str = "Examples:
  sky start demo
  sky start -a -y
  sky start demo -i 60";
/// Examples of `sky down`.
pub(super) const DOWN: &str = "Examples:
  sky down demo
  sky down 'dev-*' -y
  sky down -a
  sky down demo --purge            forget it although the infra refuses
  sky down demo-1f2e3d4c --purge   remove machines that `sky status -r` found without a cluster";
/// Examples of `sky check`.
pub(super) const CHECK: &str = "Examples:
  sky check
  sky check -v               with what to do, and all infra
  sky check -o json";
/// Examples of `sky gpus`.
pub(super) const GPUS: &str = "Examples:
  sky gpus list
  sky gpus list H100:8
  sky gpus list A10G --infra aws --region us-west-2
  sky gpus list L4 --all-regions -o json";
/// Examples of `sky catalog`.
pub(super) const CATALOG: &str = "Examples:
  sky catalog list
  sky catalog show aws m6i
  sky catalog show aws g6.xlarge --all-regions
  sky catalog update aws                      the list that SkyPilot publishes
  sky catalog update aws --from vms.csv
  sky catalog update aws --from api           what AWS sells now, with your credentials";
/// Examples of `sky ssh`.
pub(super) const SSH: &str = "Examples:
  sky ssh up                  all hosts of ~/.sky/ssh_node_pools.yaml
  sky ssh up --infra lab      the hosts of one pool
  sky ssh list
  sky ssh down --infra lab    leave the hosts as they were";
/// Examples of `sky api`.
pub(super) const API: &str = "Examples:
  sky api status              requests that have not finished
  sky api logs 1a2b3c4d       follow a request; the beginning of an id is enough
  sky api get 1a2b3c4d        wait for a request and print its result as JSON
  sky api cancel 1a2b3c4d
  sky api login -e https://sky.example.org";
