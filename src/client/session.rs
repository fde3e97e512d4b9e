//! One command's dealings with its server: connected, patient with busy servers and broken connections.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::autostart::{self, How};
use super::backoff::Backoff;
use super::calls::{Calls, document};
use super::config::Config;
use super::exit::{Outcome, Stop};
use super::foreign::{kind_of_class, without_pickles};
use super::identity::Identity;
use super::target::{Source, Target};
use super::ui::Ui;
use crate::api::bodies::Common;
use crate::api::health::Health;
use crate::api::requests::{ErrorPayload, RequestPayload};
use crate::api::status::RequestStatus;
use crate::api::versions::MIN_API_VERSION;
use crate::base::clock::monotonic;
use crate::base::cx::cancelled;
use crate::base::ids::{IdempotencyKey, RequestId};
use crate::base::{Error, Kind, Result};
use crate::sys::paths::Paths;
use crate::sys::signals;

/// How long a busy or vanished server is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// A server, and how to speak to it.
pub(crate) struct Session {
    /// The terminal.
    pub(crate) ui: Ui,
    /// The calls.
    pub(crate) calls: Calls,
    /// Which server it is.
    pub(crate) target: Target,
    /// Who speaks.
    pub(crate) identity: Identity,
    /// Places of files.
    pub(crate) paths: Paths,
    /// What the server said of itself; none when it was not asked.
    pub(crate) health: Option<Health>,
    /// Fields of every body.
    common: Common,
}

/// What a session begins with.
pub(crate) struct Opening<'a> {
    /// The terminal.
    pub(crate) ui: &'a Ui,
    /// Places of files.
    pub(crate) paths: &'a Paths,
    /// The configuration.
    pub(crate) config: &'a Config,
    /// What was typed, without secrets.
    pub(crate) command_line: &'a str,
}

impl Session {
    /// Connects without asking the server anything: for commands that only read.
    pub(crate) fn unasked(opening: &Opening<'_>) -> Result<Self> {
        let target = Target::resolve(opening.paths, opening.config)?;
        let identity = Identity::of_user(opening.paths)?;
        let config = opening.config.for_requests();
        Ok(Self {
            ui: opening.ui.clone(),
            calls: Calls::new(&target, &identity)?,
            common: identity.common(opening.command_line, !target.local, config),
            target,
            identity,
            paths: opening.paths.clone(),
            health: None,
        })
    }

    /// Connects, checks the server, and starts the local one when nothing answers.
    pub(crate) async fn open(opening: &Opening<'_>) -> Result<Self> {
        let mut session = Self::unasked(opening)?;
        let health = match session.calls.health().await {
            Ok(health) if !session.target.local || health.sky_version.is_none() => health,
            Ok(_) => {
                // Ours, on this machine: also the right age?
                session.revive().await?;
                session.calls.health().await?
            }
            Err(error) if error.kind() == Kind::Unreachable && session.target.local => {
                session.revive().await?;
                session.calls.health().await?
            }
            Err(error) if error.kind() == Kind::Unauthenticated => {
                return Err(refused(error, &session.target));
            }
            Err(error) => {
                return Err(refused(error, &session.target)
                    .hint("`sky api info` shows which server is used and why"));
            }
        };
        check(&health, &session.target)?;
        session.health = Some(health);
        Ok(session)
    }

    /// A session with the server at an address, which is asked nothing.
    #[cfg(test)]
    pub(crate) fn testing(url: &str, state: &std::path::Path) -> Self {
        let target = Target::named(url).expect("an address");
        let identity = Identity {
            id: "a1b2c3d4".parse().expect("an id"),
            name: "ann".to_owned(),
        };
        Self {
            ui: Ui::capturing(),
            calls: Calls::new(&target, &identity).expect("valid headers"),
            common: identity.common("sky", true, serde_json::Map::new()),
            target,
            identity,
            paths: Paths::of_user(Some(state)),
            health: None,
        }
    }

