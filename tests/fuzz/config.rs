//! The configuration file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use attache::{
    cli::serve_args::{JournalArgs, OtlpArgs, ServeArgs, TlsArgs},
    config::Config,
};
use proptest::prelude::*;

use crate::{
    draw::Draw,
    harness::{Kept, Target},
};

pub const FILES: Target = Target {
    name: "config",
    message: "",
    words: LINES,
    input: |draw| {
        let line = |draw: &mut Draw<'_>| format!("{}\n", draw.of(LINES));
        // What follows a table's heading is in the table.
        let mut lines = draw.list(6, line);
        lines.sort_by_key(|line| line.starts_with('['));
        if draw.once_in(2) {
            lines.push(SECURE.to_owned());
            lines.extend(draw.list(3, |draw| format!("{}\n", draw.of(GRANTS))));
        }
        lines.concat().into_bytes()
    },
    promise,
    few: 2_000,
};

const LINES: &[&str] = &[
    "listen = \"127.0.0.1:0\"",
    "listen = \"0.0.0.0:50051\"",
    "listen = \"[::1]:1\"",
    "listen = \"here\"",
    "data_dir = \"d\"",
    "in_memory = true",
    "sample = true",
    "insecure_listen = true",
    "log = \"info\"",
    "log_format = \"json\"",
    "log_format = \"xml\"",
    "drain_seconds = 0",
    "drain_seconds = 9223372036854775807",
    "drain_seconds = -1",
    "retain_days = 2",
    "retain_days = 4294967295",
    "retain_revisions = 0",
    "retain_revisions = 9223372036854775807",
    "retain_revisions = -1",
    "journal = \"nats://a:4222,b:4222\"",
    "journal = \"nats://me:hush@a:4222,tls://me:hush@b\"",
    "journal = \"nats://me:hush@a:4222,nats://hush@b\"",
    "journal_credentials = \"a.creds\"",
    "journal_certificate = \"a.crt\"",
    "journal_key = \"a.key\"",
    "journal = \"embedded\"",
    "journal = \"here\"",
    "journal_stream = \"S\"",
    "journal_stream = \"a b\"",
    "journal_replicas = 1",
    "journal_replicas = 6",
    "accept_lax_journal = true",
    "journal_monitors = [\"http://a:8222\"]",
    "journal_snapshot_seconds = 0",
    "max_connection_age_seconds = 0",
    "admin = \"none\"",
    "admin = \"127.0.0.1:9464\"",
    "admin = \"there\"",
    "otlp = \"none\"",
    "otlp = \"there\"",
    "otlp = \"http://127.0.0.1:4317\"",
    "otlp_ratio = 1.5",
    "otlp_ratio = nan",
    "reflection = false",
    "lisen = 1",
    "[tls]",
    "[tls]\ncertificate = \"c\"\nkey = \"k\"",
    "[tls]\nclient_ca = \"a\"\nrequire_client_certificate = true",
    "[access]",
    "[limits]\nring_bytes = 0\nreplay_page_revisions = 0\nwatches = 1\nstall_seconds = 1\nstore_bytes = 1",
    "[limits]\ncalls = 1\nmessage_seconds = 1\nsnapshots = 1",
    "[limits]\ncalls = 0\nmessage_seconds = 18446744073709551615",
    "[limits]\nwatches = -1",
];

const SECURE: &str = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n[access]\ntokens = \"t\"\n";

const GRANTS: &[&str] = &[
    "[[access.allow]]\nwho = \"token:*\"\nroles = [\"reader\"]",
    "[[access.allow]]\nwho = \"anonymous\"\nroles = []",
    "[[access.allow]]\nwho = \"token:a\"\nroles = [\"filer\"]\nsources = [\"sources/az-\"]",
    "[[access.allow]]\nwho = \"desk\"\nroles = [\"king\"]",
    "[access.limits]\nrequests_per_second = 1",
    "[access.limits]\nstreams = 0",
    "[access.limits]\nsnapshots = 1",
    "[access.jwt]\nissuer = \"i\"\naudience = \"a\"\nkeys = \"https://id.example/jwks.json\"",
    "[access.jwt]\nissuer = \"i\"\naudience = \"a\"\nkeys = \"http://id.example/jwks.json\"",
    "[access.jwt]\nissuer = \"i\"\naudience = \"\"\nkeys = \"k\"\nleeway_seconds = 601",
];

/// Words one of which names what an error is about, where it does not name the file.
const ABOUT: &[&str] =
    &["journal", "stream", "tls:", "access:", "admin:", "otlp:", "listen", "retain_days:", "home folder"];

/// Where the file is written: it is read by its path alone.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("fuzz-{}.toml", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
});

#[test]
fn a_configuration_is_safe_to_serve_or_its_fault_is_named() {
    FILES.run();
    fs::remove_file(&*FILE).unwrap();
}

fn args(config: PathBuf) -> ServeArgs {
    ServeArgs {
        config: Some(config),
        listen: None,
        admin: None,
        data_dir: None,
        in_memory: false,
        sample: false,
        insecure_listen: false,
        accept_day_jump: false,
        retain_days: None,
        retain_revisions: None,
        log: None,
        log_format: None,
        otlp: OtlpArgs::default(),
        tls: TlsArgs::default(),
        journal: JournalArgs::default(),
        journal_snapshot_seconds: None,
    }
}

fn promise(input: &[u8]) -> Kept {
    let file: &Path = &FILE;
    fs::write(file, input).unwrap();
    let config = match Config::load(&args(file.to_owned())) {
        Ok(config) => config,
        Err(error) => {
            let told = error.to_string();
            let is_named =
                told.starts_with(&file.display().to_string()) || ABOUT.iter().any(|word| told.contains(word));
            prop_assert!(is_named, "{}", told);
            return Ok(());
        }
    };
    let is_secured = config.security.tls.is_some() && config.security.access.is_some();
    prop_assert!(config.listen.ip().is_loopback() || config.insecure_listen || is_secured, "{}", config.listen);
    prop_assert!(config.feed.page_revisions > 0, "nothing would be read");
    prop_assert!(config.retain_days.is_none_or(|days| days >= 3), "answers to repeated requests would be dropped");
    prop_assert!(config.retain_revisions != Some(0), "nothing would be kept for its number");
    if let Some(journal) = &config.journal {
        prop_assert!((1..=5).contains(&journal.replicas) && (journal.replicas >= 3 || journal.accept_lax));
        prop_assert!((1..=64).contains(&journal.stream.len()) && !journal.servers.is_empty());
    }
    // Read again while the server runs, the rules are the same.
    let again = Config::access_of(file).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(again, config.security.access);
    Ok(())
}
