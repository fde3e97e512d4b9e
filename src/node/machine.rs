//! What this machine has: CPUs, memory, GPUs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// CPUs that this process may use.
    pub(crate) cpus: f64,
    /// Memory in GB.
    pub(crate) memory_gb: f64,
    /// GPUs: model and how many.
    pub(crate) gpus: BTreeMap<String, u32>,
}

/// Looks at this machine.
pub(crate) fn describe() -> Machine {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Machine {
        cpus: f64::from(u32::try_from(cpus).unwrap_or(u32::MAX)),
        memory_gb: std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|t| memory_gb(&t))
            .unwrap_or(1.0),
        gpus: gpus(Path::new("/proc/driver/nvidia/gpus")),
    }
}

impl Machine {
    /// Returns the model that is wished for as the machine calls it, and how many there are.
    pub(crate) fn gpus_named(&self, wished: &str) -> Option<(String, u32)> {
        self.gpus
            .iter()
            .find(|(model, _)| model.eq_ignore_ascii_case(wished))
            .map(|(model, count)| (model.clone(), *count))
    }

    /// Returns the quantities of each model that can be asked for: powers of two and the full number.
    pub(crate) fn quantities(&self) -> BTreeMap<String, Vec<f64>> {
        self.gpus
            .iter()
            .map(|(name, count)| {
                let powers = (0..u32::BITS).map(|n| 1_u32 << n).take_while(|n| n < count);
                let counts = powers.chain([*count]).map(f64::from).collect();
                (name.clone(), counts)
            })
            .collect()
    }
}

/// Reads total memory out of `/proc/meminfo`, in GB to one decimal.
fn memory_gb(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib / 1024.0 / 1024.0 * 10.0).round() / 10.0)
}

/// Reads the GPUs that the NVIDIA driver lists: one directory each, with a file that names the model.
fn gpus(root: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path().join("information")) else {
            continue;
        };
        let model = text.lines().find_map(|line| line.strip_prefix("Model:"));
        if let Some(model) = model {
            *found.entry(canonical(model.trim())).or_default() += 1;
        }
    }
    found
}

/// Turns a driver's model text into the name users write: "NVIDIA H100 80GB HBM3" becomes "H100".
fn canonical(model: &str) -> String {
    let words: Vec<&str> = model
        .split([' ', '-'])
        .filter(|word| !matches!(*word, "NVIDIA" | "Tesla" | "GeForce" | "Quadro"))
        .collect();
    match words.as_slice() {
        ["RTX", number, ..] => format!("RTX{number}"),
        [name, ..] => (*name).to_owned(),
        [] => model.replace(' ', "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_meminfo() {
        assert_eq!(
            memory_gb("MemTotal:       24689032 kB\nMemFree: 1 kB\n"),
            Some(23.5)
        );
        assert_eq!(memory_gb(""), None);
    }

    #[test]
    fn finds_gpus_by_the_drivers_files() {
        let dir = tempfile::tempdir().expect("a directory");
        for bus in ["0000:01:00.0", "0000:02:00.0"] {
            let gpu = dir.path().join(bus);
            std::fs::create_dir(&gpu).expect("made");
            std::fs::write(
                gpu.join("information"),
                "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1\n",
            )
            .expect("written");
        }
        let machine = Machine {
            cpus: 8.0,
            memory_gb: 64.0,
            gpus: gpus(dir.path()),
        };
        assert_eq!(
            machine.quantities(),
            [("H100".to_owned(), vec![1.0, 2.0])].into()
        );
        assert_eq!(machine.gpus_named("h100"), Some(("H100".to_owned(), 2)));
        assert_eq!(machine.gpus_named("A100"), None);
    }

    #[test]
    fn names_models_as_users_write_them() {
        for (driver, name) in [
            ("Tesla V100-SXM2-16GB", "V100"),
            ("NVIDIA GeForce RTX 4090", "RTX4090"),
            ("NVIDIA L4", "L4"),
        ] {
            assert_eq!(canonical(driver), name);
        }
    }
}
