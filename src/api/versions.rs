//! Version numbers and the header names of the HTTP API.

/// The release of this binary.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The API number that we announce: the one of SkyPilot 0.14.1.
pub(crate) const API_VERSION: u32 = 62;
/// The oldest API number that we still speak.
pub(crate) const MIN_API_VERSION: u32 = 24;
/// The SkyPilot release whose API we announce, in the place where its clients compare releases.
pub(crate) const COMPATIBLE_RELEASE: &str = "0.14.1";
/// The number of the server-to-agent protocol; server and agent are the same file, a mismatch replaces the agent.
pub(crate) const AGENT_PROTOCOL: u32 = 3;

/// Header with the speaker's API number.
pub(crate) const API_VERSION_HEADER: &str = "x-skypilot-api-version";
/// Header with the speaker's release.
pub(crate) const VERSION_HEADER: &str = "x-skypilot-version";
/// Header with our own release, by which our client recognises our server.
pub(crate) const SKY_VERSION_HEADER: &str = "x-sky-version";
/// Header with the id of the request that a POST admitted.
pub(crate) const REQUEST_ID_HEADER: &str = "x-skypilot-request-id";
/// Header with the id that a stream shows, exactly as the caller wrote it.
pub(crate) const STREAM_REQUEST_ID_HEADER: &str = "x-skypilot-stream-request-id";
/// Header with the client's key that makes a submission repeatable.
pub(crate) const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// Content type of a framed log stream (see `api::frames`); asked for with `Accept`.
pub(crate) const FRAMES_CONTENT_TYPE: &str = "application/x-sky-frames";
/// `Accept` value that asks for results as plain JSON, without pickles.
pub(crate) const PLAIN_JSON_CONTENT_TYPE: &str = "application/vnd.sky+json";
/// Header by which our client says who asks, `id;name`; believed on local connections only.
pub(crate) const USER_HEADER: &str = "x-sky-user";

/// TCP port of the local server.
pub(crate) const DEFAULT_PORT: u16 = 46580;
