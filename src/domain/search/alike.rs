//! Whether a record may be the same as a partial one.
