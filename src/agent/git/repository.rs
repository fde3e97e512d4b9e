//! The steps from nothing, or from any earlier state, to the commit that was asked for.

use std::path::Path;

use super::command::Git;
use super::url;
use crate::api::agent::GitState;
use crate::base::{Error, Kind, Result};

/// Where HEAD of the remote is noted while the answer is read.
const HEAD: &str = "HEAD";

/// What a word names at the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// A branch and its commit.
    Branch(String, String),
    /// A tag.
    Tag(String),
    /// A commit, or the beginning of one.
    Commit(String),
}

/// Brings the repository to `dest`: files of it that were changed there are as in the commit again, others stay.
pub(super) fn bring(git: &Git, dest: &Path, wanted: Option<&str>) -> Result<GitState> {
    open(git, dest)?;
    let before = git.say(&["rev-parse", "--verify", "-q", "HEAD^{commit}"])?;
    let before = before.ok.then_some(before.out);
    let discarded = changed(git)?;
    let target = resolve(git, wanted)?;
    // A whole history is not cut; a new or shallow one gets no more than it needs.
    let shallow = before.is_none() || dest.join(".git/shallow").exists();
    let depth: &[&str] = if shallow { &["--depth", "1"] } else { &[] };
    match &target {
        Target::Branch(name, commit) => {
            let tracking = format!("refs/remotes/origin/{name}");
            let known = git.say(&["rev-parse", "--verify", "-q", &tracking])?;
            if known.out != *commit {
                fetch(git, depth, &[&format!("+refs/heads/{name}:{tracking}")])?;
            }
            git.must(&[
                "checkout",
                "-q",
                "--force",
                "-B",
                name,
                "--track",
                &format!("origin/{name}"),
            ])?;
        }
        Target::Tag(name) => {
            let tag = format!("refs/tags/{name}");
            fetch(git, depth, &[&format!("+{tag}:{tag}")])?;
            git.must(&["checkout", "-q", "--force", "--detach", &tag])?;
        }
        Target::Commit(name) => {
            let commit = find_commit(git, name, dest)?;
            git.must(&["checkout", "-q", "--force", "--detach", &commit])?;
        }
    }
    Ok(GitState {
        commit: git.must(&["rev-parse", HEAD])?,
        before,
        discarded,
    })
}

/// Makes an empty repository, or sees that the one that is there is the one that is wanted.
fn open(git: &Git, dest: &Path) -> Result<()> {
    let shown = dest.display();
    let failed = |e: &std::io::Error| Error::io(format!("make `{shown}` on the node"), e);
    std::fs::create_dir_all(dest).map_err(|e| failed(&e))?;
    let url = &git.remote.url;
    if !dest.join(".git").exists() {
        let mut there = std::fs::read_dir(dest).map_err(|e| failed(&e))?;
        if there.next().is_some() {
            return Err(Error::new(
                Kind::Conflict,
                format!("`{shown}` on the node holds files that are no git repository"),
            )
            .hint(format!("move or remove them there: rm -rf '{shown}'")));
        }
        git.must(&["init", "-q"])?;
        git.must(&["remote", "add", "origin", url])?;
        return Ok(());
    }
    clear_locks(dest);
    let there = git.say(&["config", "--get", "remote.origin.url"])?;
    if !there.ok {
        git.must(&["config", "remote.origin.url", url])?;
    } else if !url::is_same(&there.out, url) {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "`{shown}` on the node is a clone of another repository, `{}`",
                url::read(&there.out).url
            ),
        )
        .hint(format!(
            "remove it there, if nothing in it is needed: rm -rf '{shown}'"
        )));
    } else if there.out != *url {
        git.must(&["config", "remote.origin.url", url])?;
    }
    Ok(())
}

/// Removes what a `git` that was killed has left: whoever works here has the turn, and a job that works here at the same
/// moment would be in the way anyhow.
fn clear_locks(dest: &Path) {
    clear_locks_in(&dest.join(".git"), false);
    clear_locks_in(&dest.join(".git/refs"), true);
}

/// Removes the locks of a directory, those of directories in it included where that is wanted.
fn clear_locks_in(directory: &Path, deep: bool) {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_directory = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        if is_directory && deep {
            clear_locks_in(&path, deep);
        } else if path.extension().is_some_and(|end| end == "lock")
            && std::fs::remove_file(&path).is_ok()
        {
            tracing::info!(lock = %path.display(), "removed a lock that was left behind");
        }
    }
}

/// Counts files of the repository that are not as in its commit.
fn changed(git: &Git) -> Result<u64> {
    let said = git.say(&["status", "--porcelain", "--untracked-files=no"])?;
    Ok(said.out.lines().count() as u64)
}

