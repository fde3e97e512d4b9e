//! Infra that the product's users know but that this release cannot reach, and what to say about it.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Absent {
    /// The name that users write.
    pub(crate) name: &'static str,
    /// What is true of it in this release.
    pub(crate) reason: &'static str,
    /// What to do meanwhile.
    pub(crate) hint: &'static str,
    /// Whether `sky check` lists it without being asked.
    pub(crate) is_planned: bool,
}

/// Those that come next.
const fn planned(name: &'static str, reason: &'static str, hint: &'static str) -> Absent {
    Absent {
        name,
        reason,
        hint,
        is_planned: true,
    }
}

/// The others.
const fn other(name: &'static str) -> Absent {
    Absent {
        name,
        reason: "this release cannot reach it",
        hint: "`sky check` lists the infra that it can reach",
        is_planned: false,
    }
}

/// Any host can be a cluster of its own.
const HOST_HINT: &str = "run `sky` on that machine itself: there it is infra `local`";

/// All of them, in the order of tables.
pub(crate) const ABSENT: &[Absent] = &[
    planned(
        "kubernetes",
        "this release does not drive Kubernetes yet",
        HOST_HINT,
    ),
    planned("slurm", "this release does not drive Slurm yet", HOST_HINT),
    other("azure"),
    other("cudo"),
    other("do"),
    other("fluidstack"),
    other("gcp"),
    other("hyperbolic"),
    other("ibm"),
    other("lambda"),
    other("mithril"),
    other("nebius"),
    other("oci"),
    other("paperspace"),
    other("primeintellect"),
    other("runpod"),
    other("scp"),
    other("seeweb"),
    other("shadeform"),
    other("vast"),
    other("vsphere"),
];

/// Returns what is known of an absent infra; `k8s` is `kubernetes`, and what follows a slash does not matter.
pub(crate) fn absent(text: &str) -> Option<&'static Absent> {
    let name = text
        .split('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let name = if name == "k8s" { "kubernetes" } else { &name };
    ABSENT.iter().find(|one| one.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clouds::CloudId;
    use crate::task::CLOUDS;

    #[test]
    fn every_infra_of_a_task_is_here_or_there() {
        for cloud in CLOUDS {
            let is_real = CloudId::ALL.iter().any(|id| id.as_str() == cloud);
            assert_ne!(is_real, absent(cloud).is_some(), "{cloud}");
        }
        assert_eq!(ABSENT.len() + CloudId::ALL.len(), CLOUDS.len());
        assert_eq!(absent("K8s/ctx/a").map(|one| one.name), Some("kubernetes"));
    }
}
