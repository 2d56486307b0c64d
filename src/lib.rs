//! Attaché.
pub mod cli;
pub mod domain;
pub mod pb;
pub mod transport;
