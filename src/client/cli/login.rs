//! `sky api login | logout`: which server is used from now on.

use clap::Args;

use super::App;
use super::args::ConfigArgs;
use crate::api::requests::StatusQuery;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::client::browser_login::BrowserLogin;
use crate::client::calls::Calls;
use crate::client::config_file::{ServerKeys, save};
use crate::client::cookies;
use crate::client::exit::{Exit, Outcome, Stop};
use crate::client::identity::Identity;
use crate::client::session::{check, refused};
use crate::client::target::{ENDPOINT_VARIABLE, Source, Target};
use crate::client::ui::{Tone, report};
use crate::sys::{self, env};

/// Use a server from now on
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sky api login -e https://sky.example.org             log in with a browser\n  sky api login -e https://sky.example.org -t sky_…    or with a token\n  sky api login -e https://me:password@sky.example.org"
)]
pub(super) struct LoginArgs {
    /// Address of the server, `user:password@` included where it wants that
    #[arg(short, long, value_name = "URL")]
    endpoint: Option<String>,
    /// Token of a user or service account
    #[arg(
        short,
        long,
        visible_alias = "service-account-token",
        value_name = "TOKEN"
    )]
    token: Option<String>,
    /// Accepted for scripts
    #[arg(long, hide = true)]
    relogin: bool,
    /// Do not open a browser: print the address of the log-in page and wait
    #[arg(long)]
    no_browser: bool,
}

/// Verifies the server and the credentials, then keeps them.
pub(super) async fn login(app: &App, args: LoginArgs) -> Outcome {
    let typed = match args
        .endpoint
        .clone()
        .or_else(|| env::var(ENDPOINT_VARIABLE))
    {
        Some(url) => url,
        None => app
            .ui
            .ask("Address of the API server: ")
            .await?
            .filter(|line| !line.is_empty())
            .ok_or(Stop::Aborted)?,
    };
    let url = web_address(&typed)?;
    let mut target = Target::named(url)?;
    target.token = args.token.as_deref().map(token).transpose()?;
    let identity = Identity::of_user(&app.paths)?;
    let wants_token = match reach(&target, &identity).await {
        Err(error) if error.kind() == Kind::Unauthenticated && target.token.is_none() => true,
        other => {
            other?;
            false
        }
    };
    if wants_token {
        let has_password = target
            .endpoint
            .remote()
            .is_some_and(|r| r.credentials.is_some());
        if has_password {
            return Err(Error::new(
                Kind::Unauthenticated,
                format!("{} refuses the user name or password", target.url),
            )
            .into());
        }
        obtain(app, &mut target, &identity, args.no_browser).await?;
        reach(&target, &identity).await?;
    }
    keep(app, url, &target)?;
    let health = Calls::new(&target, &identity)?.health().await?;
    let ui = &app.ui;
    ui.out(&ui.paint(
        &format!("Logged into SkyPilot API server at: {}", target.url),
        Tone::Green,
    ));
    if let Some(user) = health.user {
        let facts = [format!(
            "User: {} ({})",
            user.name.as_deref().unwrap_or(&user.id),
            user.id
        )];
        ui.out(report::tree(&facts, ui.out_colors()).trim_end());
    }
    Ok(Exit::Success)
}

/// Gets credentials: whichever comes first of a log-in with a browser and a token that is typed.
async fn obtain(
    app: &App,
    target: &mut Target,
    identity: &Identity,
    no_browser: bool,
) -> Outcome<()> {
    let ui = &app.ui;
    if !ui.is_interactive() && !no_browser {
        let line = ui
            .ask_secret("The server demands credentials. Token: ")
            .await?;
        target.token = Some(typed_token(line, target)?);
        return Ok(());
    }
    let browser = BrowserLogin::new(target, identity)?;
    ui.err_markup(&format!(
        "The server demands credentials. Log in with a browser:\n\n  [bold]{}[/]\n",
        browser.page()
    ));
    if !no_browser {
        sys::browser::open(&browser.page());
    }
    if !ui.is_interactive() {
        target.cookies = Some(browser.finish(&app.paths, target).await?);
        return Ok(());
    }
    tokio::select! {
        cookies = browser.finish(&app.paths, target) => {
            let cookies = cookies?;
            ui.err("");
            target.cookies = Some(cookies);
        }
        line = ui.ask_secret("Waiting for the browser. Or paste a token. Token: ") => {
            target.token = Some(typed_token(line?, target)?);
        }
    }
    Ok(())
}

