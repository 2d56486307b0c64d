//! Pure: no I/O, no clock, no async.
pub mod error;
