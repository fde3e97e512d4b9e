//! Integration tests: the real binary in an isolated home.
//!
//! One test program for all of them, so that the product is linked once.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes, read clocks, wait, print their seeds, and tell a story in one piece"
)]

mod agent;
mod aws;
mod aws_config;
mod aws_crash;
mod aws_credentials;
mod bad_input;
mod bucket;
mod burst;
mod cancel;
mod catalog;
mod cli;
mod crash;
mod follow;
mod git;
mod launch;
mod layers;
mod node_loss;
mod openapi;
mod published;
mod python;
mod server_config;
mod ssh;
mod ssh_faults;
mod ssh_gpus;
mod ssh_hosts;
mod sshd;
mod static_binary;
mod sync;
mod team;
mod terminal;
mod testbed;
mod trouble;
mod upgrade;
mod world;
