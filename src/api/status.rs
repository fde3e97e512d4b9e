//! States as the wire and the tables show them. The machines behind them live with their owners.

use serde::{Deserialize, Serialize};

/// Declares a status enum whose wire form is its upper-case name.
macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        pub(crate) enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// All values, in the order of a life.
            #[allow(dead_code, reason = "not every status enum is enumerated")]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the wire form.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

status!(
    /// Of a request.
    RequestStatus {
        /// Accepted and stored, not started.
        Pending = "PENDING",
        /// Parked until a time or a condition.
        Waiting = "WAITING",
        /// At work.
        Running = "RUNNING",
        /// Ended with a result.
        Succeeded = "SUCCEEDED",
        /// Ended with an error.
        Failed = "FAILED",
        /// Stopped on demand.
        Cancelled = "CANCELLED",
    }
);

impl RequestStatus {
    /// Returns whether nothing will change any more.
    pub(crate) const fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Waiting | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

status!(
    /// Of a cluster.
    ClusterStatus {
        /// Being made, or abnormal.
        Init = "INIT",
        /// All nodes up, agents healthy.
        Up = "UP",
        /// All nodes stopped, disks kept.
        Stopped = "STOPPED",
        /// The idle timer fired, the stop is under way.
        Autostopping = "AUTOSTOPPING",
        /// Display only: the launch request is still queued.
        Pending = "PENDING",
    }
);

status!(
    /// Of a job on a cluster.
    JobStatus {
        /// Has an id, nothing else.
        Init = "INIT",
        /// Queued.
        Pending = "PENDING",
        /// `setup` runs.
        SettingUp = "SETTING_UP",
        /// `run` runs.
        Running = "RUNNING",
        /// The supervisor or a node was lost.
        FailedDriver = "FAILED_DRIVER",
        /// `run` ended with 0 on all ranks.
        Succeeded = "SUCCEEDED",
        /// `run` ended with another code on some rank.
        Failed = "FAILED",
        /// `setup` ended with another code than 0.
        FailedSetup = "FAILED_SETUP",
        /// Stopped on demand.
        Cancelled = "CANCELLED",
    }
);

impl JobStatus {
    /// Returns whether nothing will change any more.
    pub(crate) const fn is_final(self) -> bool {
        match self {
            Self::Init | Self::Pending | Self::SettingUp | Self::Running => false,
            Self::FailedDriver
            | Self::Succeeded
            | Self::Failed
            | Self::FailedSetup
            | Self::Cancelled => true,
        }
    }

    /// Returns the sign of how the job ended.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::Succeeded => "✓",
            Self::Init
            | Self::Pending
            | Self::SettingUp
            | Self::Running
            | Self::Failed
            | Self::FailedSetup
            | Self::FailedDriver
            | Self::Cancelled => "⨯",
        }
    }

    /// Returns what stands behind the sign at the end of the log of a job that has ended.
    pub(crate) fn closing_words(self) -> String {
        format!("Job finished (status: {self}).")
    }

    /// Returns the exit code of a command that followed the job to this point.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed | Self::FailedSetup | Self::FailedDriver => 100,
            Self::Init | Self::Pending | Self::SettingUp | Self::Running => 101,
            Self::Cancelled => 103,
        }
    }
}

/// Exit code of a command that asked for a job which does not exist.
pub(crate) const EXIT_JOB_NOT_FOUND: u8 = 102;
