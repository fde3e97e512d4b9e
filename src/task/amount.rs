//! Amounts with units, durations, ports. Every reader takes text and says in words what is wrong with it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::ids::clip;

/// A quantity, exact or at least: `4`, `4+`; of memory also for each CPU: `4x`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Amount {
    /// How much.
    pub(crate) value: f64,
    /// More will do as well.
    pub(crate) at_least: bool,
    /// So much for each CPU of the machine; more will do as well.
    #[serde(default)]
    pub(crate) per_cpu: bool,
}

impl Amount {
    /// Exactly so much.
    #[cfg(test)]
    pub(crate) const fn exactly(value: f64) -> Self {
        Self {
            value,
            at_least: false,
            per_cpu: false,
        }
    }

    /// So much or more.
    pub(crate) const fn at_least(value: f64) -> Self {
        Self {
            value,
            at_least: true,
            per_cpu: false,
        }
    }

    /// So much or more for each CPU.
    pub(crate) const fn per_cpu(value: f64) -> Self {
        Self {
            value,
            at_least: true,
            per_cpu: true,
        }
    }

    /// Returns what it comes to on a machine with so many CPUs.
    pub(crate) fn for_cpus(self, vcpus: f64) -> Self {
        if self.per_cpu {
            Self::at_least(self.value * vcpus)
        } else {
            self
        }
    }

    /// Returns whether so much meets this wish.
    pub(crate) fn is_met_by(self, have: f64) -> bool {
        /// Machines report their memory a little short of the round figure.
        const SLACK: f64 = 1e-6;
        if self.at_least {
            have + SLACK >= self.value
        } else {
            (have - self.value).abs() <= SLACK
        }
    }

    /// Reads gigabytes: `16`, `16+`, `16GB`, `16384MB+`; `4x` = 4 for each CPU.
    pub(crate) fn memory(text: &str) -> Result<Self, String> {
        if let Some(value) = text.trim().strip_suffix('x').and_then(positive) {
            return Ok(Self::per_cpu(value));
        }
        let (text, at_least) = split_plus(text);
        let value = gigabytes(text)?;
        Ok(Self {
            value,
            at_least,
            per_cpu: false,
        })
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, at_least) = split_plus(text);
        match positive(number) {
            Some(value) => Ok(Self {
                value,
                at_least,
                per_cpu: false,
            }),
            None => Err(format!(
                "`{}` is not a number above 0, such as `4` or `4+`",
                clip(text)
            )),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = match (self.per_cpu, self.at_least) {
            (true, _) => "x",
            (false, true) => "+",
            (false, false) => "",
        };
        write!(f, "{}{bound}", self.value)
    }
}

/// A disk inside the machine: `nvme:1000+`, `ssd:500`, `nvme`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LocalDisk {
    /// It must be NVMe; otherwise any solid-state disk will do.
    nvme: bool,
    /// Gigabytes of all such disks; none = any.
    size: Option<Amount>,
}

impl LocalDisk {
    /// Reads what [`super::read_resources::local_disk`] has checked.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (mode, size) = match text.split_once(':') {
            Some((mode, size)) => (mode, Some(size)),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => ("nvme", Some(text)),
            None => (text, None),
        };
        Some(Self {
            nvme: mode == "nvme",
            size: size.map(Amount::memory).transpose().ok()?,
        })
    }

    /// Returns whether such a disk meets the wish; sizes within a gigabyte are the same.
    pub(crate) fn is_met_by(self, gigabytes: f64, nvme: bool) -> bool {
        let enough = match self.size {
            None => gigabytes > 0.0,
            Some(size) if size.at_least => gigabytes >= size.value,
            Some(size) => (gigabytes - size.value).abs() < 1.0,
        };
        enough && (nvme || !self.nvme)
    }
}

/// Takes a `+` from the end.
fn split_plus(text: &str) -> (&str, bool) {
    match text.trim().strip_suffix('+') {
        Some(number) => (number.trim_end(), true),
        None => (text.trim(), false),
    }
}

