//! Flags of the command line over the values of a task.

use super::accelerator::Accelerator;
use super::amount::{self, Amount};
use super::infra::{Infra, canonical_cloud};
use super::model::{Task, Workdir, check_name};
use super::read::{check_git_url, check_variable};
use super::read_resources::{DISK_TIERS, NETWORK_TIERS, local_disk};
use super::resources::{AutostopSpec, ImageId, ResourcesSpec, Shape};
use crate::base::ids::clip;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};

/// Name and value of a variable.
pub(crate) type Setting = (String, String);

/// What the flags say, as text; `none` clears the value of the YAML.
///
/// Files behind `--env-file` and variables of the caller's environment were already read by the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// `--name`.
    pub(crate) name: Option<String>,
    /// `--workdir`.
    pub(crate) workdir: Option<String>,
    /// `--git-url`.
    pub(crate) git_url: Option<String>,
    /// `--git-ref`.
    pub(crate) git_ref: Option<String>,
    /// `--infra`.
    pub(crate) infra: Option<String>,
    /// `--cloud`, old.
    pub(crate) cloud: Option<String>,
    /// `--region`, old.
    pub(crate) region: Option<String>,
    /// `--zone`, old.
    pub(crate) zone: Option<String>,
    /// `--num-nodes`.
    pub(crate) num_nodes: Option<u32>,
    /// `--cpus`.
    pub(crate) cpus: Option<String>,
    /// `--memory`.
    pub(crate) memory: Option<String>,
    /// `--gpus`.
    pub(crate) gpus: Option<String>,
    /// `--instance-type`.
    pub(crate) instance_type: Option<String>,
    /// `--use-spot`, `--no-use-spot`.
    pub(crate) use_spot: Option<bool>,
    /// `--image-id`.
    pub(crate) image_id: Option<String>,
    /// `--disk-size`.
    pub(crate) disk_size: Option<String>,
    /// `--disk-tier`.
    pub(crate) disk_tier: Option<String>,
    /// `--network-tier`.
    pub(crate) network_tier: Option<String>,
    /// `--local-disk`.
    pub(crate) local_disk: Option<String>,
    /// `--ports`, each.
    pub(crate) ports: Vec<String>,
    /// `--priority`.
    pub(crate) priority: Option<String>,
    /// `--job-recovery`.
    pub(crate) job_recovery: Option<String>,
    /// `--env`, each; the last of a name wins.
    pub(crate) env: Vec<Setting>,
    /// Content of `--env-file`.
    pub(crate) env_file: Vec<Setting>,
    /// `--secret`, each.
    pub(crate) secret: Vec<Secretive>,
    /// Content of `--secret-file`.
    pub(crate) secret_file: Vec<Secretive>,
    /// `-i`, `--down`, `--wait-for`, as far as given.
    pub(crate) autostop: Option<AutostopSpec>,
}

/// Name and value of a secret variable.
pub(crate) type Secretive = (String, Secret);

/// The word that clears a value.
const NONE: &str = "none";

