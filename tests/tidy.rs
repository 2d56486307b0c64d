//! How the source hangs together: what may import what, and which things are done in one place alone.
//!
//! The rules are tables with their reasons. Tests inside `src/` are held to none of them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What each stage may import from this crate, and why no more. A stage is a file or folder right under `src/`.
const IMPORTS: &[(&str, &[&str], &str)] = &[
    ("pb", &[], "the contract depends on nothing"),
    ("limits", &[], "numbers with names"),
    ("metrics", &[], "counters with names; whoever counts holds them"),
    ("clock", &[], "the only reader of time; tests replace it"),
    ("failpoints", &[], "names of places; nothing in a program that is shipped"),
    ("url", &[], "addresses as people may see them: whoever shows one knows it, and it knows nobody"),
    ("access", &["domain", "limits", "clock", "url"], "decides who may do what; what it decides by is read elsewhere"),
    ("trace", &[], "a header and spans: whoever carries a trace knows it, and it knows nobody"),
    (
        "journal",
        &["clock", "failpoints", "limits", "trace", "url"],
        "an order of bytes: it knows neither records nor stores",
    ),
    ("domain", &["pb", "limits"], "pure: what was decided once must be decided alike on every replica, forever"),
    ("tasks", &["domain", "limits"], "spawns for everybody, and knows nobody; `domain` for the error"),
    (
        "store",
        &["domain", "failpoints", "journal", "metrics", "pb", "limits", "clock"],
        "holds what was decided; decides nothing, tells nobody",
    ),
    (
        "feed",
        &["domain", "journal", "metrics", "store", "pb", "limits", "clock", "tasks"],
        "follows the store, and is told by the writer",
    ),
    (
        "writer",
        &["domain", "failpoints", "journal", "metrics", "store", "pb", "limits", "clock", "tasks", "trace"],
        "the one that changes the store; it tells the feed through a closure",
    ),
    (
        "transport",
        &[
            "access", "domain", "journal", "metrics", "store", "feed", "writer", "pb", "limits", "clock", "tasks",
            "trace",
        ],
        "the wire; not the command line",
    ),
    ("day", &["domain", "store", "writer", "limits", "clock"], "asks the writer to move the registry's day"),
    (
        "snapshots",
        &["domain", "journal", "store", "writer", "pb", "limits", "clock", "tasks"],
        "copies whole stores beside the journal; the writer compares places",
    ),
    (
        "retain",
        &["clock", "domain", "limits", "store", "tasks", "writer"],
        "asks the writer to trim what is older than so many days, or beyond so many revisions",
    ),
    ("recall", &["limits", "store", "tasks"], "has the store read ahead of those who ask"),
    (
        "sweep",
        &["failpoints", "store", "writer", "limits"],
        "asks the writer to drop what was trimmed, and to write over what was erased",
    ),
    (
        "moves",
        &["domain", "journal", "store", "writer", "snapshots", "pb", "limits", "clock", "tasks"],
        "takes whole logs from one place to another while no server has them open",
    ),
    (
        "restore",
        &["clock", "domain", "journal", "limits", "pb", "store", "writer"],
        "makes a store of a backup while no server has it open",
    ),
    ("sample", &["domain", "writer", "day", "pb", "limits"], "files like any client of the writer"),
    ("import", &["domain", "pb", "limits"], "pure: bytes of outside formats in, items of the contract out"),
    (
        "cli",
        &["access", "pb", "clock", "domain", "import", "tasks", "trace", "url"],
        "a client: it sees the contract alone, reads dates and tokens as it defines them, and measures time; `tasks` for \
         the streams of a load, `access` for the tokens that it makes, `trace` for the header that it hands on, `url` \
         for a wrong command line that is repeated",
    ),
    (
        "config",
        &["access", "cli", "feed", "journal", "limits", "url"],
        "flags over file over defaults; of `cli` the arguments of `serve`, of others their settings",
    ),
    (
        "security",
        &["access", "clock", "config", "limits", "metrics", "tasks", "transport"],
        "reads the files that TLS and access are made of, and hands on what they say",
    ),
    (
        "telemetry",
        &["clock", "config", "limits", "url"],
        "set up once, from the configuration; it says now and then what it lost",
    ),
    (
        "admin",
        &["journal", "limits", "store", "tasks", "telemetry", "transport"],
        "tells the operator of everything, and changes nothing but what is logged",
    ),
    (
        "doctor",
        &[
            "access",
            "cli",
            "clock",
            "config",
            "domain",
            "journal",
            "limits",
            "security",
            "store",
            "tasks",
            "telemetry",
            "transport",
            "url",
            "writer",
        ],
        "asks each part what it would refuse; has no rule of its own, and changes nothing",
    ),
    (
        "local",
        &["cli", "clock", "config", "doctor", "domain", "moves", "restore", "store", "tasks", "telemetry"],
        "commands that work on a folder, without a server",
    ),
    (
        "serve",
        &[
            "admin",
            "config",
            "domain",
            "journal",
            "store",
            "feed",
            "metrics",
            "writer",
            "transport",
            "sample",
            "day",
            "recall",
            "retain",
            "security",
            "snapshots",
            "sweep",
            "limits",
            "clock",
            "tasks",
        ],
        "the composition root knows all parts but the command line",
    ),
    (
        "main",
        &["cli", "config", "failpoints", "limits", "local", "moves", "serve", "telemetry"],
        "arguments, telemetry, runtime, exit code",
    ),
    ("lib", &[], "names the stages"),
];

