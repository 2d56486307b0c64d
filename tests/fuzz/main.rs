//! Whatever bytes come: each parser keeps its promises for random inputs, after those of `corpus/`.
//!
//! Inputs are made of the pieces of each grammar, and changed. An ordinary run tries a few; `python3 tests/run.py --only
//! fuzz` tries ten million. `ATTACHE_FUZZ_INPUTS` says how many for each target, `ATTACHE_SEED` runs a seed again. What
//! breaks a promise is printed and written to `target/fuzz`; in the target's folder here it is tried on every run.

mod access;
mod beside;
mod calls;
#[path = "../common/mod.rs"]
mod common;
mod config;
mod draw;
mod harness;
mod imports;
mod log;
mod messages;
mod requests;
mod texts;

use std::{collections::BTreeSet, fs};

use harness::Target;

/// Every target. Each has a folder of the corpus, which is how `tests/run.py` counts them.
const TARGETS: &[&Target] = &[
    &texts::TOKENS,
    &texts::PAGE_TOKENS,
    &texts::SEARCHES,
    &texts::DATES,
    &texts::NAMES,
    &texts::STATES,
    &requests::FILTERS,
    &requests::MASKS,
    &requests::REPORTS,
    &requests::RECORDS_READ,
    &log::BATCHES,
    &log::PAYLOADS,
    &imports::VISITS,
    &imports::HISTORY,
    &imports::TRAVELS,
    &imports::TREATIES,
    &imports::MME,
    &imports::REPORTS,
    &config::FILES,
    &access::TOKEN_FILES,
    &access::BEARERS,
    &access::KEY_SETS,
    &access::CERTIFICATES,
    &beside::TRACE_PARENTS,
    &beside::TIMEOUTS,
    &beside::MONITORS,
    &calls::CALLS,
];

#[test]
fn every_folder_of_the_corpus_is_tried() {
    let folders: BTreeSet<String> =
        fs::read_dir(harness::folder()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders, targets);
    assert_eq!(targets.len(), TARGETS.len(), "two targets have one folder");
}
