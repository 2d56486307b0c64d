//! The journal: what every one must do, and what servers that share one keep.

mod common;

use common::shared_log::SharedLog;

#[test]
fn the_shared_log_passes_the_suite() {
    attache::journal::suite::run(&SharedLog::default());
}