/// Words that stand in some places alone: the word, the files or folders that may have it, and why.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("SystemTime", &["clock.rs"], "a test sets the clock"),
    ("Instant::now", &["clock.rs"], "see SystemTime"),
    ("Timestamp::now", &["clock.rs"], "see SystemTime"),
    ("tokio::spawn", &["tasks.rs"], "each task has a name, a span, and an end"),
    ("spawn_blocking", &["tasks.rs"], "see tokio::spawn"),
    ("thread::spawn", &["tasks.rs"], "see tokio::spawn"),
    ("thread::Builder", &["tasks.rs"], "see tokio::spawn"),
    ("JoinSet", &["tasks.rs"], "see tokio::spawn"),
    (
        "Code::",
        &["transport/status.rs", "cli/error.rs", "cli/health.rs"],
        "one map from reasons to codes; the client reads them back",
    ),
    ("Status::new", &["transport/status.rs"], "every error comes from the catalogue"),
    ("Status::internal", &["transport/status.rs"], "see Status::new"),
    ("unbounded", &[], "every queue has a bound with a name"),
    ("rusqlite", &["store", "writer"], "one place knows SQL; the writer holds its transaction"),
    (
        "std::fs",
        &["store", "cli", "config", "security.rs", "snapshots.rs", "journal/suite.rs"],
        "what is kept is kept by the store; the client reads what it files",
    ),
    ("todo!", &[], "nothing is left for later in the source"),
    ("unimplemented!", &[], "see todo!"),
    ("dbg!", &[], "the log has spans"),
    ("println!", &["cli/output.rs"], "output goes through one module, which knows when its reader has gone"),
    ("print!(", &["cli/output.rs"], "see println!"),
    (".unwrap()", &[], "`expect(\"why this cannot fail\")`, or an error"),
    ("process::exit", &[], "skips every destructor"),
];

/// What `domain` must not know: the word, files that may have it all the same, and why.
const IMPURE: &[(&str, &[&str], &str)] = &[
    ("tokio", &[], "decisions do not wait"),
    ("tonic", &[], "decisions do not know the wire"),
    ("rusqlite", &[], "decisions do not read"),
    ("SystemTime", &[], "decisions are told the time"),
    ("std::fs", &[], "decisions do not read"),
    ("std::env", &[], "decisions are the same on every machine"),
    ("rand", &[], "decisions are the same every time"),
    (
        "HashMap",
        &["domain/constraints.rs", "domain/schema.rs"],
        "iteration order must not decide; the tables keep indexes that are never walked",
    ),
];

/// Lines of a file at most: more is two files.
const MAX_LINES: usize = 700;

struct Source {
    /// Below `src/`, such as `writer/group.rs`.
    path: String,
    lines: usize,
    /// Without comments, texts and tests.
    code: String,
}

impl Source {
    fn stage(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Whether `super` is the crate here.
    fn is_top(&self) -> bool {
        !self.path.contains('/') || (self.path.ends_with("/mod.rs") && self.path.matches('/').count() == 1)
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || self.path.starts_with(&format!("{place}/")))
    }

    /// Whether a word stands in it, not as the end of another.
    fn has(&self, word: &str) -> bool {
        let inside = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| !(word.starts_with(inside) && self.code[..at].ends_with(inside)))
    }

    /// The parts of this crate that it names.
    fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut roots = vec!["crate::", "attache::"];
        if self.is_top() {
            roots.push("super::");
        }
        for root in roots {
            for (at, _) in self.code.match_indices(root) {
                let whole =
                    at == 0 || !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                if whole {
                    found.extend(heads(&self.code[at + root.len()..]));
                }
            }
        }
        found
    }
}

/// The first names of a path, or of each path of a group in braces.
fn heads(text: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = text.strip_prefix('{') else { return vec![word(text)] };
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => part.push(c),
            _ => {}
        }
    }
    parts.push(part);
    parts.iter().map(|p| word(p.trim())).filter(|w| !w.is_empty() && w != "self").collect()
}

