//! How commands end: every exit code of `sky`, and the three ways to end without a result.

use std::process::ExitCode;

use crate::api::status::{EXIT_JOB_NOT_FOUND, JobStatus};
use crate::base::Error;

/// Every exit code of the command line (also in `docs/cli.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: it worked.
    Success,
    /// 1: it failed, was declined or was interrupted.
    Failure,
    /// 2: the command line is wrong.
    Usage,
    /// 100: the followed job failed.
    JobFailed,
    /// 101: the job has not finished.
    JobUnfinished,
    /// 102: there is no such job.
    JobNotFound,
    /// 103: the job was cancelled.
    JobCancelled,
}

impl Exit {
    /// Returns the number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::JobFailed => 100,
            Self::JobUnfinished => 101,
            Self::JobNotFound => EXIT_JOB_NOT_FOUND,
            Self::JobCancelled => 103,
        }
    }

    /// Returns how a command ends that followed a job; `None` is a job that does not exist.
    pub(crate) const fn of_job(status: Option<JobStatus>) -> Self {
        match status {
            None => Self::JobNotFound,
            Some(JobStatus::Succeeded) => Self::Success,
            Some(JobStatus::Failed | JobStatus::FailedSetup | JobStatus::FailedDriver) => {
                Self::JobFailed
            }
            Some(JobStatus::Cancelled) => Self::JobCancelled,
            Some(
                JobStatus::Init | JobStatus::Pending | JobStatus::SettingUp | JobStatus::Running,
            ) => Self::JobUnfinished,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ended without a result.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed.
    Failed(Box<Error>),
    /// The user declined, or there was nobody to ask.
    Aborted,
    /// The user left (Ctrl-C) and was told how to come back.
    Detached,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// What a command returns.
pub(crate) type Outcome<T = Exit> = std::result::Result<T, Stop>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_exits_agree_with_the_wire() {
        for status in JobStatus::ALL {
            assert_eq!(Exit::of_job(Some(*status)).code(), status.exit_code());
        }
        assert_eq!(Exit::of_job(None).code(), 102);
    }
}
