//! What can go wrong at a cloud, by what it means for the caller.

use std::fmt;

use crate::base::{Error, Kind};

/// What an error means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    /// No machine of this kind is free there: try another place.
    Capacity,
    /// The account may not have more of this kind there: try another region or kind.
    Quota,
    /// Credentials are missing or refused: nothing of this cloud can be had.
    Auth,
    /// Too many calls: the same again after a pause (that of the error, where it has one).
    Throttled,
    /// Something that the user or the account has set up does not fit: nothing of this cloud can be had until it is changed.
    Configuration,
    /// The thing does not exist.
    NotFound,
    /// Something else uses the name.
    Conflict,
    /// May succeed when tried again.
    Transient,
    /// Will not succeed.
    Fatal,
}

/// An error of a cloud.
#[derive(Debug, Clone)]
pub(crate) struct CloudError {
    /// What it means.
    pub(crate) category: Category,
    /// What happened.
    pub(crate) error: Box<Error>,
}

impl CloudError {
    /// Puts an error into a category.
    pub(crate) fn new(category: Category, error: Error) -> Self {
        Self {
            category,
            error: Box::new(error),
        }
    }

    /// Whether another place may do better.
    pub(crate) const fn is_place_bound(&self) -> bool {
        match self.category {
            Category::Capacity | Category::Quota => true,
            Category::Auth
            | Category::Throttled
            | Category::Configuration
            | Category::NotFound
            | Category::Conflict
            | Category::Transient
            | Category::Fatal => false,
        }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for CloudError {}

impl From<CloudError> for Error {
    fn from(error: CloudError) -> Self {
        *error.error
    }
}

impl From<Error> for CloudError {
    /// An error of the system below: a full disk is lack of capacity, a peer that is away may come back.
    fn from(error: Error) -> Self {
        let category = match error.kind() {
            Kind::StorageFull => Category::Capacity,
            Kind::TooBusy => Category::Throttled,
            Kind::Unreachable | Kind::Timeout => Category::Transient,
            Kind::NotFound => Category::NotFound,
            Kind::Conflict => Category::Conflict,
            Kind::Unauthenticated | Kind::PermissionDenied | Kind::NoCloudAccess => Category::Auth,
            Kind::InvalidConfig => Category::Configuration,
            Kind::Invalid
            | Kind::Usage
            | Kind::InvalidName
            | Kind::InvalidTask
            | Kind::Ambiguous
            | Kind::ClusterNotFound
            | Kind::ClusterNotUp
            | Kind::ResourcesMismatch
            | Kind::ResourcesUnavailable
            | Kind::NotSupported
            | Kind::TooLarge
            | Kind::VersionMismatch
            | Kind::Cancelled
            | Kind::Interrupted
            | Kind::CommandFailed
            | Kind::Internal => Category::Fatal,
        };
        Self::new(category, error)
    }
}
