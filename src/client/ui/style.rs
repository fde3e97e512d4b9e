//! The few looks that text can have. A look is never the only sign of anything.

use crate::api::status::{ClusterStatus, JobStatus, RequestStatus};

/// A look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Strong.
    Bold,
    /// Weak.
    Dim,
    /// Failed.
    Red,
    /// Good.
    Green,
    /// Notice.
    Yellow,
    /// In progress.
    Blue,
    /// Passing away.
    Magenta,
    /// Information.
    Cyan,
    /// Section titles.
    Title,
}

impl Tone {
    /// Returns the parameters of the escape sequence.
    pub(crate) const fn sgr(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Magenta => "35",
            Self::Cyan => "36",
            Self::Title => "1;36",
        }
    }
}

/// Returns the text in a look, or as it is when there are no colours.
pub(crate) fn paint(text: &str, tone: Tone, colors: bool) -> String {
    if colors {
        format!("\u{1b}[{}m{text}\u{1b}[0m", tone.sgr())
    } else {
        text.to_owned()
    }
}

/// Returns the look of a cluster's status.
pub(crate) const fn of_cluster(status: ClusterStatus) -> Tone {
    match status {
        ClusterStatus::Init => Tone::Blue,
        ClusterStatus::Up => Tone::Green,
        ClusterStatus::Stopped => Tone::Yellow,
        ClusterStatus::Autostopping => Tone::Magenta,
        ClusterStatus::Pending => Tone::Cyan,
    }
}

/// Returns the look of a job's status.
pub(crate) const fn of_job(status: JobStatus) -> Tone {
    match status {
        JobStatus::Init | JobStatus::Pending | JobStatus::SettingUp => Tone::Blue,
        JobStatus::Running | JobStatus::Succeeded => Tone::Green,
        JobStatus::Failed | JobStatus::FailedSetup | JobStatus::FailedDriver => Tone::Red,
        JobStatus::Cancelled => Tone::Yellow,
    }
}

/// Returns the look of a request's status.
pub(crate) const fn of_request(status: RequestStatus) -> Option<Tone> {
    match status {
        RequestStatus::Pending => Some(Tone::Blue),
        RequestStatus::Waiting => Some(Tone::Yellow),
        RequestStatus::Running | RequestStatus::Succeeded => Some(Tone::Green),
        RequestStatus::Failed => Some(Tone::Red),
        RequestStatus::Cancelled => None,
    }
}