/// Finds out what a word names at the remote; without one its own branch.
fn resolve(git: &Git, wanted: Option<&str>) -> Result<Target> {
    let Some(wanted) = wanted else {
        let listed = git.must(&["ls-remote", "--symref", "origin", HEAD])?;
        return own_branch(&listed).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("`{}` has no branch of its own", git.remote.url),
            )
            .hint("name one: `ref` in the task, or --git-ref")
        });
    };
    let (branch, tag) = (
        format!("refs/heads/{wanted}"),
        format!("refs/tags/{wanted}"),
    );
    let listed = git.must(&["ls-remote", "origin", &branch, &tag])?;
    let of = |name: &str| {
        let mut lines = listed.lines().filter_map(|line| line.split_once('\t'));
        lines
            .find(|(_, found)| *found == name)
            .map(|(hash, _)| hash)
    };
    if let Some(hash) = of(&branch) {
        return Ok(Target::Branch(wanted.to_owned(), hash.to_owned()));
    }
    if of(&tag).is_some() {
        return Ok(Target::Tag(wanted.to_owned()));
    }
    let is_hash = (4..=64).contains(&wanted.len()) && wanted.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hash {
        return Ok(Target::Commit(wanted.to_ascii_lowercase()));
    }
    Err(no_such(git, wanted))
}

/// Reads the branch that HEAD of the remote stands for.
fn own_branch(listed: &str) -> Option<Target> {
    let name = listed.lines().find_map(|line| {
        let name = line.strip_prefix("ref: refs/heads/")?;
        name.strip_suffix("\tHEAD")
    })?;
    let hash = listed.lines().find_map(|line| {
        line.strip_suffix("\tHEAD")
            .filter(|h| !h.starts_with("ref:"))
    })?;
    Some(Target::Branch(name.to_owned(), hash.to_owned()))
}

/// Fetches from the remote.
fn fetch(git: &Git, depth: &[&str], what: &[&str]) -> Result<()> {
    let arguments = [&["fetch", "-q", "--no-tags"], depth, &["origin"], what].concat();
    git.must(&arguments).map(drop)
}

/// Returns the whole name of a commit that is here, fetched if need be.
fn find_commit(git: &Git, name: &str, dest: &Path) -> Result<String> {
    let here = |git: &Git| -> Result<Option<String>> {
        let said = git.say(&["rev-parse", "--verify", "-q", &format!("{name}^{{commit}}")])?;
        Ok(said.ok.then_some(said.out))
    };
    let is_whole = name.len() == 40 || name.len() == 64;
    if is_whole {
        if let Some(commit) = here(git)? {
            return Ok(commit);
        }
        // Not every server gives single commits away.
        let one = git.say(&["fetch", "-q", "--no-tags", "--depth", "1", "origin", name])?;
        if one.ok
            && let Some(commit) = here(git)?
        {
            return Ok(commit);
        }
    }
    let whole: &[&str] = if dest.join(".git/shallow").exists() {
        &["--unshallow"]
    } else {
        &[]
    };
    let all = [
        "+refs/heads/*:refs/remotes/origin/*",
        "+refs/tags/*:refs/tags/*",
    ];
    fetch(git, whole, &all)?;
    here(git)?.ok_or_else(|| no_such(git, name))
}

/// The error of a word that names nothing.
fn no_such(git: &Git, wanted: &str) -> Error {
    let url = &git.remote.url;
    let wanted = crate::base::ids::clip(wanted);
    Error::new(
        Kind::NotFound,
        format!("`{url}` has no branch, tag or commit `{wanted}`"),
    )
    .hint(format!("see what there is: git ls-remote {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_that_were_left_behind_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let heads = dir.path().join(".git/refs/heads/team");
        std::fs::create_dir_all(&heads).expect("made");
        for file in [
            "index.lock",
            "index",
            "refs/heads/team/x.lock",
            "refs/heads/team/x",
        ] {
            std::fs::write(dir.path().join(".git").join(file), "").expect("written");
        }
        clear_locks(dir.path());
        assert!(!dir.path().join(".git/index.lock").exists());
        assert!(dir.path().join(".git/index").exists());
        assert!(!heads.join("x.lock").exists());
        assert!(heads.join("x").exists());
    }

    #[test]
    fn the_branch_of_the_remote_is_read() {
        let listed = "ref: refs/heads/trunk/x\tHEAD\n0123456789abcdef\tHEAD";
        assert_eq!(
            own_branch(listed),
            Some(Target::Branch(
                "trunk/x".to_owned(),
                "0123456789abcdef".to_owned()
            ))
        );
        assert_eq!(own_branch("0123\tHEAD"), None);
        assert_eq!(own_branch(""), None);
    }
}
