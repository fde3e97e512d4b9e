//! Accelerators by name and count.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::amount::Amount;
use crate::base::ids::clip;

/// Names that are corrected to this spelling and suggested for near misses.
const KNOWN: [&str; 49] = [
    "A10",
    "A100",
    "A100-80GB",
    "A10G",
    "A16",
    "A30",
    "A40",
    "A6000",
    "B200",
    "B300",
    "GB200",
    "GB300",
    "GH200",
    "Gaudi HL-205",
    "Gaudi2",
    "H100",
    "H100-MEGA",
    "H100-SXM",
    "H200",
    "Inferentia",
    "Inferentia2",
    "K80",
    "L4",
    "L40",
    "L40S",
    "M60",
    "MI250",
    "MI300X",
    "P100",
    "P4",
    "P40",
    "RTX3090",
    "RTX4090",
    "RTX5090",
    "RTX6000",
    "RTX6000-Ada",
    "RTXPRO6000",
    "T4",
    "T4g",
    "Trainium",
    "Trainium2",
    "V100",
    "V100-32GB",
    "tpu-v2-8",
    "tpu-v3-8",
    "tpu-v4-8",
    "tpu-v5litepod-8",
    "tpu-v5p-8",
    "tpu-v6e-8",
];

/// So many accelerators of a kind; below one, a share of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accelerator {
    /// Name in its usual spelling, or a wish by memory such as `80GB+`.
    pub(crate) name: String,
    /// How many per node.
    pub(crate) count: f64,
}

impl Accelerator {
    /// Makes one, with the name corrected; the error says what is wrong.
    pub(crate) fn new(name: &str, count: f64) -> Result<Self, String> {
        let name = name.trim();
        if name.is_empty() {
            return Err("the accelerator's name is empty".to_owned());
        }
        if name.contains(|c: char| c.is_control() || c == '/') {
            return Err(format!("`{}` is not an accelerator's name", clip(name)));
        }
        if !count.is_finite() || count <= 0.0 || count > 100_000.0 {
            return Err(format!(
                "the count of `{}` must be a number above 0",
                clip(name)
            ));
        }
        if count > 1.0 && count.fract() != 0.0 {
            return Err(format!(
                "the count of `{}` must be whole, or a share below 1",
                clip(name)
            ));
        }
        Ok(Self {
            name: canonical(name),
            count,
        })
    }

    /// Returns what is wished for where the name is an amount of memory: `80GB+`, `nvidia:80GB+`.
    pub(crate) fn memory_wish(&self) -> Option<MemoryWish> {
        let (vendor, amount) = match self.name.split_once(':') {
            Some((vendor, amount)) => (Some(vendor.to_ascii_lowercase()), amount),
            None => (None, self.name.as_str()),
        };
        let is_amount = amount.starts_with(|c: char| c.is_ascii_digit())
            && amount
                .trim_end_matches('+')
                .to_ascii_uppercase()
                .ends_with('B');
        let amount = is_amount.then(|| Amount::memory(amount).ok()).flatten()?;
        Some(MemoryWish { vendor, amount })
    }

    /// Returns whether the names are the same.
    pub(crate) fn is_same_kind(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
    }
}

/// Any accelerator with so much memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MemoryWish {
    /// Who makes it, in lower case.
    vendor: Option<String>,
    /// Gigabytes of each.
    amount: Amount,
}

impl MemoryWish {
    /// Returns whether an accelerator of this name with so much memory will do. Of a name that is not known, nothing is.
    pub(crate) fn is_met_by(&self, name: &str, gigabytes: f64) -> bool {
        // Drivers report a little less than what is on the label: 22.4 of 24, 79.6 of 80.
        let (least, value) = (self.amount.value * 0.92, self.amount.value * 1.02);
        let enough = gigabytes >= least && (self.amount.at_least || gigabytes <= value);
        enough
            && self
                .vendor
                .as_deref()
                .is_none_or(|vendor| vendor == maker(name))
    }
}

/// Returns who makes an accelerator.
fn maker(name: &str) -> &'static str {
    let is = |part: &str| name.to_ascii_lowercase().starts_with(part);
    match () {
        () if is("mi") || is("radeon") => "amd",
        () if is("gaudi") => "intel",
        () if is("inferentia") || is("trainium") => "aws",
        () if is("tpu") => "google",
        () => "nvidia",
    }
}

impl FromStr for Accelerator {
    type Err = String;

    /// Reads `A100`, `A100:8`, `A100:0.5`, `80GB+`, `nvidia:80GB+:2`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once(':') {
            Some((name, count)) => match count.trim().parse() {
                Ok(count) => Self::new(name, count),
                // `nvidia:80GB+`: what stands last is no count.
                Err(_)
                    if count.contains(|c: char| c.is_ascii_alphabetic())
                        && count.ends_with('+') =>
                {
                    Self::new(text, 1.0)
                }
                Err(_) => Err(format!(
                    "`{}` is not `NAME` or `NAME:COUNT`, such as `H100:8`",
                    clip(text)
                )),
            },
            None => Self::new(text, 1.0),
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.count)
    }
}

/// Returns the usual spelling of a name; an unknown one as it is.
pub(crate) fn canonical(name: &str) -> String {
    KNOWN
        .iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .map_or_else(|| name.to_owned(), |known| (*known).to_owned())
}

/// Returns well-known names that look like this one, nearest first; empty when it is well-known itself.
pub(crate) fn close_names(name: &str) -> Vec<&'static str> {
    let wanted = name.to_ascii_lowercase();
    if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Vec::new();
    }
    let mut near: Vec<(f64, &str)> = KNOWN
        .iter()
        .map(|known| {
            (
                strsim::jaro_winkler(&wanted, &known.to_ascii_lowercase()),
                *known,
            )
        })
        .filter(|(score, _)| *score >= 0.85)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(4).map(|(_, known)| known).collect()
}
