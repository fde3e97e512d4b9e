//! The GPUs of this machine: what its drivers list, else what their tools print.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sys::process;

/// How long a tool may take: without a daemon that keeps it loaded, a driver starts anew for it.
const TOOL: Duration = Duration::from_secs(10);
/// Makers and lines of products, which users leave out of the names of models.
const LEFT_OUT: [&str; 8] = [
    "NVIDIA", "Tesla", "GeForce", "Quadro", "AMD", "Instinct", "INSTINCT", "Radeon",
];

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gpu {
    /// The number by which programs name it.
    pub(crate) index: u32,
    /// Its model as users write it.
    pub(crate) model: String,
}

/// Finds them all, by index.
pub(super) async fn find() -> Vec<Gpu> {
    let listed = of_driver(Path::new("/proc/driver/nvidia/gpus"));
    if !listed.is_empty() {
        return listed;
    }
    let nvidia = [
        "--query-gpu=index,name,memory.total",
        "--format=csv,noheader,nounits",
    ];
    if let Some(printed) = process::output("nvidia-smi", &nvidia, TOOL).await {
        return of_nvidia_smi(&printed);
    }
    let amd = ["--showproductname", "--json"];
    process::output("rocm-smi", &amd, TOOL)
        .await
        .map(|printed| of_rocm_smi(&printed))
        .unwrap_or_default()
}

/// Reads what the NVIDIA driver lists: a directory for each, by its place on the bus, with a file that names the model.
fn of_driver(root: &Path) -> Vec<Gpu> {
    let mut found: Vec<(std::ffi::OsString, String)> = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path().join("information")) else {
            continue;
        };
        let model = text.lines().find_map(|line| line.strip_prefix("Model:"));
        if let Some(model) = model {
            found.push((entry.file_name(), canonical(model.trim())));
        }
    }
    found.sort();
    let models = found.into_iter().map(|(_, model)| model);
    (0..)
        .zip(models)
        .map(|(index, model)| Gpu { index, model })
        .collect()
}

/// Reads lines such as `0, NVIDIA A100-SXM4-80GB, 81920`.
fn of_nvidia_smi(printed: &str) -> Vec<Gpu> {
    let read = |line: &str| {
        let mut fields = line.split(',').map(str::trim);
        Some(Gpu {
            index: fields.next()?.parse().ok()?,
            model: canonical(fields.next()?),
        })
    };
    printed.lines().filter_map(read).collect()
}

/// Reads `{"card0": {"Card Series": "AMD Instinct MI300X", …}, …}`; releases differ in capitals.
fn of_rocm_smi(printed: &str) -> Vec<Gpu> {
    // Warnings stand before the object.
    let start = printed.find('{').unwrap_or(printed.len());
    let Ok(Value::Object(cards)) = serde_json::from_str(&printed[start..]) else {
        return Vec::new();
    };
    let read = |(card, about): (&String, &Value)| {
        let index = card.strip_prefix("card")?.parse().ok()?;
        let about = about.as_object()?;
        let field = |wanted: &str| {
            let found = about
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.and_then(|(_, value)| value.as_str())
        };
        let model = canonical(field("card series").or_else(|| field("card model"))?);
        Some(Gpu { index, model })
    };
    let mut gpus: Vec<Gpu> = cards.iter().filter_map(read).collect();
    gpus.sort_by_key(|gpu| gpu.index);
    gpus
}

/// Turns a driver's model text into the name users write: "NVIDIA H100 80GB HBM3" becomes "H100".
fn canonical(model: &str) -> String {
    let words: Vec<&str> = model
        .split([' ', '-'])
        .filter(|word| !word.is_empty() && !LEFT_OUT.contains(word))
        .collect();
    let has = |size: &str| words.iter().any(|word| word.eq_ignore_ascii_case(size));
    match words.as_slice() {
        ["RTX", number, ..] => format!("RTX{number}"),
        // Models that users tell apart by their memory.
        ["A100", ..] if has("80GB") => "A100-80GB".to_owned(),
        ["V100", ..] if has("32GB") => "V100-32GB".to_owned(),
        [name, ..] => (*name).to_owned(),
        [] => model.replace(' ', "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(index: u32, model: &str) -> Gpu {
        let model = model.to_owned();
        Gpu { index, model }
    }

    #[test]
    fn the_drivers_files_are_in_the_order_of_the_bus() {
        let dir = tempfile::tempdir().expect("a directory");
        for (bus, model) in [
            ("0000:02:00.0", "NVIDIA L4"),
            ("0000:01:00.0", "NVIDIA H100 80GB HBM3"),
        ] {
            let gpu = dir.path().join(bus);
            std::fs::create_dir(&gpu).expect("made");
            let text = format!("Model: \t\t {model}\nIRQ: 1\n");
            std::fs::write(gpu.join("information"), text).expect("written");
        }
        assert_eq!(of_driver(dir.path()), [gpu(0, "H100"), gpu(1, "L4")]);
    }

    #[test]
    fn tools_are_read() {
        assert_eq!(
            of_nvidia_smi("0, Tesla T4, 15360\n1, NVIDIA A100-SXM4-80GB, 81920\n"),
            [gpu(0, "T4"), gpu(1, "A100-80GB")]
        );
        let printed = r#"WARNING: low power
            {"card1": {"Card Series": "AMD Instinct MI300X", "Card Vendor": "AMD"},
             "card0": {"Card series": "AMD INSTINCT MI250X (MCM)"}, "system": {}}"#;
        assert_eq!(of_rocm_smi(printed), [gpu(0, "MI250X"), gpu(1, "MI300X")]);
        assert_eq!(of_nvidia_smi("No devices were found\n"), []);
        assert_eq!(of_rocm_smi(""), []);
    }

    #[test]
    fn names_models_as_users_write_them() {
        for (driver, name) in [
            ("Tesla V100-SXM2-16GB", "V100"),
            ("Tesla V100-SXM2-32GB", "V100-32GB"),
            ("NVIDIA GeForce RTX 4090", "RTX4090"),
            ("NVIDIA L4", "L4"),
            ("NVIDIA A100-PCIE-40GB", "A100"),
        ] {
            assert_eq!(canonical(driver), name);
        }
    }
}