    /// Starts the local server unless it runs; says what it could not do.
    pub(crate) async fn revive(&mut self) -> Result<()> {
        let local = Target::local(&self.paths)?;
        let started = autostart::ensure(&self.ui, &self.paths, &local, &How::default()).await?;
        if let autostart::Started::Now(notes) = started {
            for note in notes {
                self.ui.err_markup(&format!("[yellow]Note:[/] {note}"));
            }
            if self.target.source != Source::Default {
                // Its own address may be taken; the socket never is.
                self.target.endpoint = local.endpoint;
                self.calls = Calls::new(&self.target, &self.identity)?;
            }
        }
        Ok(())
    }

    /// Returns the fields of every body.
    pub(crate) fn common(&self) -> Common {
        self.common.clone()
    }

    /// Returns the id under which the server knows the user: whoever logs in is known by the account.
    pub(crate) fn own_id(&self) -> &str {
        let known = self.health.as_ref().and_then(|h| h.user.as_ref());
        known.map_or(self.identity.id.as_str(), |user| user.id.as_str())
    }

    /// Returns whether the server is ours, so that a submission may be repeated with its key.
    pub(crate) fn is_ours(&self) -> bool {
        self.target.local
            || self
                .health
                .as_ref()
                .is_some_and(|h| h.sky_version.is_some())
    }

    /// Submits a request, once, however often it has to be tried.
    pub(crate) async fn submit(&self, path: &str, body: &impl Serialize) -> Outcome<RequestId> {
        let key: IdempotencyKey = uuid::Uuid::new_v4().to_string().parse()?;
        let repeat = if self.is_ours() {
            Repeat::Always
        } else {
            Repeat::WhenRefused
        };
        self.patiently(repeat, || self.calls.submit(path, body, &key))
            .await
    }

    /// Asks for a request that is a `GET`.
    pub(crate) async fn submit_get(&self, path: &str) -> Outcome<RequestId> {
        self.patiently(Repeat::Always, || self.calls.submit_get(path))
            .await
    }

    /// Waits for a request and returns it as it ended.
    pub(crate) async fn ended(&self, id: &str) -> Outcome<RequestPayload> {
        loop {
            let asked = self.patiently(Repeat::Always, || async {
                match self.calls.result(id).await {
                    Err(error) if error.kind() == Kind::Timeout => Ok(None),
                    other => other.map(Some),
                }
            });
            if let Some(payload) = asked.await?
                && payload.status.is_final()
            {
                return Ok(payload);
            }
        }
    }

    /// Waits for a request and returns its result.
    pub(crate) async fn result<T: DeserializeOwned>(&self, id: RequestId) -> Outcome<T> {
        let payload = self.ended(&id.to_string()).await?;
        let value = result_of(&payload)?;
        serde_json::from_value(value).map_err(|e| {
            Error::internal(format!("read the result of `{}`", payload.name), &e).into()
        })
    }

    /// Submits a short request and waits for its result.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Outcome<T> {
        let id = self.submit(path, body).await?;
        self.result(id).await
    }

    /// Repeats a call while the server is busy or away, and says so; Ctrl-C ends it.
    pub(crate) async fn patiently<T, F>(&self, repeat: Repeat, call: impl Fn() -> F) -> Outcome<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = Backoff::new();
        let end = monotonic() + PATIENCE;
        loop {
            let error = match until_signal(call()).await? {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !repeat.covers(error.kind()) || monotonic() > end {
                return Err(error.into());
            }
            self.wait_out(&error, &mut backoff).await?;
        }
    }

    /// Waits before the next try; brings the local server back when it is gone.
    pub(crate) async fn wait_out(&self, error: &Error, backoff: &mut Backoff) -> Outcome<()> {
        let startable = error.kind() == Kind::Unreachable && self.target.local;
        let fresh = backoff.is_fresh();
        let pause = error.delay().unwrap_or_else(|| backoff.pause());
        if backoff.is_worth_telling() {
            let text = format!("{}; trying again", error.one_line());
            self.ui.spin(&format!("[yellow]{text}[/]"));
            if !self.ui.is_interactive() {
                self.ui.err(&text);
            }
        }
        // A server that can be started is not waited for: that is the first command of all.
        if !(startable && fresh) {
            until_signal(tokio::time::sleep(pause)).await?;
        }
        if startable {
            let local = Target::local(&self.paths)?;
            until_signal(autostart::ensure(
                &self.ui,
                &self.paths,
                &local,
                &How::default(),
            ))
            .await??;
        }
        Ok(())
    }
}

