//! What keeps a server from starting, all of it at once: everything that `serve` with the same arguments needs is looked
//! at, and nothing is made, changed or held.
//!
//! Each part is asked what it would refuse, by the rules that it has; only what to do about it is said here.

mod access;
mod address;
mod folder;
mod journal;
mod place;
mod tls;

use std::fmt;

use self::{folder::Folder, place::Places};
use crate::{
    cli::ServeArgs,
    config::{Config, Faults, Part},
    tasks::blocking,
    telemetry,
};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// A server starts with it, and it is probably not meant.
    Warning,
    /// A server does not start with it, or does not do what it is set up for.
    Fault,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        })
    }
}

/// One thing that was looked at. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Where it is said: a flag, or a key and its file.
    pub about: String,
    /// What was found.
    pub what: String,
    /// What to do about it; empty if nothing is to be done.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}{}: {}", self.level, self.about, self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

impl Finding {
    fn new(level: Level, about: &str, what: impl fmt::Display, remedy: &str) -> Self {
        Self { level, about: about.to_owned(), what: one_line(&what.to_string()), remedy: remedy.to_owned() }
    }

    fn ok(about: &str, what: impl fmt::Display) -> Self {
        Self::new(Level::Ok, about, what, "")
    }

    fn warning(about: &str, what: impl fmt::Display, remedy: &str) -> Self {
        Self::new(Level::Warning, about, what, remedy)
    }

    fn fault(about: &str, what: impl fmt::Display, remedy: &str) -> Self {
        Self::new(Level::Fault, about, what, remedy)
    }
}

/// An error in one line, without the excerpt that one of TOML draws.
fn one_line(text: &str) -> String {
    let drawn = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !drawn(line));
    lines.collect::<Vec<_>>().join(": ")
}

/// How many faults and warnings there are, in words.
#[must_use]
pub fn sum(found: &[Finding]) -> String {
    let count = |level| found.iter().filter(|finding| finding.level == level).count();
    let words = |n: usize, word: &str| match n {
        0 => format!("no {word}"),
        1 => format!("1 {word}"),
        more => format!("{more} {word}s"),
    };
    format!("{}, {}", words(count(Level::Fault), "fault"), words(count(Level::Warning), "warning"))
}

/// Looks at everything that a server with these arguments would need, as of a time in microseconds since 1970. What cannot
/// be reached takes seconds, and no more.
pub async fn examine(args: &ServeArgs, now_us: i64) -> Vec<Finding> {
    let places = Places::of(args);
    let (config, faults) = match Config::examine(args) {
        Ok(read) => read,
        Err(error) => {
            let remedy = "correct it: nothing else was looked at, because it says what there is";
            return vec![Finding::fault(&places.file(), error, remedy)];
        }
    };
    let mut found = said(&config, &faults, &places);
    let Folder { found: of_folder, held, position, head } = of_folder(&config, &faults, &places, now_us).await;
    found.extend(address::look(&config, &faults, &places, held).await);
    found.extend(of_files(&config, &places, now_us).await);
    if let Some(rules) = &config.security.access {
        found.extend(access::fetch(rules, &places).await);
    }
    found.extend(of_folder);
    match &config.journal {
        Some(settings) => found.extend(journal::look(settings, position, head, &places).await),
        None if faults.has(Part::Journal) => {}
        None => found.push(Finding::ok(&places.journal(), "the log is kept in the store's own folder")),
    }
    found
}

/// What the configuration itself refuses.
fn said(config: &Config, faults: &Faults, places: &Places) -> Vec<Finding> {
    let mut found = Vec::new();
    if config.security.file.is_some() {
        found.push(Finding::ok(&places.file(), "it can be read, and every key in it is known"));
    }
    for (part, why) in faults.iter() {
        let (about, remedy) = places.refused(part);
        found.push(Finding::fault(&about, why, remedy));
    }
    if let Err(why) = telemetry::check(&config.log) {
        found.push(Finding::fault(&places.log(), why, "say a filter such as info or attache=debug,tonic=warn"));
    }
    found
}

/// The store's folder, off the async threads.
async fn of_folder(config: &Config, faults: &Faults, places: &Places, now_us: i64) -> Folder {
    if faults.has(Part::DataDir) {
        return Folder::default();
    }
    let (config, places, knows_log) = (config.clone(), places.clone(), !faults.has(Part::Journal));
    let looked = blocking(move || Ok(folder::look(&config, knows_log, &places, now_us))).await;
    looked.unwrap_or_else(|error| Folder { found: vec![broken(&error.message)], ..Folder::default() })
}

/// The files of TLS and access, off the async threads.
async fn of_files(config: &Config, places: &Places, now_us: i64) -> Vec<Finding> {
    let (config, places) = (config.clone(), places.clone());
    let looked = blocking(move || {
        let mut found = Vec::new();
        if let Some(files) = &config.security.tls {
            found.extend(tls::look(files, &places, now_us));
        }
        if let Some(rules) = &config.security.access {
            found.extend(access::look(rules, &config, &places, now_us));
        }
        Ok(found)
    });
    looked.await.unwrap_or_else(|error| vec![broken(&error.message)])
}

fn broken(why: &str) -> Finding {
    Finding::fault("doctor", why, "this is an error of the program: please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_the_error_draws() {
        let drawn = "a.toml: TOML parse error at line 12, column 1\n   |\n12 | lisen = \"x\"\n   | ^^^^^\n\
                     unknown field `lisen`\n";
        let finding = Finding::fault("--config a.toml", drawn, "correct it");
        assert_eq!(
            finding.to_string(),
            "fault   --config a.toml: a.toml: TOML parse error at line 12, column 1: unknown field `lisen`; correct it"
        );
        assert_eq!(Finding::ok("--listen", "free").to_string(), "ok      --listen: free");
    }

    #[test]
    fn faults_and_warnings_are_counted() {
        let found = [Finding::fault("a", "", ""), Finding::fault("b", "", ""), Finding::ok("c", "")];
        assert_eq!(sum(&found), "2 faults, no warning");
        assert_eq!(sum(&[Finding::warning("a", "", "")]), "no fault, 1 warning");
    }
}
