//! Which image a machine starts from, who logs in to it, and its first disk.

use crate::aws::Params;
use crate::base::{Error, Kind};
use crate::clouds::{Category, CloudError, CloudResult, NodeSet};
use crate::task::ImageId;

use super::ec2::{Ec2, Image};
use super::settings::Settings;

/// Gigabytes of the first disk, unless asked for.
const DISK_GB: u64 = 256;

/// Where AWS says which image is the newest: of Ubuntu, else of Amazon's own Linux.
const PLAIN: [&str; 2] = [
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
    "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
];
/// The same with drivers of NVIDIA's GPUs.
const NVIDIA: [&str; 2] = [
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id",
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id",
];
/// The same with drivers of AWS's own accelerators.
const NEURON: [&str; 1] =
    ["/aws/service/neuron/dlami/multi-framework/ubuntu-22.04/latest/image_id"];

/// An image, chosen.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// The image.
    image: Image,
    /// Who logs in.
    pub(super) user: String,
}

/// Chooses the image of a set.
pub(super) async fn choose(ec2: &Ec2, settings: &Settings, set: &NodeSet) -> CloudResult<Chosen> {
    let id = match wished(set, &ec2.region)? {
        Some(id) => id,
        None => newest(ec2, set).await?,
    };
    let image = ec2.image(&id).await?.ok_or_else(|| {
        let what = format!("there is no image `{id}` in {}", ec2.region);
        CloudError::new(Category::Configuration, Error::new(Kind::NotFound, what))
    })?;
    let user = settings.user.clone().unwrap_or_else(|| user_of(&image));
    Ok(Chosen { image, user })
}

/// Returns the image that the task names.
fn wished(set: &NodeSet, region: &str) -> CloudResult<Option<String>> {
    let refuse = |kind, what: String| {
        Err(CloudError::new(
            Category::Configuration,
            Error::new(kind, what),
        ))
    };
    match &set.wish.image_id {
        None => Ok(None),
        Some(ImageId::One(id)) if id.starts_with("docker:") => refuse(
            Kind::NotSupported,
            format!("this release does not run the container image `{id}` on AWS"),
        ),
        // SkyPilot's names of its own images mean the default here.
        Some(ImageId::One(id)) if id.starts_with("skypilot:") => Ok(None),
        Some(ImageId::One(id)) => Ok(Some(id.clone())),
        Some(ImageId::PerRegion(by_region)) => match by_region.get(region) {
            Some(id) => Ok(Some(id.clone())),
            None => Err(CloudError::new(
                // Another region may have one.
                Category::Capacity,
                Error::new(
                    Kind::ResourcesUnavailable,
                    format!("the task's `image_id` names no image for {region}"),
                ),
            )),
        },
    }
}

/// Returns the newest image for the machines of a set.
async fn newest(ec2: &Ec2, set: &NodeSet) -> CloudResult<String> {
    let accelerator = set.offer.accelerators.as_ref().map(|a| a.name.as_str());
    let names: &[&str] = match accelerator {
        None => &PLAIN,
        Some("Trainium" | "Trainium2" | "Inferentia" | "Inferentia2") => &NEURON,
        Some(_) => &NVIDIA,
    };
    let names = names
        .iter()
        .map(|name| for_arch(name, set.offer.arch.as_deref()));
    let names: Vec<String> = names.collect();
    for name in &names {
        if let Some(id) = ec2.parameter(name).await? {
            return Ok(id);
        }
    }
    let what = format!(
        "AWS names no image in {} under {}",
        ec2.region,
        names.join(", ")
    );
    let error = Error::new(Kind::NotFound, what).hint("name one in the task: resources.image_id");
    Err(CloudError::new(Category::Configuration, error))
}

/// Returns the name of an image of Intel's kind as it is for an architecture.
fn for_arch(name: &str, arch: Option<&str>) -> String {
    match arch {
        Some("arm64") => name.replace("amd64", "arm64").replace("x86_64", "arm64"),
        _ => name.to_owned(),
    }
}

/// Returns who logs in to machines of an image.
fn user_of(image: &Image) -> String {
    let text = format!("{} {}", image.name, image.description).to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["ubuntu"]) {
        "ubuntu"
    } else if has(&["debian"]) {
        "admin"
    } else if has(&["rocky"]) {
        "rocky"
    } else if has(&["amzn", "al2023", "amazon", "rhel", "suse", "fedora"]) {
        "ec2-user"
    } else {
        "ubuntu"
    }
    .to_owned()
}

impl Chosen {
    /// Adds the image and its first disk to a call.
    pub(super) fn add_to(&self, params: Params, settings: &Settings, set: &NodeSet) -> Params {
        let root = self.image.root_device_name.as_deref();
        let root = root.unwrap_or("/dev/sda1");
        let of_image = self.image.block_device_mapping.item.iter();
        let least = of_image
            .filter(|device| device.device_name.as_deref() == Some(root))
            .find_map(|device| device.ebs.as_ref()?.volume_size)
            .unwrap_or(0);
        let size = set.wish.disk_size.unwrap_or(DISK_GB.max(least));
        let (kind, operations, throughput) = disk(set.wish.disk_tier.as_deref());
        let params = params
            .with("ImageId", &self.image.id)
            .with("BlockDeviceMapping.1.DeviceName", root)
            .with("BlockDeviceMapping.1.Ebs.VolumeSize", size)
            .with("BlockDeviceMapping.1.Ebs.VolumeType", kind)
            .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", true)
            .maybe("BlockDeviceMapping.1.Ebs.Iops", operations)
            .maybe("BlockDeviceMapping.1.Ebs.Throughput", throughput);
        if settings.encrypted {
            params.with("BlockDeviceMapping.1.Ebs.Encrypted", true)
        } else {
            params
        }
    }
}

/// Returns type, operations a second and MB a second of a disk tier, as SkyPilot's users know them.
fn disk(tier: Option<&str>) -> (&'static str, Option<u32>, Option<u32>) {
    match tier {
        Some("low") => ("standard", None, None),
        Some("high" | "best") => ("gp3", Some(7000), Some(437)),
        Some("ultra") => ("io2", Some(20000), None),
        Some(_) | None => ("gp3", Some(3500), Some(218)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arm_has_images_of_its_own() {
        assert_eq!(for_arch(PLAIN[0], Some("x86_64")), PLAIN[0]);
        for name in PLAIN.iter().chain(&NVIDIA) {
            let other = for_arch(name, Some("arm64"));
            assert!(other.contains("arm64") && other != *name, "{other}");
        }
    }
}