impl Overrides {
    /// Puts the flags over the values of the task.
    pub(crate) fn apply(&self, task: &mut Task) -> Result<()> {
        self.apply_task(task)?;
        self.apply_variables(task)?;
        let mut shapes: Vec<Shape> = Vec::new();
        for shape in &task.resources.alternatives {
            let mut shape = shape.clone();
            self.apply_shape(&mut shape)?;
            // Alternatives that differed only in what a flag replaced are one now.
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        task.resources = ResourcesSpec::new(shapes, task.resources.order);
        Ok(())
    }

    /// Puts over what is not about resources.
    fn apply_task(&self, task: &mut Task) -> Result<()> {
        if let Some(name) = &self.name {
            check_name(name).map_err(|what| usage("--name", &what))?;
            task.name = Some(name.clone());
        }
        if let Some(nodes) = self.num_nodes {
            if nodes == 0 {
                return Err(usage("--num-nodes", "it must be at least 1"));
            }
            task.num_nodes = nodes;
        }
        match (&self.workdir, &self.git_url) {
            (Some(_), Some(_)) => return Err(usage("--git-url", "cannot stand beside --workdir")),
            (Some(path), None) => task.workdir = Some(Workdir::Local(path.clone())),
            (None, Some(url)) => {
                check_git_url(url).map_err(|what| usage("--git-url", &what))?;
                task.workdir = Some(Workdir::Git {
                    url: url.clone(),
                    git_ref: self.git_ref.clone(),
                });
            }
            (None, None) => match (&self.git_ref, &mut task.workdir) {
                (None, _) => {}
                (Some(given), Some(Workdir::Git { git_ref, .. })) => *git_ref = Some(given.clone()),
                (Some(_), Some(Workdir::Local(_)) | None) => {
                    return Err(usage(
                        "--git-ref",
                        "needs --git-url or a task whose workdir is a repository",
                    ));
                }
            },
        }
        Ok(())
    }

    /// Puts over variables: file below flag, both above the YAML; declared secrets stay secrets.
    fn apply_variables(&self, task: &mut Task) -> Result<()> {
        for (flag, settings) in [("--env-file", &self.env_file), ("--env", &self.env)] {
            for (name, value) in settings {
                check_variable(name).map_err(|what| usage(flag, &what))?;
                let declared_secret =
                    task.secrets.contains_key(name) || task.missing_secrets.remove(name);
                if declared_secret {
                    task.secrets.insert(name.clone(), Secret::new(value));
                } else {
                    task.missing_envs.remove(name);
                    task.envs.insert(name.clone(), value.clone());
                }
            }
        }
        for (flag, settings) in [
            ("--secret-file", &self.secret_file),
            ("--secret", &self.secret),
        ] {
            for (name, value) in settings {
                check_variable(name).map_err(|what| usage(flag, &what))?;
                task.envs.remove(name);
                task.missing_envs.remove(name);
                task.missing_secrets.remove(name);
                task.secrets.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// Puts over one alternative.
    fn apply_shape(&self, shape: &mut Shape) -> Result<()> {
        self.apply_place(shape)?;
        over(
            &mut shape.cpus,
            "--cpus",
            self.cpus.as_ref(),
            str::parse::<Amount>,
        )?;
        over(
            &mut shape.memory,
            "--memory",
            self.memory.as_ref(),
            Amount::memory,
        )?;
        over(
            &mut shape.accelerators,
            "--gpus",
            self.gpus.as_ref(),
            str::parse::<Accelerator>,
        )?;
        let any = |text: &str| Ok(text.to_owned());
        over(
            &mut shape.instance_type,
            "--instance-type",
            self.instance_type.as_ref(),
            any,
        )?;
        over(
            &mut shape.image_id,
            "--image-id",
            self.image_id.as_ref(),
            |text| Ok(ImageId::One(text.to_owned())),
        )?;
        over(
            &mut shape.disk_size,
            "--disk-size",
            self.disk_size.as_ref(),
            amount::disk_size,
        )?;
        over(
            &mut shape.disk_tier,
            "--disk-tier",
            self.disk_tier.as_ref(),
            |text| word(text, &DISK_TIERS),
        )?;
        over(
            &mut shape.network_tier,
            "--network-tier",
            self.network_tier.as_ref(),
            |text| word(text, &NETWORK_TIERS),
        )?;
        over(
            &mut shape.local_disk,
            "--local-disk",
            self.local_disk.as_ref(),
            local_disk,
        )?;
        over(
            &mut shape.job_recovery,
            "--job-recovery",
            self.job_recovery.as_ref(),
            |text| Ok(text.into()),
        )?;
        if self.use_spot.is_some() {
            shape.use_spot = self.use_spot;
        }
        if self.autostop.is_some() {
            shape.autostop = self.autostop;
        }
        self.apply_priority(shape)?;
        self.apply_ports(shape)
    }

    /// Puts over where to run.
    fn apply_place(&self, shape: &mut Shape) -> Result<()> {
        let old = [
            ("--cloud", &self.cloud),
            ("--region", &self.region),
            ("--zone", &self.zone),
        ];
        if let Some(infra) = &self.infra {
            if let Some((flag, _)) = old.iter().find(|(_, value)| value.is_some()) {
                return Err(usage(flag, "cannot stand beside --infra"));
            }
            shape.infra = if is_none(infra) {
                Infra::default()
            } else {
                infra
                    .parse()
                    .map_err(|what: String| usage("--infra", &what))?
            };
            return Ok(());
        }
        let was = shape.infra.cloud.clone();
        over(
            &mut shape.infra.cloud,
            "--cloud",
            self.cloud.as_ref(),
            canonical_cloud,
        )?;
        if was != shape.infra.cloud {
            // A region of another cloud means nothing here.
            shape.infra.region = None;
            shape.infra.zone = None;
        }
        if self.region.is_some() {
            shape.infra.zone = None;
        }
        over(
            &mut shape.infra.region,
            "--region",
            self.region.as_ref(),
            |text| Ok(text.to_owned()),
        )?;
        over(
            &mut shape.infra.zone,
            "--zone",
            self.zone.as_ref(),
            |text| Ok(text.to_owned()),
        )
    }

    /// Puts over the priority: a number or the name of a class.
    fn apply_priority(&self, shape: &mut Shape) -> Result<()> {
        let Some(text) = &self.priority else {
            return Ok(());
        };
        (shape.priority, shape.priority_class) = (None, None);
        match text.parse::<i64>() {
            Ok(number) if (-1000..=1000).contains(&number) => shape.priority = Some(number),
            Ok(_) => return Err(usage("--priority", "it must be from -1000 to 1000")),
            Err(_) if is_none(text) => {}
            Err(_) => shape.priority_class = Some(text.clone()),
        }
        Ok(())
    }

    /// Puts over ports.
    fn apply_ports(&self, shape: &mut Shape) -> Result<()> {
        if self.ports.is_empty() {
            return Ok(());
        }
        shape.ports.clear();
        if self.ports.len() == 1 && is_none(&self.ports[0]) {
            return Ok(());
        }
        for range in amount::ports(&self.ports.join(",")).map_err(|what| usage("--ports", &what))? {
            shape.ports.push(range);
        }
        Ok(())
    }
}

/// Makes an error about a flag.
fn usage(flag: &str, what: &str) -> Error {
    Error::new(Kind::Usage, format!("{flag}: {what}"))
}

/// Returns whether the text clears a value.
fn is_none(text: &str) -> bool {
    text.eq_ignore_ascii_case(NONE)
}

/// Puts a flag over a value, or clears it.
fn over<T>(
    slot: &mut Option<T>,
    flag: &str,
    text: Option<&String>,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<()> {
    match text.map(|text| text.trim()) {
        None => {}
        Some("") => return Err(usage(flag, "it is empty")),
        Some(text) if is_none(text) => *slot = None,
        Some(text) => *slot = Some(read(text).map_err(|what| usage(flag, &what))?),
    }
    Ok(())
}

/// Reads one of the words.
fn word(text: &str, words: &[&str]) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if words.contains(&lower.as_str()) {
        Ok(lower)
    } else {
        Err(format!(
            "`{}` is not one of {}",
            clip(text),
            words.join(", ")
        ))
    }
}
