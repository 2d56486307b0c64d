//! The search index: written with every version of a record, or some dozens of them together, read at a revision.
//!
//! Rows are per version, as everything that is temporal, so that a search of the past finds what stood then. Whatever
//! bounds a search takes the newest rows of its revision first: what is added later changes no page.

mod expression;
mod find;
mod index;
mod matching;
mod vocabulary;
mod waiting;

pub use self::{
    find::{Aids, Found, Page, Search, page},
    index::{Addition, add, complete, fill, merge, remove},
    matching::{Candidate, matching},
    vocabulary::Vocabulary,
    waiting::fault,
};