/// Which failures a call may be repeated after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Whenever it may help: the call changes nothing, or carries a key that our server knows.
    Always,
    /// Only when the server certainly did nothing.
    WhenRefused,
}

impl Repeat {
    /// Returns whether a call may be repeated after this.
    pub(crate) const fn covers(self, kind: Kind) -> bool {
        match self {
            Self::Always => matches!(kind, Kind::TooBusy | Kind::Unreachable | Kind::Timeout),
            Self::WhenRefused => matches!(kind, Kind::TooBusy),
        }
    }
}

/// Runs work until it is done or the user wants to leave.
pub(crate) async fn until_signal<T>(work: impl Future<Output = T>) -> Outcome<T> {
    let signals = signals::watch()?;
    tokio::select! {
        biased;
        () = signals.asked().cancelled() => Err(Stop::Aborted),
        done = work => Ok(done),
    }
}

/// Returns the result of a request that ended, or its error.
pub(crate) fn result_of(payload: &RequestPayload) -> Result<Value> {
    match payload.status {
        RequestStatus::Cancelled => {
            Err(cancelled().context(format!("request {} ended early", payload.request_id)))
        }
        RequestStatus::Failed => Err(error_of(payload)),
        RequestStatus::Pending
        | RequestStatus::Waiting
        | RequestStatus::Running
        | RequestStatus::Succeeded => {
            match serde_json::from_str::<Option<ErrorPayload>>(&payload.error) {
                Ok(Some(_)) => Err(error_of(payload)),
                Ok(None) | Err(_) => document(&payload.return_value).map(without_pickles),
            }
        }
    }
}

/// Returns the error of a request that failed.
fn error_of(payload: &RequestPayload) -> Error {
    match serde_json::from_str::<Option<ErrorPayload>>(&payload.error) {
        Ok(Some(ErrorPayload {
            sky: Some(error), ..
        })) => error,
        Ok(Some(error)) => Error::new(kind_of_class(&error.class), error.message),
        Ok(None) | Err(_) => Error::new(
            Kind::Internal,
            format!("request {} failed without saying why", payload.request_id),
        ),
    }
}

/// Refuses a server that this program cannot work with.
pub(crate) fn check(health: &Health, target: &Target) -> Result<()> {
    if health.status == "needs_auth" {
        return Err(needs_login(target));
    }
    let version = health
        .api_version
        .as_deref()
        .and_then(|v| v.parse::<u32>().ok());
    match version {
        Some(version) if version >= MIN_API_VERSION => Ok(()),
        Some(version) => Err(Error::new(
            Kind::VersionMismatch,
            format!(
                "the server at {} is too old: it speaks API version {version}, this program needs {MIN_API_VERSION} or newer",
                target.url
            ),
        )
        .hint("upgrade the server")),
        None => Err(Error::new(
            Kind::VersionMismatch,
            format!(
                "what answers at {} is not an API server that this program knows",
                target.url
            ),
        )),
    }
}

/// Says what it means that a server does not answer as it should: it does not let the user in, or is no API server.
pub(crate) fn refused(error: Error, target: &Target) -> Error {
    let url = &target.url;
    if error.kind() == Kind::NotFound {
        return error.context(format!("what answers at {url} is not an API server"));
    }
    if error.kind() != Kind::Unauthenticated {
        return error;
    }
    if !target.has_credentials() {
        return needs_login(target);
    }
    error
        .context(format!("the server at {url} refuses your credentials"))
        .hint(format!("sky api login -e {url}"))
}

/// The error of a server that wants to know who asks.
pub(crate) fn needs_login(target: &Target) -> Error {
    Error::new(
        Kind::Unauthenticated,
        format!("the server at {} demands credentials", target.url),
    )
    .hint(format!("sky api login -e {}", target.url))
}
