//! `sky logs --sync-down`: logs of jobs as files on this machine.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;

use crate::api::bodies::{DownloadBody, DownloadLogsBody};
use crate::base::{Error, Kind, Result};
use crate::client::exit::{Exit, Outcome};
use crate::client::session::{Repeat, Session};
use crate::client::ui::Tone;
use crate::sys::fs::private_dir;

/// The largest download that is taken.
const LIMIT: usize = 4 << 30;
/// The directory of logs, here and below each user's directory on the server.
const LOGS: &str = "sky_logs";

/// Downloads the logs of jobs; without numbers those of the latest.
pub(super) async fn run(session: &Session, cluster: &str, jobs: &[u64]) -> Outcome {
    session.ui.err("Syncing down logs to local...");
    let body = DownloadLogsBody {
        common: session.common(),
        cluster_name: cluster.to_owned(),
        job_ids: (!jobs.is_empty()).then(|| jobs.iter().map(u64::to_string).collect()),
    };
    let directories: BTreeMap<String, String> = session.ask("/download_logs", &body).await?;
    if directories.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            format!("cluster '{cluster}' has no such job"),
        )
        .hint(format!("sky queue {cluster}"))
        .into());
    }
    let download = DownloadBody {
        common: session.common(),
        folder_paths: directories.values().cloned().collect(),
    };
    let answer = session
        .patiently(Repeat::Always, || session.calls.download(&download))
        .await?;
    let home = answer.header("x-home-path").map(PathBuf::from);
    let bytes = answer.bytes(LIMIT).await?;
    let home = home.unwrap_or_default();
    unpack(&bytes, &home, session.paths.home())?;
    for (job, directory) in &directories {
        let local = local_place(Path::new(directory), &home)
            .map_or_else(|| directory.clone(), |path| format!("~/{}", path.display()));
        let text = format!("Job {job} logs: {local}");
        session.ui.out(&session.ui.paint(&text, Tone::Cyan));
    }
    Ok(Exit::Success)
}

/// Writes the files of a download below the user's home.
fn unpack(bytes: &[u8], server_home: &Path, home: &Path) -> Result<()> {
    let broken = |e: &dyn std::error::Error| {
        Error::new(Kind::Internal, "the download is damaged").caused_by(e)
    };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| broken(&e))?;
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|e| broken(&e))?;
        let path = Path::new("/").join(entry.name());
        let Some(place) = local_place(&path, server_home) else {
            continue;
        };
        let target = home.join(place);
        if entry.is_dir() {
            private_dir(&target)?;
            continue;
        }
        if let Some(parent) = target.parent() {
            private_dir(parent)?;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|e| broken(&e))?;
        std::fs::write(&target, content)
            .map_err(|e| Error::io(format!("write `{}`", target.display()), &e))?;
    }
    Ok(())
}

/// Returns the place below home of what lies at a path on the server: everything from `sky_logs` on.
///
/// `None` for what lies elsewhere or tries to leave.
fn local_place(path: &Path, server_home: &Path) -> Option<PathBuf> {
    let below_home = path
        .strip_prefix(server_home)
        .or_else(|_| path.strip_prefix("~"))
        .unwrap_or(path);
    let parts: Vec<_> = below_home.components().collect();
    let start = parts.iter().position(|part| part.as_os_str() == LOGS)?;
    let place = &parts[start..];
    place
        .iter()
        .all(|part| matches!(part, Component::Normal(_)))
        .then(|| place.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_land_below_sky_logs() {
        let home = Path::new("/srv");
        for (path, place) in [
            (
                "~/.sky/api_server/clients/a1/sky_logs/demo/1-x",
                Some("sky_logs/demo/1-x"),
            ),
            (
                "/srv/.sky/api_server/clients/a1/sky_logs/demo/run.log",
                Some("sky_logs/demo/run.log"),
            ),
            ("/etc/passwd", None),
            ("/srv/sky_logs/../../etc/passwd", None),
        ] {
            assert_eq!(
                local_place(Path::new(path), home),
                place.map(PathBuf::from),
                "{path}"
            );
        }
    }
}
