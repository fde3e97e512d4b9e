//! Names of clouds as tables show them, and names that are close to another.

/// Name in tasks, name in tables.
const CLOUDS: [(&str, &str); 12] = [
    ("aws", "AWS"),
    ("azure", "Azure"),
    ("do", "DO"),
    ("gcp", "GCP"),
    ("ibm", "IBM"),
    ("kubernetes", "Kubernetes"),
    ("local", "Local"),
    ("oci", "OCI"),
    ("runpod", "RunPod"),
    ("scp", "SCP"),
    ("ssh", "SSH"),
    ("vsphere", "vSphere"),
];

/// Returns the name of a cloud in tables: `aws` is `AWS`, `lambda` is `Lambda`.
pub(crate) fn display_name(cloud: &str) -> String {
    if let Some((_, display)) = CLOUDS.iter().find(|(name, _)| *name == cloud) {
        return (*display).to_owned();
    }
    let mut letters = cloud.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Returns up to four names that look like the wanted one, nearest first.
pub(super) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = wanted.to_ascii_lowercase();
    let mut near: Vec<(f64, &str)> = names
        .map(|name| {
            (
                strsim::jaro_winkler(&wanted, &name.to_ascii_lowercase()),
                name,
            )
        })
        .filter(|(score, _)| *score >= 0.85)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.into_iter()
        .take(4)
        .map(|(_, name)| name.to_owned())
        .collect()
}
