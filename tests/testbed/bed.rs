//! The testbed's scripts behind guards, for the tests of the program and for those beside its code.
//!
//! Each testbed takes a free slot: a number that names its interfaces and its network, held by a file lock for as
//! long as this process lives. What a killed run leaves behind is removed by the next `up`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What the scripts are told, by name.
pub(crate) const VARIABLES: [&str; 4] =
    ["TESTBED_DIR", "TESTBED_TAG", "TESTBED_NET", "TESTBED_OWNER"];

/// A folder of names that nobody else uses now.
pub(crate) struct Bed {
    /// The slot is free again when this is closed; none where another process holds it.
    pub(crate) slot: Option<File>,
    /// What the scripts are told.
    pub(crate) envs: Vec<(&'static str, String)>,
}

impl Bed {
    /// Takes the first slot that is free on this machine.
    pub(crate) fn take() -> Self {
        let root = std::env::temp_dir().join("sky-testbed");
        fs::create_dir_all(&root).expect("a directory");
        for slot in 1..=199 {
            let lock = root.join(format!("{slot}.lock"));
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(lock)
                .expect("a lock");
            if lock.try_lock().is_err() {
                continue;
            }
            let tag = format!("sky{slot}");
            let values = [
                root.join(&tag).to_string_lossy().into_owned(),
                tag,
                format!("10.231.{slot}"),
                std::process::id().to_string(),
            ];
            let bed = Self {
                slot: Some(lock),
                envs: VARIABLES.into_iter().zip(values).collect(),
            };
            // A run that was killed may have had this very slot.
            bed.run("aws", &["down"]);
            return bed;
        }
        panic!("all slots of {} are taken", root.display());
    }

    /// Prepares a script of `tests/testbed`.
    pub(crate) fn command(&self, script: &str, args: &[&str]) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed");
        let mut command = Command::new(folder.join(script));
        command.args(args).stdin(Stdio::null());
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a script that must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn run(&self, script: &str, args: &[&str]) -> String {
        let output = self.command(script, args).output();
        let output = output.unwrap_or_else(|e| panic!("{script}: {e}; scripts/test installs it"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Output { stdout, stderr, .. } = &output;
        let (stdout, stderr) = (text(stdout), text(stderr));
        assert!(
            output.status.success(),
            "{script} {args:?}: {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            output.status
        );
        stdout
    }

    /// The same for a script that prints JSON.
    #[track_caller]
    pub(crate) fn json(&self, script: &str, args: &[&str]) -> Value {
        let text = self.run(script, args);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{script}: {e}: {text}"))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.slot.is_some() {
            // No panic while a failed test unwinds: the next `up` removes what is left.
            drop(self.command("aws", &["down"]).output());
        }
    }
}

/// An API as AWS has it, whose instances are hosts that are reached by SSH.
pub(crate) struct AwsApi {
    /// Gone at the end.
    pub(crate) bed: Bed,
    /// Its URL.
    pub(crate) endpoint: String,
}

impl AwsApi {
    /// Starts it.
    #[track_caller]
    pub(crate) fn up() -> Self {
        let bed = Bed::take();
        let about = bed.json("aws", &["up"]);
        Self::at(bed, &about)
    }

    /// The one of a testbed, as the script describes it.
    #[track_caller]
    pub(crate) fn at(bed: Bed, about: &Value) -> Self {
        let endpoint = about["endpoint"].as_str().expect("a URL").to_owned();
        Self { bed, endpoint }
    }

    /// What a client needs to find it and to be let in.
    pub(crate) fn envs(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Makes a call fail, or wait, or lose its answer; tests/testbed/aws describes the object.
    #[track_caller]
    pub(crate) fn fault(&self, fault: &Value) {
        self.bed.run("aws", &["fault", &fault.to_string()]);
    }

    /// Ends all faults.
    #[track_caller]
    pub(crate) fn no_faults(&self) {
        self.bed.run("aws", &["fault", "clear"]);
    }

    /// The instances that exist or did, with `instance`, `region`, `host`, `address`, `state`, `tags`.
    #[track_caller]
    pub(crate) fn instances(&self) -> Vec<Value> {
        let about = self.bed.json("aws", &["status"]);
        about["instances"].as_array().expect("a list").clone()
    }

    /// Those of them that are not gone.
    #[track_caller]
    pub(crate) fn alive(&self) -> Vec<Value> {
        let mut instances = self.instances();
        let gone = [Some("terminated"), Some("shutting-down")];
        instances.retain(|one| !gone.contains(&one["state"].as_str()));
        instances
    }

    /// The calls so far, with `service`, `action`, `region` and what `RunInstances` asked for.
    #[track_caller]
    pub(crate) fn calls(&self) -> Vec<Value> {
        let about = self.bed.json("aws", &["calls"]);
        about.as_array().expect("a list").clone()
    }

    /// Takes a spot instance back (`interrupt`), terminates one by hand (`remove`), or cuts its power without EC2 noticing
    /// (`crash`).
    #[track_caller]
    pub(crate) fn strike(&self, verb: &str, instance: &str) {
        self.bed.run("aws", &[verb, instance]);
    }
}
