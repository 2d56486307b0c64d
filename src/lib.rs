//! Attaché: a registry and live feed of international cooperation.
//!
//! One record, many reports; every change an event that nobody misses. `ARCHITECTURE.md` tells why; this is the map, in
//! reading order. Imports point down the flow, which `tests/tidy.rs` holds.
//!
//! | stage | what it does | what it never does |
//! |---|---|---|
//! | [`domain`] | names, dates, reports, resolution, events, filters: pure functions | I/O, clock, async |
//! | [`journal`] | says which batch is next in the log | look into a batch |
//! | [`store`] | one SQLite file: applies entries, answers reads at a revision | decide |
//! | [`writer`] | the one task that changes the store: admits, decides, commits in groups, answers | wait for a watcher |
//! | [`feed`] | ring, cursors, interest index, watches | drop a slow subscriber |
//! | [`transport`] | gRPC: requests to domain types, errors to codes | know a rule of the registry |
//! | [`serve`] | puts the parts together | anything else |
//! | [`import`] | outside formats to items of an import: bytes in, items out | send, keep, guess |
//! | [`cli`] | the client commands | reach behind the contract |
//! | [`access`] | credentials to principals, principals to what they may do | read a file |
//!
//! Beside them: [`config`], [`limits`] (every bound of the program), [`clock`], [`tasks`] and [`telemetry`] (the only
//! callers of system time, of spawn, of subscribers), [`trace`] (which trace a request belongs to), [`url`] (addresses
//! without their secrets), [`pb`] (generated code), [`sample`], [`day`] (the clock), [`snapshots`] (what new replicas
//! begin with), [`recall`] (reading ahead after a start), [`retain`] (trimming by age or number), [`sweep`] (the room of
//! what was trimmed, the traces of what was erased),
//! [`moves`] (of a log onto a stream and back), [`restore`] (a store from a backup), [`local`] (the commands of both),
//! [`metrics`] and [`admin`] (what an operator sees), [`security`] (the files that TLS and access are made of),
//! [`doctor`] (what would keep a server from starting) and [`failpoints`] (where tests have it fail).

#![warn(missing_docs)]
// One place each for system time, spawning and exits: clippy.toml says why.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
// Lengths and revisions are converted, never cut.
#![deny(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]
// An input must never panic the server; `expect` says why it cannot. What is said to people goes through one place that
// survives a closed pipe.
#![deny(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod domain;
pub mod feed;
pub mod import;
pub mod journal;
pub mod serve;
pub mod store;
pub mod transport;
pub mod writer;

pub mod access;
pub mod admin;
pub mod clock;
pub mod config;
pub mod day;
pub mod doctor;
pub mod failpoints;
pub mod limits;
pub mod local;
pub mod metrics;
pub mod moves;
pub mod pb;
pub mod recall;
pub mod restore;
pub mod retain;
pub mod sample;
pub mod security;
pub mod snapshots;
pub mod sweep;
pub mod tasks;
pub mod telemetry;
pub mod trace;
pub mod url;
