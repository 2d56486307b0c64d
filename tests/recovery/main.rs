//! What a server keeps of its promises when it is killed, when power goes, when the disk is full or broken, when its
//! files are not what they were, and when it is told to stop.
//!
//! Most of it is tried on the program as it is shipped, in a process of its own.
#![allow(clippy::disallowed_methods, reason = "tests measure time and run tasks of their own")]

#[path = "../common/mod.rs"]
mod common;
mod deadline;
#[cfg(target_os = "linux")]
mod disk;
mod drain;
mod full;
mod group;
mod kill;
mod opening;
#[cfg(target_os = "linux")]
mod power;
#[allow(dead_code, reason = "the tests of replicas use more of it")]
mod process;
mod requests;