/// Every file of Rust in a folder of this repository, in order. (Packages of other languages have none.)
fn files_in(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("node_modules") {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut paths);
    paths.sort();
    paths
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        Source { path, lines: text.lines().count(), code: code(&text) }
    };
    files_in("src").into_iter().map(read).collect()
}

/// The text up to its tests, without comments and what stands in quotes.
fn code(text: &str) -> String {
    let ahead = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let mut code = String::new();
    for line in ahead.lines().filter(|l| !l.trim_start().starts_with("//")) {
        let mut quoted = false;
        let mut before = ' ';
        for c in line.split(" // ").next().unwrap().chars() {
            if c == '"' && before != '\\' && before != '\'' {
                quoted = !quoted;
            } else if !quoted {
                code.push(c);
            }
            before = c;
        }
        code.push('\n');
    }
    code
}

#[test]
fn imports_follow_the_flow() {
    let mut faults = Vec::new();
    for source in sources() {
        let Some((stage, allowed, why)) = IMPORTS.iter().find(|(stage, ..)| *stage == source.stage()) else {
            faults.push(format!("{}: a stage without a row in IMPORTS", source.path));
            continue;
        };
        for import in source.imports() {
            let known = IMPORTS.iter().any(|(other, ..)| *other == import);
            if known && import != *stage && !allowed.contains(&import.as_str()) {
                faults.push(format!("{} imports {import}; {stage}: {why}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_flow_has_no_circle() {
    // `config` reads what `cli` parsed; `cli` knows no configuration.
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    while settled.len() < IMPORTS.len() {
        let ready = |row: &&(&'static str, &[&str], &str)| {
            !settled.contains(row.0) && row.1.iter().all(|i| settled.contains(i))
        };
        let next: Vec<&str> = IMPORTS.iter().filter(ready).map(|row| row.0).collect();
        assert!(!next.is_empty(), "a circle among the stages that are not in {settled:?}");
        settled.extend(next);
    }
}

#[test]
fn what_is_done_in_one_place_is_done_there_alone() {
    let mut faults = Vec::new();
    for source in sources() {
        for (word, places, why) in WORDS {
            if source.has(word) && !source.is_in(places) {
                faults.push(format!("{} has {word}: {why}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_domain_is_pure() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| s.stage() == "domain") {
        for (word, excepted, why) in IMPURE {
            if source.has(word) && !source.is_in(excepted) {
                faults.push(format!("{} has {word}: {why}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_are_short_enough_to_be_read() {
    let long: Vec<_> =
        sources().iter().filter(|s| s.lines > MAX_LINES).map(|s| format!("{}: {}", s.path, s.lines)).collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines: {}", long.join(", "));
}

#[test]
fn every_stage_and_place_of_the_tables_exists() {
    let sources = sources();
    for (stage, ..) in IMPORTS {
        assert!(sources.iter().any(|s| s.stage() == *stage), "{stage} is no stage any more");
    }
    for (word, places, _) in WORDS {
        for place in *places {
            assert!(
                sources.iter().any(|s| s.is_in(&[place])),
                "{place}, where {word} may stand, is not there any more"
            );
        }
    }
}

#[test]
fn the_reader_of_source_sees_groups_and_no_comments() {
    let source = |path: &str, text: &str| Source { path: path.into(), lines: 0, code: code(text) };
    let text = "use crate::{\n    clock,\n    store::{list, log},\n    self,\n};\n// crate::cli\nlet x = \"crate::feed\"; // crate::pb\nuse super::serve;\n#[cfg(test)]\nmod tests { use crate::writer; }";
    let named = |path: &str| source(path, text).imports().into_iter().collect::<Vec<_>>();
    assert_eq!(named("store/list.rs"), ["clock", "store"]);
    assert_eq!(named("store/mod.rs"), ["clock", "serve", "store"]);
}

/// What stands in backticks in the last column of the tables of a text.
fn named_in_last_column(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let last = rows.filter_map(|row| row.trim_end().trim_end_matches('|').rsplit('|').next());
    last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_test_that_the_table_of_defences_names_is_there() {
    let security = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).unwrap();
    let named = named_in_last_column(&security);
    assert!(named.len() > 40, "the table is read: {named:?}");
    let texts: Vec<String> =
        ["src", "tests"].iter().flat_map(|folder| files_in(folder)).map(|f| fs::read_to_string(f).unwrap()).collect();
    // (What has no attribute before it is no test.)
    let begins = ["]\nfn ", "]\nasync fn ", "]\n    fn ", "]\n    async fn "];
    let is_there = |name: &str| begins.iter().any(|begin| texts.iter().any(|t| t.contains(&format!("{begin}{name}("))));
    let missing: Vec<&str> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "SECURITY.md names tests that are not there: {missing:?}");
}
