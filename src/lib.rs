//! Attaché.
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod feed;
pub mod journal;
pub mod limits;
pub mod pb;
pub mod sample;
pub mod serve;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod transport;
pub mod writer;
