//! URLs of repositories.

/// What matters of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    /// The URL without a password or token.
    pub(super) url: String,
    /// The scheme and host that credentials are for: `https://host:port`; none without https.
    pub(super) realm: Option<String>,
    /// The user in an https URL.
    pub(super) user: Option<String>,
    /// The password that stood in the URL.
    pub(super) password: Option<String>,
}

/// Reads a URL; credentials are taken out of http ones, so that they reach no configuration file.
pub(super) fn read(url: &str) -> Remote {
    let plain = |url: &str| Remote {
        url: url.to_owned(),
        realm: None,
        user: None,
        password: None,
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return plain(url);
    };
    if scheme != "https" && scheme != "http" {
        return plain(url);
    }
    let (authority, path) = rest
        .find('/')
        .map_or((rest, ""), |at| (&rest[..at], &rest[at..]));
    let (userinfo, host) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(info, host)| (Some(info), host));
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let (user, password) = match userinfo.map(|info| info.split_once(':')) {
        None => (None, None),
        // `https://TOKEN@host/`
        Some(None) => (None, userinfo.map(decode)),
        Some(Some((user, password))) => (Some(decode(user)), Some(decode(password))),
    };
    Remote {
        url: format!("{scheme}://{host}{path}"),
        realm: (scheme == "https").then(|| format!("https://{host}")),
        user,
        password,
    }
}

/// Whether two URLs name the same repository, by whatever protocol.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    core(a) == core(b)
}

/// Host and path of a URL.
fn core(url: &str) -> String {
    let (has_scheme, rest) = match url.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, url),
    };
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix(".git").unwrap_or(rest);
    let (host, path) = if has_scheme {
        rest.split_once('/').unwrap_or((rest, ""))
    } else {
        rest.split_once(':').unwrap_or(("", rest))
    };
    let host = host.rsplit('@').next().unwrap_or(host);
    let host = host.split(':').next().unwrap_or(host);
    format!(
        "{}/{}",
        host.to_ascii_lowercase(),
        path.trim_start_matches('/')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url() {
        let remote = read("https://me:s%40cret@host:8443/o/r.git");
        assert_eq!(remote.url, "https://host:8443/o/r.git");
        assert_eq!(remote.realm.as_deref(), Some("https://host:8443"));
        assert_eq!(remote.user.as_deref(), Some("me"));
        assert_eq!(remote.password.as_deref(), Some("s@cret"));
        let remote = read("https://tok@host/o/r");
        assert_eq!(
            (remote.url.as_str(), remote.user),
            ("https://host/o/r", None)
        );
        assert_eq!(remote.password.as_deref(), Some("tok"));
        for url in [
            "git@host:o/r.git",
            "ssh://git@host:2222/o/r",
            "http://host/o/r",
        ] {
            let remote = read(url);
            assert_eq!((remote.url.as_str(), remote.realm), (url, None));
        }
    }

    #[test]
    fn one_repository_has_many_urls() {
        for url in [
            "https://github.com/o/r",
            "https://token@GitHub.com/o/r.git/",
            "git@github.com:o/r.git",
            "ssh://git@github.com:22/o/r.git",
        ] {
            assert!(is_same(url, "https://github.com/o/r.git"), "{url}");
        }
        assert!(!is_same(
            "https://github.com/o/r",
            "https://github.com/o/r2"
        ));
        assert!(!is_same("https://a.com/o/r", "https://b.com/o/r"));
    }
}
