//! A directory as a tar stream, for who fetches the logs of a job.

/// Writes a directory as a tar stream. Blocks.
pub(crate) fn pack(directory: &std::path::Path, to: impl std::io::Write) -> std::io::Result<()> {
    let mut builder = tar::Builder::new(to);
    builder.follow_symlinks(false);
    builder.append_dir_all(".", directory)?;
    builder.into_inner()?.flush()
}
