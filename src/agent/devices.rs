//! Which GPUs of its machine a node has: jobs count from 0, the machine does not.

use std::collections::BTreeMap;

/// The variable by which programs see GPUs.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
/// How programs number them.
const ORDER: &str = "CUDA_DEVICE_ORDER";

/// The machine's indices of a node's GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Devices(Vec<String>);

impl Devices {
    /// Reads indices between commas.
    pub(crate) fn read(list: &str) -> Self {
        let indices = list.split(',').map(str::trim);
        Self(
            indices
                .filter(|index| !index.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Puts the machine's indices in the place of the node's. A process that has asked for none sees all of the node.
    pub(crate) fn show(&self, envs: &mut BTreeMap<String, String>) {
        let visible = match envs.get(VISIBLE) {
            None => self.0.join(","),
            Some(asked) => {
                let translated: Option<Vec<&str>> = asked
                    .split(',')
                    .map(|index| Some(self.0.get(index.trim().parse::<usize>().ok()?)?.as_str()))
                    .collect();
                match translated {
                    Some(indices) => indices.join(","),
                    // The user's own words, such as a device's UUID.
                    None => return,
                }
            }
        };
        envs.insert(VISIBLE.to_owned(), visible);
        // Ours are numbered by their place on the bus, as the driver's tools do.
        envs.entry(ORDER.to_owned())
            .or_insert_with(|| "PCI_BUS_ID".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process of a node with the devices `own` sees.
    fn seen(own: &str, asked: Option<&str>) -> String {
        let mut envs = BTreeMap::new();
        if let Some(asked) = asked {
            envs.insert(VISIBLE.to_owned(), asked.to_owned());
        }
        Devices::read(own).show(&mut envs);
        envs[VISIBLE].clone()
    }

    #[test]
    fn a_node_sees_its_own_devices_and_no_others() {
        assert_eq!(seen("2,3", Some("0")), "2");
        assert_eq!(seen("2,3", Some("0,1")), "2,3");
        assert_eq!(seen("2,3", None), "2,3");
        assert_eq!(seen("", None), "");
        assert_eq!(seen("2", Some("GPU-7f0e")), "GPU-7f0e");
        assert_eq!(seen("2", Some("5")), "5");
    }
}
