//! Where credentials of AWS are found: each place with a service of its own that says who calls.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::world::World;

/// A call as it arrived.
#[derive(Debug, Clone)]
struct Heard {
    /// `POST /`
    what: String,
    /// Headers, in small letters, one a line.
    headers: String,
    /// The form.
    body: String,
}

/// STS, the portal of SSO, and the metadata services of machine and container.
struct Services {
    /// Where they are.
    url: String,
    /// What they heard.
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Services {
    /// Starts them; they end with this process.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Arc::default();
        let ears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ears = Arc::clone(&ears);
                std::thread::spawn(move || serve(stream, &ears));
            }
        });
        Self { url, heard }
    }

    /// The calls that contain a text.
    fn calls(&self, text: &str) -> Vec<Heard> {
        let heard = self.heard.lock().expect("no panic");
        let has = |call: &&Heard| call.what.contains(text) || call.body.contains(text);
        heard.iter().filter(has).cloned().collect()
    }
}

/// Answers the calls of a connection.
fn serve(stream: TcpStream, ears: &Mutex<Vec<Heard>>) {
    let mut answers = stream.try_clone().expect("a second handle");
    let mut lines = BufReader::new(stream);
    while let Some(call) = hear(&mut lines) {
        let is_same = |heard: &Heard| call.what == heard.what && call.body == heard.body;
        let is_first = !ears.lock().expect("no panic").iter().any(is_same);
        // What gives credentials is out of order once.
        let (status, text) = match &call {
            call if is_first && call.what.contains("/federation/") => (503, String::new()),
            call if is_first && call.body.contains("Action=AssumeRole") => (500, String::new()),
            call => answer(call),
        };
        ears.lock().expect("no panic").push(call);
        let length = text.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
        if answers
            .write_all(format!("{head}{text}").as_bytes())
            .is_err()
        {
            return;
        }
    }
}