/// Takes a token that was typed.
fn typed_token(line: Option<String>, target: &Target) -> Outcome<Secret> {
    let line = line
        .filter(|line| !line.is_empty())
        .ok_or_else(|| Stop::from(needs_token(target)))?;
    Ok(token(&line)?)
}

/// Calls the server twice: is it one, and does it let us in?
async fn reach(target: &Target, identity: &Identity) -> Result<()> {
    let calls = Calls::new(target, identity)?;
    let refused = |error| refused(error, target);
    let health = calls.health().await.map_err(refused)?;
    check(&health, target)?;
    let query = StatusQuery {
        limit: Some(1),
        ..StatusQuery::default()
    };
    match calls.list(&query).await {
        Err(error) => Err(refused(error)),
        Ok(_) => Ok(()),
    }
}

/// Writes the configuration. The environment's endpoint would win over it: that is worth a word.
fn keep(app: &App, url: &str, target: &Target) -> Result<()> {
    if target.local {
        save(&app.paths, &ServerKeys::default())?;
    } else {
        let keys = ServerKeys {
            endpoint: Some(url),
            token: target.token.as_ref().map(Secret::reveal),
        };
        save(&app.paths, &keys)?;
    }
    if env::var(ENDPOINT_VARIABLE).is_some_and(|set| set.trim_end_matches('/') != url) {
        app.ui.err_markup(&format!(
            "[yellow]{ENDPOINT_VARIABLE} is set and wins over what was saved.[/]"
        ));
    }
    Ok(())
}

/// Checks that an address is one of the web.
fn web_address(text: &str) -> Result<&str> {
    let text = text.trim().trim_end_matches('/');
    if text.starts_with("http://") || text.starts_with("https://") {
        Ok(text)
    } else {
        Err(Error::new(
            Kind::Usage,
            "the address of a server begins with http:// or https://",
        )
        .hint("sky api login -e https://HOST[:PORT]"))
    }
}

/// Checks the form of a token.
fn token(text: &str) -> Result<Secret> {
    let text = text.trim();
    if text.starts_with("sky_") && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        Err(Error::new(
            Kind::Usage,
            "a token begins with `sky_` and has no spaces",
        ))
    }
}

/// The error of a login without a token.
fn needs_token(target: &Target) -> Error {
    Error::new(
        Kind::Unauthenticated,
        format!("the server at {} demands credentials", target.url),
    )
    .hint(format!("sky api login -e {} --token TOKEN", target.url))
}

/// Use the server of this machine again
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sky api logout")]
pub(super) struct LogoutArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Forgets the server.
pub(super) fn logout(app: &App, args: &LogoutArgs) -> Outcome {
    let config = app.config(&args.config)?;
    let target = Target::resolve(&app.paths, &config)?;
    if target.source == Source::Environment {
        return Err(Error::new(
            Kind::Conflict,
            format!("the server is named by {ENDPOINT_VARIABLE}, not by a login"),
        )
        .hint(format!("unset {ENDPOINT_VARIABLE}"))
        .into());
    }
    if target.local && target.source == Source::Default {
        return Err(Error::new(
            Kind::Conflict,
            "you are not logged in anywhere: the server of this machine is used",
        )
        .into());
    }
    save(&app.paths, &ServerKeys::default())?;
    cookies::forget(&app.paths, &target.endpoint)?;
    app.ui.out(
        &app.ui
            .paint(&format!("Logged out of {}.", target.url), Tone::Green),
    );
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_tokens_are_checked() {
        assert_eq!(web_address(" https://x/ ").expect("fine"), "https://x");
        assert!(web_address("x:30050").is_err());
        assert!(token("sky_abc").is_ok());
        assert!(token("abc").is_err());
        assert!(token("sky_a b").is_err());
    }
}