/// Reads a decimal number above 0 of a sane size.
fn positive(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value: f64 = if plain {
        text.parse().ok()?
    } else {
        return None;
    };
    (value > 0.0 && value < 1e9).then_some(value)
}

/// Reads an amount of memory or disk as gigabytes; without a unit it is gigabytes.
pub(super) fn gigabytes(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, i32); 6] = [("", 0), ("k", -2), ("m", -1), ("g", 0), ("t", 1), ("p", 2)];
    let wrong = || {
        format!(
            "`{}` is not an amount in GB above 0, such as `16`, `16GB` or `512MB`",
            clip(text)
        )
    };
    let end = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let unit = text[end..].to_ascii_lowercase();
    let letter = unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .or(unit.strip_suffix('i'))
        .unwrap_or(&unit);
    let (_, power) = UNITS
        .iter()
        .find(|(name, _)| *name == letter && (!name.is_empty() || unit.is_empty()))
        .ok_or_else(wrong)?;
    let value = text[..end].trim_end();
    let plain = value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = if plain {
        value.parse().map_err(|_| wrong())?
    } else {
        return Err(wrong());
    };
    let gigabytes = number * 1024_f64.powi(*power);
    if gigabytes > 0.0 && gigabytes < 1e9 {
        Ok(gigabytes)
    } else {
        Err(wrong())
    }
}

/// Reads a disk size as whole gigabytes, rounded up.
pub(super) fn disk_size(text: &str) -> Result<u64, String> {
    let size = gigabytes(text)?.ceil();
    // `gigabytes` holds it between 0 and 1e9.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded above"
    )]
    Ok(size as u64)
}

/// Reads minutes: `30`, `30m`, `2h`, `1d`, `1w`; a negative number means "never".
pub(crate) fn minutes(text: &str) -> Result<i64, String> {
    let wrong = || {
        format!(
            "`{}` is not a time in minutes, such as `30`, `30m`, `2h`, `1d` or `1w`",
            clip(text)
        )
    };
    let text_trimmed = text.trim();
    if let Ok(plain) = text_trimmed.parse::<i64>() {
        return if plain < 0 {
            Ok(-1)
        } else {
            bounded(plain).ok_or_else(wrong)
        };
    }
    let unit = match text_trimmed.chars().last().map(|c| c.to_ascii_lowercase()) {
        Some('m') => 1,
        Some('h') => 60,
        Some('d') => 24 * 60,
        Some('w') => 7 * 24 * 60,
        _ => return Err(wrong()),
    };
    let number = text_trimmed[..text_trimmed.len() - 1].trim_end();
    let count: u32 = number.parse().map_err(|_| wrong())?;
    bounded(i64::from(count).saturating_mul(unit)).ok_or_else(wrong)
}

/// Refuses minutes beyond a century: they overflow somewhere down the road.
fn bounded(minutes: i64) -> Option<i64> {
    (minutes <= 100 * 366 * 24 * 60).then_some(minutes)
}

/// A port, or ports next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PortRange {
    /// The first, at least 1.
    pub(crate) first: u16,
    /// The last, not below the first.
    pub(crate) last: u16,
}

impl PortRange {}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a port from 1 to 65535 or a range such as `10052-10100`",
                clip(text)
            )
        };
        let port = |text: &str| {
            let digits = text.trim();
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let number = if plain {
                digits.parse::<u16>().ok()
            } else {
                None
            };
            number.filter(|port| *port > 0).ok_or_else(wrong)
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if first > last {
            return Err(format!("the range `{}` runs backwards", clip(text)));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// Reads ports separated by commas.
pub(crate) fn ports(text: &str) -> Result<Vec<PortRange>, String> {
    let mut ranges: Vec<PortRange> = Vec::new();
    for part in text.split(',') {
        let range = part.parse()?;
        if !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    Ok(ranges)
}
