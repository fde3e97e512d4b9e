//! A few numbers for operators, in the text form that Prometheus reads.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

use crate::base::clock::Moment;
use crate::requests::Load;

/// Counts since the server started.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// When that was.
    started: Moment,
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
    /// Requests that were accepted.
    accepted: AtomicU64,
}

impl Metrics {
    /// Begins to count.
    pub(crate) fn new() -> Self {
        Self {
            started: Moment::now(),
            answers: Default::default(),
            accepted: AtomicU64::new(0),
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(count) = self.answers.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that was accepted.
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes all of them.
    pub(crate) fn render(&self, load: Load) -> String {
        let mut lines = Vec::new();
        let mut put = |kind: &str, name: &str, label: &str, value: &dyn std::fmt::Display| {
            if label.is_empty() || label.contains("\"1xx\"") {
                lines.push(format!("# TYPE {name} {kind}\n"));
            }
            lines.push(format!("{name}{label} {value}\n"));
        };
        for (class, count) in self.answers.iter().enumerate().skip(1) {
            let label = format!("{{status=\"{class}xx\"}}");
            put(
                "counter",
                "sky_http_answers_total",
                &label,
                &count.load(Ordering::Relaxed),
            );
        }
        let accepted = self.accepted.load(Ordering::Relaxed);
        put("counter", "sky_requests_accepted_total", "", &accepted);
        put("gauge", "sky_requests_unfinished", "", &load.unfinished);
        put(
            "gauge",
            "sky_requests_short_running",
            "",
            &load.short_running,
        );
        put("gauge", "sky_requests_long_running", "", &load.long_running);
        let up = Moment::now().since(self.started).as_secs();
        put("gauge", "sky_uptime_seconds", "", &up);
        put("gauge", "sky_resident_bytes", "", &resident_bytes());
        lines.concat()
    }
}

/// Memory of this process; 0 where the kernel does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_declared_once() {
        let metrics = Metrics::new();
        metrics.answered(StatusCode::OK);
        metrics.accepted();
        let load = Load {
            unfinished: 3,
            short_running: 1,
            long_running: 2,
        };
        let text = metrics.render(load);
        assert!(
            text.contains("sky_http_answers_total{status=\"2xx\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("sky_requests_unfinished 3\n"), "{text}");
        assert_eq!(text.matches("# TYPE sky_http_answers_total").count(), 1);
        assert_eq!(text.matches("# TYPE").count(), 7, "{text}");
    }
}
