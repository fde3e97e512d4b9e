//! What AWS sells: machine types, the zones that have them, and what spot machines cost now.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Aws, Fault, Params, Service, Set};
use crate::base::clock::Moment;

/// A region.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    /// Name.
    region_name: String,
}

/// A machine type.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MachineType {
    /// Name.
    #[serde(rename = "instanceType")]
    pub(crate) name: String,
    /// CPUs.
    v_cpu_info: Cpus,
    /// Memory.
    memory_info: Memory,
    /// Architectures.
    processor_info: Option<Processor>,
    /// GPUs.
    gpu_info: Option<Gpus>,
    /// AWS's own accelerators.
    neuron_info: Option<Neurons>,
    /// Disks inside.
    instance_storage_info: Option<Storage>,
}

/// CPUs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpus {
    /// How many.
    default_v_cpus: u32,
}

/// Memory.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    /// How much.
    #[serde(rename = "sizeInMiB")]
    mib: f64,
}

/// Processor.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Processor {
    /// Architectures.
    #[serde(default)]
    supported_architectures: Set<String>,
}

/// GPUs.
#[derive(Debug, Clone, Deserialize)]
struct Gpus {
    /// By kind.
    #[serde(default)]
    gpus: Set<Device>,
}

/// AWS's own accelerators.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Neurons {
    /// By kind.
    #[serde(default)]
    neuron_devices: Set<Device>,
}

/// Accelerators of a kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    /// Name.
    #[serde(default)]
    name: String,
    /// How many.
    #[serde(default)]
    count: u32,
    /// Memory of each.
    memory_info: Option<Memory>,
}

/// Disks inside.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    /// By kind.
    #[serde(default)]
    disks: Set<Disk>,
    /// `required`, `supported`, `unsupported`.
    nvme_support: Option<String>,
}

/// Disks of a kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    /// How many.
    count: u32,
    /// Gigabytes of each.
    #[serde(rename = "sizeInGB")]
    gb: f64,
    /// `ssd`, `hdd`.
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Accelerators of a machine type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Accelerators {
    /// Name, as AWS writes it.
    pub(crate) name: String,
    /// How many.
    pub(crate) count: u32,
    /// Mebibytes of each; 0 = not known.
    pub(crate) mib: f64,
}

/// Disks of a machine type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Disks {
    /// How many.
    pub(crate) count: u32,
    /// Gigabytes of each.
    pub(crate) gb: f64,
    /// `ssd`, `hdd`.
    pub(crate) kind: String,
    /// Whether they are NVMe.
    pub(crate) nvme: bool,
}

impl MachineType {
    /// Returns its CPUs.
    pub(crate) fn vcpus(&self) -> u32 {
        self.v_cpu_info.default_v_cpus
    }

    /// Returns gibibytes of memory.
    pub(crate) fn memory_gib(&self) -> f64 {
        self.memory_info.mib / 1024.0
    }

    /// Returns its architecture: the 64-bit one where it has several.
    pub(crate) fn arch(&self) -> &str {
        let all = self
            .processor_info
            .as_ref()
            .map_or(&[][..], |info| &info.supported_architectures.item);
        let is_wide = |arch: &&String| arch.ends_with("64");
        all.iter()
            .find(is_wide)
            .or(all.first())
            .map_or("", String::as_str)
    }

    /// Returns its accelerators.
    pub(crate) fn accelerators(&self) -> Option<Accelerators> {
        let gpu = self
            .gpu_info
            .as_ref()
            .and_then(|info| info.gpus.item.first());
        let neuron = self
            .neuron_info
            .as_ref()
            .and_then(|info| info.neuron_devices.item.first());
        let device = gpu.or(neuron)?;
        Some(Accelerators {
            name: device.name.clone(),
            count: device.count,
            mib: device.memory_info.as_ref().map_or(0.0, |memory| memory.mib),
        })
    }

    /// Returns its disks.
    pub(crate) fn disks(&self) -> Option<Disks> {
        let storage = self.instance_storage_info.as_ref()?;
        let disk = storage.disks.item.first()?;
        let nvme = storage.nvme_support.as_deref();
        Some(Disks {
            count: disk.count,
            gb: disk.gb,
            kind: disk.kind.clone().unwrap_or_default(),
            nvme: matches!(nvme, Some("required" | "supported")),
        })
    }
}

/// A machine type in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Offering {
    /// The machine type.
    pub(crate) instance_type: String,
    /// The zone.
    pub(crate) location: String,
}

/// What a spot machine costs in a zone.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SpotPrice {
    /// The machine type.
    pub(crate) instance_type: String,
    /// The zone.
    pub(crate) availability_zone: String,
    /// Dollars an hour.
    #[serde(rename = "spotPrice")]
    pub(crate) dollars: f64,
    /// Since when.
    #[serde(default)]
    pub(crate) timestamp: String,
}

