//! How a store is opened.

use super::Home;

/// Whether commits are synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// `synchronous=FULL`: a commit survives loss of power.
    Full,
    /// `synchronous=NORMAL`: a commit survives a killed process; loss of power may take the last ones, and leaves the store
    /// as it was before them. For a store whose journal has synced what it commits.
    ByJournal,
    /// `synchronous=OFF`: a temporary store.
    Off,
}

impl Sync {
    /// The value of `PRAGMA synchronous`.
    pub(super) fn pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::ByJournal => "NORMAL",
            Self::Off => "OFF",
        }
    }
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether commits are synced.
    pub sync: Sync,
    /// The allowance of the file in bytes; `None` is the disk's.
    pub max_bytes: Option<u64>,
    /// Whose log it is to be the beginning of.
    pub home: Home,
}

impl Default for Options {
    fn default() -> Self {
        Self { sync: Sync::Full, max_bytes: None, home: Home::Own }
    }
}
