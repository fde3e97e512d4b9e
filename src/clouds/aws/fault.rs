//! What AWS's refusals mean for a launch.

use crate::aws::Fault;
use crate::base::{Error, Kind};
use crate::clouds::{Category, CloudError};

/// No machine of this kind is to be had there now.
const CAPACITY: &[&str] = &[
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientAddressCapacity",
    "ReservationCapacityExceeded",
    "SpotMaxPriceTooLow",
    "MaxSpotPriceTooLow",
    // The machine type is not sold in this zone.
    "Unsupported",
    "UnsupportedOperation",
    "InstanceTypeNotSupported",
    // A machine that was granted and taken back while it started.
    "Server.InsufficientInstanceCapacity",
    "Server.SpotInstanceTermination",
    "Server.InternalError",
];
/// The account may not have more of it.
const QUOTA: &[&str] = &[
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "SpotInstanceCountExceeded",
    "MaxSpotFleetRequestCountExceeded",
    "VolumeLimitExceeded",
    "MaxIOPSLimitExceeded",
    "NetworkInterfaceLimitExceeded",
    "AddressLimitExceeded",
    "ResourceLimitExceeded",
    "SecurityGroupLimitExceeded",
    "AccountLimitExceeded",
];

/// Returns what a code means; none where the code alone does not say.
pub(super) fn category_of(code: &str) -> Option<Category> {
    if CAPACITY.contains(&code) {
        Some(Category::Capacity)
    } else if QUOTA.contains(&code) || code.ends_with("LimitExceeded") && !is_rate(code) {
        Some(Category::Quota)
    } else {
        None
    }
}

/// Whether a limit is one of calls, not of things.
fn is_rate(code: &str) -> bool {
    matches!(code, "RequestLimitExceeded" | "BandwidthLimitExceeded")
}

/// Returns what a fault means.
fn category(fault: &Fault) -> Category {
    let code = fault.code();
    if let Some(category) = category_of(code) {
        category
    } else if fault.is_unknown_caller() || fault.is_forbidden() {
        Category::Auth
    } else if fault.is_throttling() {
        Category::Throttled
    } else if fault.is_passing() || code == "DependencyViolation" {
        // What depends on it is mostly on its way out.
        Category::Transient
    } else if code.ends_with(".NotFound") || code.ends_with("NotFound") {
        Category::NotFound
    } else if code == "IdempotentParameterMismatch" || code.ends_with(".Duplicate") {
        Category::Conflict
    } else {
        Category::Fatal
    }
}

impl From<Fault> for CloudError {
    fn from(fault: Fault) -> Self {
        let category = category(&fault);
        let error = match category {
            Category::Capacity | Category::Quota => {
                let error = Error::new(Kind::ResourcesUnavailable, fault.to_string());
                match category {
                    Category::Quota => error.hint(
                        "ask AWS for more: https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas",
                    ),
                    _ => error,
                }
            }
            Category::Auth
            | Category::Throttled
            | Category::Configuration
            | Category::NotFound
            | Category::Conflict
            | Category::Transient
            | Category::Fatal => Error::from(fault),
        };
        Self::new(category, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_categories() {
        for (code, status, expected) in [
            ("InsufficientInstanceCapacity", 500, Category::Capacity),
            ("Unsupported", 400, Category::Capacity),
            ("SpotMaxPriceTooLow", 400, Category::Capacity),
            ("VcpuLimitExceeded", 400, Category::Quota),
            ("VpcLimitExceeded", 400, Category::Quota),
            ("RequestLimitExceeded", 503, Category::Throttled),
            ("InternalError", 500, Category::Transient),
            ("Unavailable", 503, Category::Transient),
            ("AuthFailure", 401, Category::Auth),
            ("UnauthorizedOperation", 403, Category::Auth),
            ("InvalidClientTokenId", 403, Category::Auth),
            ("ExpiredToken", 400, Category::Auth),
            ("InvalidAMIID.NotFound", 400, Category::NotFound),
            ("IdempotentParameterMismatch", 400, Category::Conflict),
            ("InvalidParameterValue", 400, Category::Fatal),
            ("", 502, Category::Transient),
            ("", 400, Category::Fatal),
        ] {
            let fault = Fault::Refused {
                code: code.to_owned(),
                message: "m".to_owned(),
                status,
                action: "RunInstances".to_owned(),
                after_silence: false,
            };
            assert_eq!(CloudError::from(fault).category, expected, "{code}");
        }
    }
}
