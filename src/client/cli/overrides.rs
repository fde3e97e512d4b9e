//! The options that change a task on its way to the server, shared by `launch` and `exec`.

use clap::Args;

/// What the command line says about the task; it wins over the YAML.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Task overrides (the value `none` clears what the YAML says)")]
pub(crate) struct TaskArgs {
    /// Name of the task
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Directory that is copied to every node
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) workdir: Option<String>,
    /// Where to run: `cloud[/region[/zone]]`, `k8s/context`, `ssh/pool`, `local`
    #[arg(long, value_name = "INFRA")]
    pub(crate) infra: Option<String>,
    /// Use `--infra`
    #[arg(long, hide = true, conflicts_with = "infra")]
    pub(crate) cloud: Option<String>,
    /// Use `--infra`
    #[arg(long, hide = true, conflicts_with = "infra")]
    pub(crate) region: Option<String>,
    /// Use `--infra`
    #[arg(long, hide = true, conflicts_with = "infra")]
    pub(crate) zone: Option<String>,
    /// Number of nodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) num_nodes: Option<u32>,
    /// CPUs of each node: `4`, or `4+` for at least 4
    #[arg(long, value_name = "N[+]")]
    pub(crate) cpus: Option<String>,
    /// Memory of each node in GB: `16`, `16+`
    #[arg(long, value_name = "GB[+]")]
    pub(crate) memory: Option<String>,
    /// Accelerators of each node: `H100`, `H100:8`
    #[arg(long, value_name = "NAME[:N]")]
    pub(crate) gpus: Option<String>,
    /// Instance type of the cloud
    #[arg(short = 't', long, value_name = "TYPE")]
    pub(crate) instance_type: Option<String>,
    /// Use spot instances
    #[arg(long, overrides_with = "no_use_spot")]
    pub(crate) use_spot: bool,
    /// Do not use spot instances
    #[arg(long, overrides_with = "use_spot")]
    pub(crate) no_use_spot: bool,
    /// Machine or container image: an id, or `docker:image`
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image_id: Option<String>,
    /// Disk of each node in GB
    #[arg(long, value_name = "GB")]
    pub(crate) disk_size: Option<String>,
    /// Speed of the disk: low, medium, high, ultra, best
    #[arg(long, value_name = "TIER", hide_short_help = true)]
    pub(crate) disk_tier: Option<String>,
    /// Speed of the network: standard, best
    #[arg(long, value_name = "TIER", hide_short_help = true)]
    pub(crate) network_tier: Option<String>,
    /// Disk inside the machine: `nvme:1000+`
    #[arg(long, value_name = "DISK", hide_short_help = true)]
    pub(crate) local_disk: Option<String>,
    /// Ports to open: `8080`, `80-90`; may be repeated
    #[arg(long, value_name = "PORTS")]
    pub(crate) ports: Vec<String>,
    /// Variable of the task: `K=V`, or `K` to take the value from this shell; may be repeated
    #[arg(long, value_name = "K[=V]")]
    pub(crate) env: Vec<String>,
    /// File with variables; `--env` wins over it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) env_file: Option<String>,
    /// Like `--env`, but shown nowhere; may be repeated
    #[arg(long, value_name = "K[=V]")]
    pub(crate) secret: Vec<String>,
    /// File with secrets; `--secret` wins over it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) secret_file: Option<String>,
    /// Repository that becomes the workdir
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "workdir",
        hide_short_help = true
    )]
    pub(crate) git_url: Option<String>,
    /// Branch, tag or commit of the repository
    #[arg(long, value_name = "REF", requires = "git_url", hide_short_help = true)]
    pub(crate) git_ref: Option<String>,
}
