//! The declarations: valid, listed in help, with examples.

use clap::{CommandFactory as _, Parser as _};

use super::{Cli, help};

#[test]
fn declarations_are_valid() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_stands_once_in_the_grouped_help() {
    for command in Cli::command().get_subcommands() {
        let line = format!(
            "\n  {:<13}{}\n",
            command.get_name(),
            command.get_about().expect("a line")
        );
        assert_eq!(help::ROOT_TEMPLATE.matches(&line).count(), 1, "{line}");
    }
}

#[test]
fn every_command_has_examples() {
    fn visit(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(after.contains("Examples:"), "{path} has no examples");
        for inner in command.get_subcommands() {
            visit(inner, &path);
        }
    }
    visit(&Cli::command(), "");
}

#[test]
fn help_of_the_main_commands() {
    for path in [
        &[][..],
        &["launch"],
        &["exec"],
        &["status"],
        &["logs"],
        &["api"],
    ] {
        let words = ["sky"].iter().chain(path).chain(&["-h"]);
        let help = Cli::try_parse_from(words)
            .expect_err("help is not a command")
            .to_string();
        insta::assert_snapshot!(format!("help-{}", path.join("-")), help);
    }
}

#[test]
fn options_and_words_may_be_mixed() {
    for line in [
        &["sky", "exec", "demo", "--", "python", "a.py", "--lr", "3"][..],
        &["sky", "exec", "demo", "-d", "echo hi"],
        &[
            "sky", "launch", "-c", "demo", "echo hi", "--cpus", "2", "-y",
        ],
        &[
            "sky", "launch", "-c", "demo", "-i", "-1", "--down", "t.yaml",
        ],
        &["sky", "logs", "demo", "--tail", "-1"],
        &["sky", "api", "status", "-a", "-l", "none"],
        &["sky", "launch", "--async", "--no-async", "x"],
    ] {
        Cli::try_parse_from(line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
    }
}
