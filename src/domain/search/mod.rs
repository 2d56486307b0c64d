//! Search: which texts of a record are searched, when two words count as the same, how well a record matches, and
//! whether it may be the same as another.
//!
//! The index holds how words sound ([`words::sound`]), of each version of a record, and nothing of their spelling: it
//! finds candidates. [`rank`] reads the texts of the candidates again and tells the same spelling from a similar one.

pub mod alike;
pub mod rank;
pub mod similar;
pub mod texts;
pub mod words;