/// An answer in pages.
trait Page: DeserializeOwned {
    /// What is in it.
    type Item;
    /// Takes it apart: what is in it, and the token of the next page.
    fn into_parts(self) -> (Vec<Self::Item>, Option<String>);
}

/// Makes the type of an answer in pages.
macro_rules! pages {
    ($name:ident, $field:ident, $item:ty) => {
        /// A page.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct $name {
            /// The list.
            #[serde(default)]
            $field: Set<$item>,
            /// More to come.
            next_token: Option<String>,
        }

        impl Page for $name {
            type Item = $item;

            fn into_parts(self) -> (Vec<$item>, Option<String>) {
                (self.$field.item, self.next_token)
            }
        }
    };
}

pages!(Regions, region_info, Region);
pages!(Types, instance_type_set, MachineType);
pages!(Offerings, instance_type_offering_set, Offering);
pages!(SpotPrices, spot_price_history_set, SpotPrice);

impl Aws {
    /// Calls an action for all of its pages.
    async fn pages<P: Page>(
        &self,
        region: &str,
        action: &str,
        params: Params,
    ) -> Result<Vec<P::Item>, Fault> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = params.clone().maybe("NextToken", next.take());
            let answer: P = self.query(Service::Ec2, region, action, &page).await?;
            let (items, more) = answer.into_parts();
            all.extend(items);
            match more.filter(|token| !token.is_empty()) {
                None => return Ok(all),
                more => next = more,
            }
        }
    }

    /// Lists the regions that the account can use.
    pub(crate) async fn regions(&self) -> Result<Vec<String>, Fault> {
        let home = self.region()?;
        let found = self
            .pages::<Regions>(&home, "DescribeRegions", Params::new())
            .await?;
        Ok(found.into_iter().map(|one| one.region_name).collect())
    }

    /// Lists the machine types of a region.
    pub(crate) async fn machine_types(&self, region: &str) -> Result<Vec<MachineType>, Fault> {
        let params = Params::new().with("MaxResults", 100);
        self.pages::<Types>(region, "DescribeInstanceTypes", params)
            .await
    }

    /// Lists the machine types of the zones of a region.
    pub(crate) async fn offerings(&self, region: &str) -> Result<Vec<Offering>, Fault> {
        let params = Params::new().with("LocationType", "availability-zone");
        self.pages::<Offerings>(region, "DescribeInstanceTypeOfferings", params)
            .await
    }

    /// Lists what spot machines with Linux cost now in a region.
    pub(crate) async fn spot_prices(&self, region: &str) -> Result<Vec<SpotPrice>, Fault> {
        let now = Moment::now().timestamp().strftime("%Y-%m-%dT%H:%M:%SZ");
        let params = Params::new()
            .with("ProductDescription.1", "Linux/UNIX")
            .with("StartTime", now);
        self.pages::<SpotPrices>(region, "DescribeSpotPriceHistory", params)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_types_are_read() {
        let text = "<DescribeInstanceTypesResponse><instanceTypeSet><item><instanceType>g5.xlarge</instanceType>\
            <processorInfo><supportedArchitectures><item>i386</item><item>x86_64</item></supportedArchitectures></processorInfo>\
            <vCpuInfo><defaultVCpus>4</defaultVCpus></vCpuInfo><memoryInfo><sizeInMiB>16384</sizeInMiB></memoryInfo>\
            <instanceStorageInfo><totalSizeInGB>250</totalSizeInGB><disks><item><sizeInGB>250</sizeInGB><count>1</count><type>ssd</type></item></disks>\
            <nvmeSupport>required</nvmeSupport></instanceStorageInfo>\
            <gpuInfo><gpus><item><name>A10G</name><manufacturer>NVIDIA</manufacturer><count>1</count><memoryInfo><sizeInMiB>24576</sizeInMiB></memoryInfo></item></gpus>\
            <totalGpuMemoryInMiB>24576</totalGpuMemoryInMiB></gpuInfo></item></instanceTypeSet><nextToken>more</nextToken></DescribeInstanceTypesResponse>";
        let page: Types = quick_xml::de::from_str(text).expect("read");
        let (types, next) = page.into_parts();
        assert_eq!(next.as_deref(), Some("more"));
        let one = &types[0];
        assert_eq!((one.vcpus(), one.arch()), (4, "x86_64"));
        assert!((one.memory_gib() - 16.0).abs() < 1e-9);
        let gpu = one.accelerators().expect("a GPU");
        assert_eq!((gpu.name.as_str(), gpu.count), ("A10G", 1));
        assert!(one.disks().expect("a disk").nvme);
    }
}
