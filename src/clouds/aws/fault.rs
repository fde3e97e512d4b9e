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
    // AWS checks an account before it may have machines in this region.
    "PendingVerification",
];
/// What the account must accept at AWS's marketplace before an image may be used: it is about this task alone.
const TERMS: &str = "OptInRequired";

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

/// Whether the terms of an image are not accepted yet; the same code also stands for accounts that have no EC2 at all.
fn is_about_terms(fault: &Fault) -> bool {
    fault.code() == TERMS && fault.to_string().to_lowercase().contains("marketplace")
}

/// Returns what a fault means.
fn category(fault: &Fault) -> Category {
    let code = fault.code();
    if let Some(category) = category_of(code) {
        category
    } else if is_about_terms(fault) {
        Category::Fatal
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
                    Category::Quota if fault.code() == "PendingVerification" => {
                        error.hint("AWS is checking the account: try again later, or name another region")
                    }
                    Category::Quota => error.hint(
                        "ask AWS for more: https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas",
                    ),
                    _ => error,
                }
            }
            Category::Fatal if is_about_terms(&fault) => {
                Error::new(Kind::PermissionDenied, fault.to_string()).hint(
                    "accept the terms of the image there, or name another: resources.image_id",
                )
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
            ("PendingVerification", 400, Category::Quota),
            ("OptInRequired", 401, Category::Auth),
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
        let terms = Fault::Refused {
            code: "OptInRequired".to_owned(),
            message: "In order to use this AWS Marketplace product you need to accept terms and subscribe.".to_owned(),
            status: 401,
            action: "RunInstances".to_owned(),
            after_silence: false,
        };
        let refusal = CloudError::from(terms);
        assert_eq!(refusal.category, Category::Fatal);
        assert!(refusal.error.hints()[0].contains("image_id"));
    }
}
