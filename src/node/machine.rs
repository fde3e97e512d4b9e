//! What this machine has: CPUs, memory, GPUs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gpus::{self, Gpu};

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// CPUs that this process may use.
    pub(crate) cpus: f64,
    /// Memory in GB.
    pub(crate) memory_gb: f64,
    /// GPUs by index.
    pub(crate) gpus: Vec<Gpu>,
}

/// Looks at this machine.
pub(crate) async fn describe() -> Machine {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Machine {
        cpus: f64::from(u32::try_from(cpus).unwrap_or(u32::MAX)),
        memory_gb: std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|t| memory_gb(&t))
            .unwrap_or(1.0),
        gpus: gpus::find().await,
    }
}

impl Machine {
    /// Returns how many there are of each model.
    pub(crate) fn models(&self) -> BTreeMap<String, u32> {
        let mut models = BTreeMap::new();
        for gpu in &self.gpus {
            *models.entry(gpu.model.clone()).or_default() += 1;
        }
        models
    }

    /// Returns the model that is wished for as the machine calls it, and how many there are.
    pub(crate) fn gpus_named(&self, wished: &str) -> Option<(String, u32)> {
        self.models()
            .into_iter()
            .find(|(model, _)| model.eq_ignore_ascii_case(wished))
    }

    /// Returns the quantities of each model that can be asked for: powers of two and the full number.
    pub(crate) fn quantities(&self) -> BTreeMap<String, Vec<f64>> {
        self.models()
            .into_iter()
            .map(|(name, count)| {
                let counts = quantities_of(count).map(f64::from).collect();
                (name, counts)
            })
            .collect()
    }
}

/// Returns what can be asked for of so many: powers of two, and all.
pub(crate) fn quantities_of(count: u32) -> impl Iterator<Item = u32> {
    (0..u32::BITS)
        .map(|power| 1 << power)
        .take_while(move |quantity| *quantity < count)
        .chain([count])
}

/// Reads total memory out of `/proc/meminfo`, in GB to one decimal.
fn memory_gb(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib / 1024.0 / 1024.0 * 10.0).round() / 10.0)
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
    fn counts_models() {
        let h100 = |index| Gpu {
            index,
            model: "H100".to_owned(),
        };
        let machine = Machine {
            cpus: 8.0,
            memory_gb: 64.0,
            gpus: (0..3).map(h100).collect(),
        };
        assert_eq!(
            machine.quantities(),
            [("H100".to_owned(), vec![1.0, 2.0, 3.0])].into()
        );
        assert_eq!(machine.gpus_named("h100"), Some(("H100".to_owned(), 3)));
        assert_eq!(machine.gpus_named("A100"), None);
    }
}