/// Reads a call; none at the end.
fn hear(lines: &mut BufReader<TcpStream>) -> Option<Heard> {
    let mut what = String::new();
    lines.read_line(&mut what).ok().filter(|read| *read > 0)?;
    let mut headers = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let name = name.to_lowercase();
        if name == "content-length" {
            length = value.trim().parse().ok()?;
        }
        writeln!(headers, "{name}:{}", value.trim()).expect("a line");
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    Some(Heard {
        what: what.replace(" HTTP/1.1", "").trim().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// What the services say.
fn answer(call: &Heard) -> (u16, String) {
    let keys = |key: &str, end: &str| {
        format!(
            r#"{{"AccessKeyId":"{key}","SecretAccessKey":"s","{end}":"session of {key}","Expiration":"2099-01-01T00:00:00Z"}}"#
        )
    };
    let has = |header: &str| call.headers.lines().any(|line| line == header);
    let role = "/latest/meta-data/iam/security-credentials/";
    match call.what.as_str() {
        "PUT /latest/api/token" => (200, "of version 2".to_owned()),
        what if what.starts_with("GET /latest/")
            && !has("x-aws-ec2-metadata-token:of version 2") =>
        {
            (401, String::new())
        }
        what if *what == format!("GET {role}") => (200, "worker\n".to_owned()),
        what if *what == format!("GET {role}worker") => (200, keys("MACHINE", "Token")),
        "GET /v2/role?x=1" if has("authorization:of the pod") => (200, keys("CONTAINER", "Token")),
        what if what.starts_with("GET /federation/credentials?")
            && has("x-amz-sso_bearer_token:of the login") =>
        {
            let keys = r#"{"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"s","sessionToken":"session of SSO","expiration":4070908800000}}"#;
            (200, keys.to_owned())
        }
        "POST /" if call.body.contains("Action=AssumeRole") => {
            let action = if call.body.contains("WithWebIdentity") {
                "AssumeRoleWithWebIdentity"
            } else {
                "AssumeRole"
            };
            let key = if action == "AssumeRole" {
                "ROLE"
            } else {
                "WEB"
            };
            let given = format!(
                "<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>session of {key}</SessionToken>\
                 <Expiration>2099-01-01T00:00:00Z</Expiration>"
            );
            (
                200,
                format!(
                    "<{action}Response><{action}Result><Credentials>{given}</Credentials></{action}Result></{action}Response>"
                ),
            )
        }
        "POST /" if call.body.contains("Action=GetCallerIdentity") => {
            let who = signer(call).unwrap_or_default();
            let text = format!(
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::12:user/{who}</Arn><UserId>U</UserId>\
                 <Account>12</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
            );
            (200, text)
        }
        _ => (404, String::new()),
    }
}

/// The key that a call is signed with.
fn signer(call: &Heard) -> Option<String> {
    let after = call.headers.split_once("Credential=")?.1;
    Some(after.split('/').next()?.to_owned())
}

/// Variables, or files with their content.
type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// Checks AWS with these variables and files of the home directory; returns who it is, or what was said.
fn check(services: &Services, envs: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    let mut world = World::new()
        .env("AWS_ENDPOINT_URL", &services.url)
        .env("AWS_ENDPOINT_URL_SSO", &services.url);
    for (path, text) in files {
        let path = world.home().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    for (name, value) in envs {
        let value = value.replace('~', &world.home().to_string_lossy());
        world = world.env(name, &value);
    }
    world.sky(&["check", "-v", "aws"]).all()
}

/// A profile with keys, and one that takes a role with them.
const PROFILES: (&str, &str) = (
    ".aws/credentials",
    "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n[team]\naws_access_key_id = TEAM\naws_secret_access_key = s\n",
);
/// What the configuration adds to them.
const CONFIG: (&str, &str) = (
    ".aws/config",
    "[profile role]\nrole_arn = arn:aws:iam::12:role/r\nsource_profile = team\nexternal_id = x1\n\
     [profile corp]\nsso_session = corp\nsso_account_id = 12\nsso_role_name = dev\n\
     [sso-session corp]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n\
     [profile machine]\nrole_arn = arn:aws:iam::12:role/r\ncredential_source = Ec2InstanceMetadata\n",
);

#[test]
fn credentials_are_found_where_the_aws_cli_finds_them() {
    let services = Services::start();
    let url = services.url.clone();
    let metadata = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()),
    ];
    let full = format!("{url}/v2/role?x=1");
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "~/pod"),
    ];
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "~/pod"),
        ("AWS_ROLE_ARN", "arn:aws:iam::12:role/w"),
    ];
    let keys = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let pod = ("pod", "of the pod\n");
    // SHA-1 of the session's name.
    let login = (
        ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json",
        r#"{"accessToken":"of the login","expiresAt":"2099-01-01T00:00:00Z"}"#,
    );
    let cases: [(&str, Pairs<'_>, Pairs<'_>); 9] = [
        ("ENV", [&keys[..], &metadata].concat(), vec![PROFILES]),
        ("DEFAULT", metadata.to_vec(), vec![PROFILES, CONFIG]),
        (
            "TEAM",
            vec![("AWS_PROFILE", "team")],
            vec![PROFILES, CONFIG],
        ),
        (
            "ROLE",
            vec![("AWS_PROFILE", "role")],
            vec![PROFILES, CONFIG],
        ),
        ("SSO", vec![("AWS_PROFILE", "corp")], vec![CONFIG, login]),
        ("WEB", [&web[..], &container].concat(), vec![pod]),
        ("CONTAINER", [&container[..], &metadata].concat(), vec![pod]),
        ("MACHINE", metadata.to_vec(), vec![]),
        (
            "ROLE",
            [&metadata[..], &[("AWS_PROFILE", "machine")]].concat(),
            vec![CONFIG],
        ),
    ];
    for (key, envs, files) in cases {
        let told = check(&services, &envs, &files);
        let who = format!("Activated account: arn:aws:iam::12:user/{key} [account=12]");
        assert!(told.contains(&who), "{key} by {envs:?}: {told}");
    }
    let roles = services.calls("Action=AssumeRole&");
    let signers: Vec<_> = roles.iter().filter_map(signer).collect();
    assert_eq!(signers, ["TEAM", "TEAM", "MACHINE", "MACHINE"]);
    assert!(roles[0].body.contains("ExternalId=x1"), "{roles:?}");
    let web = services.calls("Action=AssumeRoleWithWebIdentity&");
    assert!(
        web[0].body.contains("WebIdentityToken=of+the+pod"),
        "{web:?}"
    );
    assert_eq!(signer(&web[0]), None, "nobody has keys yet");
    for call in services.calls("Action=GetCallerIdentity") {
        let key = signer(&call).expect("it is signed");
        let lasts = ["ENV", "DEFAULT", "TEAM"].contains(&key.as_str());
        let session = format!("x-amz-security-token:session of {key}");
        assert_eq!(call.headers.contains(&session), !lasts, "{call:?}");
    }
}

#[test]
fn who_has_no_credentials_is_told_what_to_do() {
    let services = Services::start();
    for (envs, files, text) in [
        (vec![], vec![], "there are no AWS credentials"),
        (
            vec![("AWS_PROFILE", "nobody")],
            vec![PROFILES],
            "there is no AWS profile `nobody`",
        ),
        (
            vec![("AWS_PROFILE", "corp")],
            vec![CONFIG],
            "aws sso login --profile corp",
        ),
        (
            vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "~/nothing"),
                ("AWS_ROLE_ARN", "arn:x"),
            ],
            vec![],
            "nothing",
        ),
    ] {
        let told = check(&services, &envs, &files);
        assert!(told.contains("AWS: disabled"), "{told}");
        assert!(told.contains(text), "{told}");
    }
    assert!(services.calls("GetCallerIdentity").is_empty());
}
