//! Whose log a store is the beginning of: its own, or a stream's. A replica that were served by itself would write another
//! history under the same epoch, and so would a store that was moved to a stream.

use std::fmt;

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::{StoreError, failing};

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// Its own: the commits are the log.
    Own,
    /// That of the stream of this name.
    Stream(String),
    /// It was its own, and goes on on the stream of this name.
    Moved(String),
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => write!(f, "own"),
            Self::Stream(name) => write!(f, "stream {name}"),
            Self::Moved(name) => write!(f, "moved to stream {name}"),
        }
    }
}

impl Home {
    /// Whose log a server serves: that of the stream of this name, else the store's own.
    #[must_use]
    pub fn served(stream: Option<&str>) -> Self {
        stream.map_or(Self::Own, |name| Self::Stream(name.to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        match (text.strip_prefix("stream "), text.strip_prefix("moved to stream ")) {
            (Some(name), _) => Some(Self::Stream(name.to_owned())),
            (_, Some(name)) => Some(Self::Moved(name.to_owned())),
            _ => (text == "own").then_some(Self::Own),
        }
    }

    /// Why it must not be served as another's.
    fn refusal(&self) -> String {
        match self {
            Self::Own => {
                "it is a log of its own; `attache migrate to-stream` moves it onto the stream of a journal".to_owned()
            }
            Self::Stream(name) => format!(
                "it follows the log on the stream {name}: serve it with --journal and that stream, or take it off with \
                 `attache migrate to-embedded`"
            ),
            Self::Moved(name) => format!(
                "its log was moved to the stream {name} and goes on there: replicas begin in folders of their own, and \
                 this one is kept as it was"
            ),
        }
    }
}

/// What the store says; `None` if it was never opened since it can say.
pub fn of(connection: &Connection) -> Result<Option<Home>, StoreError> {
    let found = connection.query_row("SELECT name FROM home", [], |row| row.get::<_, String>(0)).optional()?;
    let unreadable = |text: String| StoreError::Damaged(format!("it says of its home: {text:?}"));
    found.map(|text| Home::parse(&text).ok_or_else(|| unreadable(text))).transpose()
}

/// Says it.
pub fn set(connection: &Connection, home: &Home) -> Result<()> {
    failing("store.home")?;
    let sql = "INSERT OR REPLACE INTO home (id, name) VALUES (1, ?1)";
    connection.execute(sql, params![home.to_string()]).map(drop)
}

/// Checks that it is served as what it is; one that was never asked is from now on.
///
/// # Errors
///
/// [`StoreError::Elsewhere`] if it is another's.
pub fn check(connection: &Connection, home: &Home) -> Result<(), StoreError> {
    match of(connection)? {
        Some(found) => fits(&found, home),
        None => Ok(set(connection, home)?),
    }
}

/// Checks that what a store says is what it is to be served as.
///
/// # Errors
///
/// As of [`check`].
pub fn fits(found: &Home, home: &Home) -> Result<(), StoreError> {
    if found == home { Ok(()) } else { Err(StoreError::Elsewhere(found.refusal())) }
}
