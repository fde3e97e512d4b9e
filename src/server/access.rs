//! Who may call what: one table over all routes.
//!
//! A route that is not in the table is not served (see `routes`), and a test walks the table with every role.

use axum::http::Method;

use crate::base::cx::Role;

/// What a route demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: health and log-in.
    Open,
    /// Any account.
    Read,
    /// An account that may change things.
    Write,
    /// An administrator.
    Admin,
}

impl Access {
    /// Returns whether a role is enough.
    pub(crate) const fn permits(self, role: Role) -> bool {
        match (self, role) {
            (Self::Open | Self::Read, Role::Viewer | Role::User | Role::Admin)
            | (Self::Write, Role::User | Role::Admin)
            | (Self::Admin, Role::Admin) => true,
            (Self::Write | Self::Admin, Role::Viewer) | (Self::Admin, Role::User) => false,
        }
    }
}

/// One row of the table.
pub(crate) type Rule = (Method, &'static str, Access);

/// The table.
pub(crate) const RULES: &[Rule] = &[
    (Method::GET, "/api/health", Access::Open),
    (Method::GET, "/api/openapi.json", Access::Read),
    (Method::GET, "/api/get", Access::Read),
    (Method::GET, "/api/status", Access::Read),
    (Method::GET, "/api/stream", Access::Read),
    (Method::POST, "/api/cancel", Access::Read),
    (Method::GET, "/api/completion/{kind}", Access::Read),
    (Method::GET, "/metrics", Access::Admin),
    // Clusters and jobs.
    (Method::POST, "/validate", Access::Write),
    (Method::POST, "/optimize", Access::Write),
    (Method::POST, "/launch", Access::Write),
    (Method::POST, "/exec", Access::Write),
    (Method::POST, "/status", Access::Read),
    (Method::POST, "/queue", Access::Read),
    (Method::POST, "/job_status", Access::Read),
    (Method::POST, "/cancel", Access::Write),
    (Method::POST, "/stop", Access::Write),
    (Method::POST, "/down", Access::Write),
    (Method::POST, "/start", Access::Write),
    (Method::POST, "/autostop", Access::Write),
    (Method::POST, "/endpoints", Access::Read),
    (Method::POST, "/cost_report", Access::Read),
    // Logs and files.
    (Method::POST, "/logs", Access::Read),
    (Method::POST, "/provision_logs", Access::Read),
    (Method::POST, "/download_logs", Access::Read),
    (Method::POST, "/download", Access::Read),
    (Method::GET, "/upload_v2/blob", Access::Write),
    (Method::POST, "/upload_v2", Access::Write),
    (Method::POST, "/upload", Access::Write),
    // Infra.
    (Method::POST, "/check", Access::Write),
    (Method::GET, "/enabled_clouds", Access::Read),
    (Method::GET, "/workspaces", Access::Read),
    (Method::GET, "/users/me/workspace", Access::Read),
    (Method::POST, "/list_accelerators", Access::Read),
    (Method::POST, "/list_accelerator_counts", Access::Read),
    // Log-in with a browser.
    (Method::GET, "/auth/authorize", Access::Open),
    (Method::POST, "/api/v1/auth/authorize", Access::Read),
    (Method::GET, "/api/v1/auth/token", Access::Open),
    (Method::GET, "/token", Access::Open),
    (Method::POST, "/api/v1/auth/session", Access::Read),
    // Users.
    (Method::GET, "/users", Access::Admin),
    (Method::POST, "/users/create", Access::Admin),
    (Method::POST, "/users/update", Access::Read),
    (Method::POST, "/users/delete", Access::Admin),
    (Method::GET, "/users/role", Access::Read),
    (Method::GET, "/users/service-account-tokens", Access::Read),
    (Method::POST, "/users/service-account-tokens", Access::Write),
    (
        Method::POST,
        "/users/service-account-tokens/delete",
        Access::Write,
    ),
    (
        Method::POST,
        "/users/service-account-tokens/rotate",
        Access::Write,
    ),
    (
        Method::POST,
        "/users/service-account-tokens/get-role",
        Access::Read,
    ),
    (
        Method::POST,
        "/users/service-account-tokens/update-role",
        Access::Write,
    ),
    // What `sky status` of SkyPilot's client asks for besides clusters.
    (Method::POST, "/jobs/queue/v2", Access::Read),
    (Method::POST, "/jobs/pool_status", Access::Read),
    (Method::POST, "/serve/status", Access::Read),
    // Not supported yet.
    (Method::POST, "/hook_logs", Access::Read),
    (Method::POST, "/jobs/launch", Access::Write),
    (Method::POST, "/jobs/queue", Access::Read),
    (Method::POST, "/jobs/cancel", Access::Write),
    (Method::POST, "/jobs/logs", Access::Read),
    (Method::POST, "/jobs/wait", Access::Read),
    (Method::POST, "/jobs/download_logs", Access::Read),
    (Method::POST, "/jobs/events", Access::Read),
    (Method::POST, "/jobs/pool_apply", Access::Write),
    (Method::POST, "/jobs/pool_down", Access::Write),
    (Method::POST, "/jobs/pool_logs", Access::Read),
    (Method::POST, "/jobs/pool_sync-down-logs", Access::Read),
    (Method::POST, "/serve/up", Access::Write),
    (Method::POST, "/serve/update", Access::Write),
    (Method::POST, "/serve/down", Access::Write),
    (Method::POST, "/serve/logs", Access::Read),
    (Method::POST, "/serve/terminate-replica", Access::Write),
    (Method::POST, "/serve/sync-down-logs", Access::Read),
    (Method::POST, "/storage/delete", Access::Write),
    (Method::POST, "/volumes/delete", Access::Write),
    (Method::POST, "/local_up", Access::Write),
    (Method::POST, "/local_down", Access::Write),
    (Method::POST, "/kubernetes_label_gpus", Access::Write),
    (Method::POST, "/kubernetes_node_info", Access::Read),
    (
        Method::POST,
        "/realtime_kubernetes_gpu_availability",
        Access::Read,
    ),
    (Method::POST, "/slurm_gpu_availability", Access::Read),
    (Method::POST, "/slurm_node_info", Access::Read),
    (Method::POST, "/slurm_cluster_names", Access::Read),
    (Method::POST, "/cluster_events", Access::Read),
    (Method::POST, "/ssh_node_pools/deploy", Access::Write),
    (Method::POST, "/ssh_node_pools/down", Access::Write),
    (Method::POST, "/ssh_node_pools/list", Access::Read),
    (Method::GET, "/ssh_node_pools", Access::Read),
    (Method::POST, "/ssh_node_pools/{name}/deploy", Access::Write),
    (Method::POST, "/ssh_node_pools/{name}/down", Access::Write),
    (Method::POST, "/workspaces/create", Access::Write),
    (Method::POST, "/workspaces/update", Access::Write),
    (Method::POST, "/workspaces/delete", Access::Write),
    (Method::POST, "/workspaces/config", Access::Admin),
    (Method::POST, "/recipes/list", Access::Read),
    (Method::POST, "/recipes/get", Access::Read),
    (Method::POST, "/recipes/create", Access::Write),
    (Method::POST, "/recipes/delete", Access::Write),
    (Method::POST, "/debug/dump_create", Access::Admin),
    (Method::POST, "/volumes/apply", Access::Write),
    (Method::POST, "/volumes/validate", Access::Read),
    (Method::POST, "/ssh_node_pools", Access::Write),
    (Method::POST, "/users/me/workspace", Access::Read),
    (Method::GET, "/storage/ls", Access::Read),
    (Method::GET, "/volumes", Access::Read),
    (Method::GET, "/slurm_node_info", Access::Read),
    (Method::GET, "/status_kubernetes", Access::Read),
    (Method::GET, "/workspaces/config", Access::Admin),
    (Method::GET, "/all_contexts", Access::Read),
];

/// Returns what a route demands; `None` when it is not in the table.
pub(crate) fn of(method: &Method, path: &str) -> Option<Access> {
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let rule = RULES.iter().find(|(m, p, _)| m == method && *p == path);
    rule.map(|(_, _, access)| *access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_stands_once() {
        for (i, (method, path, _)) in RULES.iter().enumerate() {
            let twins = RULES.iter().filter(|(m, p, _)| m == method && p == path);
            assert_eq!(twins.count(), 1, "rule {i}: {method} {path}");
        }
    }

    #[test]
    fn only_health_and_log_in_are_open() {
        let open = RULES
            .iter()
            .filter(|(_, _, access)| *access == Access::Open);
        assert_eq!(
            open.map(|(_, path, _)| *path).collect::<Vec<_>>(),
            [
                "/api/health",
                "/auth/authorize",
                "/api/v1/auth/token",
                "/token"
            ]
        );
    }

    #[test]
    fn more_permission_never_permits_less() {
        for access in [Access::Open, Access::Read, Access::Write, Access::Admin] {
            assert!(!access.permits(Role::Viewer) || access.permits(Role::User));
            assert!(!access.permits(Role::User) || access.permits(Role::Admin));
            assert!(access.permits(Role::Admin));
        }
    }
}
