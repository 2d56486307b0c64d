//! `attache doctor`: everything that is wrong with a configuration is named at once, and nothing is changed.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use attache::{
    access::Secret,
    limits::{CERTIFICATE_ENDS_SOON, MAX_RECORDED_AHEAD},
    store::{self, Options, packed},
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;

const ATTACHE: &str = env!("CARGO_BIN_EXE_attache");

/// A folder with what a configuration names.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        // As the folder of a server should be.
        fs::set_permissions(files.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file that its owner alone may read.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A certificate that ends in a year, and its key.
    fn certify(&self, ends: i32) {
        self.certified(|params| params.not_after = date_time_ymd(ends, 1, 1));
    }

    /// One that is good for so long from now on.
    fn certify_for(&self, left: Duration) {
        // Certificates count whole seconds.
        let now = Duration::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        self.certified(|params| params.not_after = date_time_ymd(1970, 1, 1) + now + left);
    }

    fn certified(&self, end: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        end(&mut params);
        self.write("server.crt", params.self_signed(&key).unwrap().pem());
        self.write("server.key", key.serialize_pem());
    }

    /// What stands in the configuration, with the file of a token.
    fn configure(&self, text: &str) {
        self.write("attache.toml", text);
        let digest = Secret::new().digest;
        self.write("tokens.toml", format!("[[token]]\nname = \"desk\"\ndigest = \"{digest}\"\n"));
    }

    fn examined(&self) -> Ended {
        doctor(&["--config", self.path("attache.toml").to_str().unwrap()])
    }
}

/// What the command ended with.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    /// The one line of a level about something.
    fn line(&self, level: &str, about: &str) -> &str {
        let is_it = |line: &&str| {
            let rest = line.strip_prefix(level).map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with(about))
        };
        let found: Vec<&str> = self.out.lines().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{level} {about} in\n{}{}", self.out, self.err);
        found[0]
    }
}

fn doctor(args: &[&str]) -> Ended {
    let ended = Command::new(ATTACHE)
        .arg("doctor")
        .args(args)
        .env_remove("ATTACHE_JOURNAL")
        .env_remove("ATTACHE_JOURNAL_MONITOR")
        .env_remove("ATTACHE_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: ended.status.code().expect("no signal"), out: text(ended.stdout), err: text(ended.stderr) }
}

/// What is in a folder, by name and size.
fn contents(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<_> =
        entries.map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len())).collect();
    found.sort();
    found
}

const SOUND: &str = "listen = \"127.0.0.1:0\"\nadmin = \"none\"\ndata_dir = \"DIR\"\n\
    [tls]\ncertificate = \"server.crt\"\nkey = \"server.key\"\n\
    [access]\ntokens = \"tokens.toml\"\n\
    [[access.allow]]\nwho = \"token:desk\"\nroles = [\"reader\", \"operator\"]\n";

fn sound(files: &Files) -> String {
    SOUND.replace("DIR", files.path("store").to_str().unwrap())
}

/// A certificate of X.509's first version, good from 2020 until 2999.
const OLD_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBETCBuAIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcN\n\
MjAwMTAxMDAwMDAwWhgPMjk5OTAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2Fs\n\
aG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMmKxu6zVRJOyzmStCs+FtXA\n\
iEyHqg7r1NBekjVgOJbHndYQ8GWjJhOQTrvXRZUZOfubD6G8pbaLZRMbSL3P6TUw\n\
CgYIKoZIzj0EAwIDSAAwRQIgIIH3nXjqrl2Z1ox2ji6ZkdFZ3KN0MmolNpVGM9iy\n\
sT0CIQDhs3e2T9f+zqzgz8Lvl6oMGxVNaO2+dk+vnWhIF8nc1Q==\n\
-----END CERTIFICATE-----\n";

#[test]
fn a_sound_configuration_has_no_fault_and_nothing_is_made() {
    let files = Files::new();
    files.certify(2999);
    files.configure(&sound(&files));
    let before = contents(files.0.path());
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.ends_with("no fault, no warning\n"), "{}", ended.out);
    ended.line("ok", "listen in ");
    ended.line("ok", "tls.key in ");
    assert!(ended.out.contains("can be made"), "{}", ended.out);
    assert_eq!(contents(files.0.path()), before);
}

#[test]
fn a_store_that_is_there_is_left_as_it_was() {
    let files = Files::new();
    files.certify(2999);
    files.configure(&sound(&files));
    drop(store::open(&files.path("store"), &Options::default()).unwrap());
    let before = contents(&files.path("store"));
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("there is a store of this version"), "{}", ended.out);
    assert!(ended.out.contains("contents were not read: `attache verify --data-dir` does"), "{}", ended.out);
    assert_eq!(contents(&files.path("store")), before);
    drop(store::open(&files.path("store"), &Options::default()).expect("nobody holds it"));
}

#[test]
fn a_store_that_was_put_aside_is_told_of_until_it_is_gone() {
    let files = Files::new();
    files.certify(2999);
    files.configure(&sound(&files));
    drop(store::open(&files.path("store/attache-behind-38"), &Options::default()).unwrap());
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let line = ended.line("warning", "data_dir in ");
    assert!(line.contains("attache-behind-38") && line.contains("delete it"), "{line}");
    fs::remove_dir_all(files.path("store/attache-behind-38")).unwrap();
    assert!(files.examined().out.ends_with("no fault, no warning\n"));
}

#[test]
fn a_restore_that_did_not_end_is_a_fault_until_there_is_a_store() {
    let files = Files::new();
    files.certify(2999);
    files.configure(&sound(&files));
    let left = files.path("store").join(packed::RESTORE);
    fs::create_dir_all(&left).unwrap();
    let ended = files.examined();
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let line = ended.line("fault", "data_dir in ");
    assert!(line.contains("what a restore left") && line.contains("restore again"), "{line}");
    assert!(left.exists(), "it is left as it was");
    fs::remove_dir(&left).unwrap();
    assert_eq!(files.examined().code, 0);
    drop(store::open(&files.path("store"), &Options::default()).unwrap());
    fs::create_dir(&left).unwrap();
    assert_eq!(files.examined().code, 0, "whoever serves the store removes it");
}

#[test]
fn a_registry_whose_day_is_ahead_of_the_clock_is_told_of() {
    let files = Files::new();
    files.certify(2999);
    files.configure(&sound(&files));
    drop(store::open(&files.path("store"), &Options::default()).unwrap());
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let move_to = |day: u64| changed(&files, &format!("UPDATE log_state SET day = {day}"));
    move_to(today + 60);
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let line = ended.line("warning", "data_dir in ");
    assert!(line.contains("days ahead of this machine's clock") && line.contains("RUNBOOK.md"), "{line}");
    // As that of another replica whose midnight came first.
    move_to(today + 1);
    assert!(!files.examined().out.contains("ahead of this machine's clock"));
}

#[test]
fn a_log_whose_newest_entry_is_recorded_ahead_of_the_clock_is_told_of() {
    let files = Files::new();
    files.certify(2999);
    files.configure(&sound(&files));
    drop(store::open(&files.path("store"), &Options::default()).unwrap());
    let recorded_in = |ahead: Duration| {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + ahead;
        changed(&files, &format!("UPDATE log_state SET recorded_at_us = {}", at.as_micros()))
    };
    recorded_in(Duration::from_secs(3600));
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let line = ended.line("warning", "data_dir in ");
    assert!(line.contains("s ahead of this machine's clock") && line.contains("RUNBOOK.md"), "{line}");
    // As by another replica, whose clock is not quite the same.
    recorded_in(MAX_RECORDED_AHEAD / 2);
    assert!(!files.examined().out.contains("ahead of this machine's clock"));
}

#[test]
fn a_limit_that_is_nearly_reached_is_told_before_filings_are_refused() {
    let files = Files::new();
    files.certify(2999);
    drop(store::open(&files.path("store"), &Options::default()).unwrap());
    // Without a free page.
    let size = changed(&files, "VACUUM");
    let allow = |bytes: u64| files.configure(&format!("{}[limits]\nstore_bytes = {bytes}\n", sound(&files)));
    allow(size + size / 20);
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.line("warning", "data_dir in ").contains("limits.store_bytes"), "{}", ended.out);
    allow(size * 2);
    assert!(!files.examined().out.contains("limits.store_bytes"));
    // The same file with as many pages again, and all of these free.
    let more = format!("CREATE TABLE old (words BLOB); INSERT INTO old VALUES (zeroblob({size})); DROP TABLE old");
    let larger = changed(&files, &more);
    assert!(larger >= size * 2, "{larger}");
    for allowed in [larger + larger / 20, size] {
        allow(allowed);
        let said = files.examined().out;
        assert!(!said.contains("limits.store_bytes"), "there is room in the file: {said}");
    }
}

#[test]
fn a_limit_in_which_a_new_store_finds_no_room_is_a_fault_and_one_without_room_for_a_filing_a_warning() {
    let files = Files::new();
    files.certify(2999);
    let allow = |bytes: u64| files.configure(&format!("{}[limits]\nstore_bytes = {bytes}\n", sound(&files)));
    let empty = store::empty_bytes().unwrap();
    for bytes in [0, 100, empty - 1] {
        allow(bytes);
        let ended = files.examined();
        assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
        let line = ended.line("fault", "limits.store_bytes in ");
        assert!(line.contains(&format!("{bytes} bytes")) && line.contains(&format!("takes {empty} ")), "{line}");
        assert!(line.contains("allow more"), "{line}");
    }
    allow(empty + 10_000);
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let line = ended.line("warning", "limits.store_bytes in ");
    assert!(line.contains("no room for a filing") && line.contains("allow more"), "{line}");
    allow(1 << 30);
    assert!(!files.examined().out.contains("limits.store_bytes"));
    // One that is there has what it takes.
    drop(store::open(&files.path("store"), &Options::default()).unwrap());
    allow(100);
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.line("warning", "data_dir in ").contains("limits.store_bytes"), "{}", ended.out);
}

/// Changes the store's file, and answers with its size then.
fn changed(files: &Files, sql: &str) -> u64 {
    let path = files.path("store").join(store::FILE);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    fs::metadata(path).unwrap().len()
}

#[test]
fn a_certificate_that_ends_within_a_week_is_told_before_it_does() {
    let (files, hour) = (Files::new(), Duration::from_secs(3600));
    files.configure(&sound(&files));
    files.certify_for(CERTIFICATE_ENDS_SOON - hour);
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let line = ended.line("warning", "tls.certificate in ");
    assert!(line.contains("ends soon, at ") && line.contains("replace it before"), "{line}");
    files.certify_for(CERTIFICATE_ENDS_SOON + hour);
    assert!(files.examined().line("ok", "tls.certificate in ").contains("is good until "));
}

#[test]
fn an_issuers_address_is_told_without_what_is_secret_in_it() {
    let files = Files::new();
    files.certify(2999);
    // Bound, and gone again: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let keys = format!("http://user:hush@{address}/keys.json?key=hush");
    let jwt = format!("[access.jwt]\nissuer = \"i\"\naudience = \"a\"\nkeys = \"{keys}\"\n");
    files.configure(&format!("{}{jwt}", sound(&files)));
    let ended = files.examined();
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let line = ended.line("fault", "access.jwt.keys in ");
    assert!(line.contains(&format!("http://{address}/keys.json: ")), "{line}");
    assert!(line.contains("Connection refused"), "it says why: {line}");
    assert!(!ended.out.contains("hush") && !ended.err.contains("hush"), "{}{}", ended.out, ended.err);
}

#[test]
fn an_issuer_without_keys_is_warned_of() {
    let files = Files::new();
    files.certify(2999);
    fs::write(files.path("keys.json"), "{\"keys\": []}").unwrap();
    let jwt = "[access.jwt]\nissuer = \"i\"\naudience = \"a\"\nkeys = \"keys.json\"\n";
    files.configure(&format!("{}{jwt}", sound(&files)));
    let ended = files.examined();
    assert!(ended.line("warning", "access.jwt.keys in ").contains("keys.json has no keys"), "{}", ended.out);
}

#[test]
fn a_key_of_the_issuer_that_no_token_can_name_is_warned_of() {
    let files = Files::new();
    files.certify(2999);
    let key = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    let set = format!("{{\"keys\":[{{\"kid\":\"k\",{key}}},{{{key}}}]}}");
    fs::write(files.path("keys.json"), &set).unwrap();
    for keys in ["keys.json".to_owned(), published(set)] {
        let jwt = format!("[access.jwt]\nissuer = \"i\"\naudience = \"a\"\nkeys = \"{keys}\"\n");
        files.configure(&format!("{}{jwt}", sound(&files)));
        let ended = files.examined();
        assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
        assert!(ended.line("ok", "access.jwt.keys in ").contains(&keys), "the other is one: {}", ended.out);
        let line = ended.line("warning", "access.jwt.keys in ");
        assert!(line.contains(&format!("{keys} has 2 keys for JWTs, of which 1 without an id")), "{line}");
    }
}

/// Answers with a text, once, at the address that is answered here.
fn published(text: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // (Whoever hangs up on what was not read resets the connection.)
        assert!(BufReader::new(&stream).lines().map_while(Result::ok).any(|line| line.is_empty()));
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
        stream.write_all(format!("{head}{text}").as_bytes()).unwrap();
    });
    format!("http://{address}/keys.json")
}

#[test]
fn a_key_with_a_passphrase_is_told_as_one() {
    let files = Files::new();
    files.certify(2999);
    files.configure(&sound(&files));
    let locked = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED"];
    for begins in locked {
        files.write("server.key", format!("{begins}\nAAAA\n"));
        let ended = files.examined();
        assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
        let line = ended.line("fault", "tls.key in ");
        assert!(line.contains("is encrypted: it must not be") && line.contains("passphrase"), "{line}");
    }
}

#[test]
fn a_certificate_that_clients_cannot_go_by_is_told_before_they_try() {
    let files = Files::new();
    files.configure(&sound(&files));
    files.certified(|params| {
        params.not_after = date_time_ymd(2999, 1, 1);
        params.subject_alt_names.clear();
    });
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.line("warning", "tls.certificate in ").contains("no alternative names"), "{}", ended.out);
    // One without extensions, of version 1.
    files.write("server.crt", OLD_CERTIFICATE);
    let ended = files.examined();
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let line = ended.line("fault", "tls.certificate in ");
    assert!(line.contains("not of version 3") && line.contains("with extensions"), "{line}");
}

#[test]
fn a_token_that_is_there_twice_is_to_be_taken_out() {
    let files = Files::new();
    files.certify(2999);
    files.configure(&sound(&files));
    let twice = fs::read_to_string(files.path("tokens.toml")).unwrap().repeat(2);
    files.write("tokens.toml", twice);
    let ended = files.examined();
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let line = ended.line("fault", "access.tokens in ");
    assert!(line.contains("is there twice") && line.contains("take one of the two"), "{line}");
}

#[test]
fn a_store_that_every_user_may_read_is_told_of() {
    // (Where everybody comes, unlike the folders of tests.)
    let files = Files(tempfile::tempdir_in("/tmp").unwrap());
    let open = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    files.certify(2999);
    files.configure(&sound(&files));
    drop(store::open(&files.path("store"), &Options::default()).unwrap());
    open(files.path(""), 0o755);
    open(files.path("store"), 0o755);
    open(files.path("store").join(store::FILE), 0o644);
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let line = ended.line("warning", "data_dir in ");
    assert!(line.contains("may be read by every user") && line.contains("chmod 0700"), "{line}");
    open(files.path("store"), 0o700);
    assert!(!files.examined().out.contains("may be read by every user"));
}

#[test]
fn a_row_whose_token_nobody_has_grants_nothing_to_anybody() {
    let files = Files::new();
    files.certify(2999);
    let row = "[[access.allow]]\nwho = \"token:admni\"\nroles = [\"operator\"]\n";
    files.configure(&format!("{}{row}", sound(&files).replace(", \"operator\"", "")));
    let ended = files.examined();
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let told: Vec<&str> = ended.out.lines().filter(|line| line.starts_with("warning ")).collect();
    assert_eq!(told.len(), 2, "{}", ended.out);
    assert!(told[0].contains("grants the role operator") && told[0].contains("add a row"), "{}", told[0]);
    assert!(told[1].contains("token:admni") && told[1].contains("tokens.toml"), "{}", told[1]);
}

#[test]
fn everything_that_is_wrong_is_named_at_once_with_what_to_do() {
    let files = Files::new();
    files.certify(2021);
    // The key of another certificate, which everybody may read.
    fs::write(files.path("server.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    fs::set_permissions(files.path("server.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = sound(&files).replace("127.0.0.1:0", &address).replace("\"none\"", "\"everywhere\"");
    let text = text.replace("\"tokens.toml\"", "\"gone.toml\"").replace(", \"operator\"", "");
    files.configure(&text);
    drop(store::open(&files.path("store"), &Options::default()).unwrap());
    let connection = rusqlite::Connection::open(files.path("store").join(store::FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = contents(&files.path("store"));

    let ended = files.examined();
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let says = |level: &str, about: &str, words: &[&str]| {
        let line = ended.line(level, about);
        words.iter().for_each(|word| assert!(line.contains(word), "{word} in {line}"));
    };
    says("fault", "listen in ", &[&address, "in use", "ss -ltnp"]);
    says("fault", "admin in ", &["everywhere", "or none"]);
    says("fault", "tls.certificate in ", &["has expired, at 2021-01-01", "replace it"]);
    says("fault", "tls.key in ", &["certificate and key", "name the key"]);
    says("warning", "tls.key in ", &["may be read by every user", "chmod"]);
    says("fault", "access.tokens in ", &["gone.toml", "attache token new"]);
    says("warning", "access.allow in ", &["operator", "add a row"]);
    says("fault", "data_dir in ", &["schema 99", "RUNBOOK.md"]);
    assert!(ended.out.ends_with("6 faults, 2 warnings\n"), "{}", ended.out);
    assert_eq!(contents(&files.path("store")), before);

    let told = doctor(&["--config", files.path("attache.toml").to_str().unwrap(), "-o", "json"]);
    assert_eq!(told.code, 1);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let faults = told.as_array().unwrap().iter().filter(|finding| finding["level"] == "fault");
    assert!(faults.clone().all(|finding| finding["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty())));
    assert_eq!(faults.count(), 6);
}

#[test]
fn an_address_that_others_reach_needs_tls_and_access_or_a_word() {
    let line = ["--listen", "0.0.0.0:0", "--admin", "none", "--in-memory"];
    let ended = doctor(&line);
    assert_eq!(ended.code, 1, "{}", ended.out);
    assert!(ended.line("fault", "--listen").contains("--insecure-listen"));
    let ended = doctor(&[&line[..], &["--insecure-listen"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.out);
    assert!(ended.line("warning", "--listen").contains("keeps strangers out"));
}

#[test]
fn an_admin_port_that_others_reach_is_told_of_because_it_asks_nobody_who_they_are() {
    let examined = |admin: &str| doctor(&["--listen", "127.0.0.1:0", "--admin", admin, "--in-memory"]);
    let ended = examined("0.0.0.0:0");
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    ended.line("ok", "--admin");
    let line = ended.line("warning", "--admin");
    assert!(line.contains("asks nobody who they are") && line.contains("listen on a loopback address"), "{line}");
    assert!(!examined("127.0.0.1:0").out.contains("asks nobody"));
}

#[test]
fn a_file_that_makes_no_sense_is_told_by_its_line() {
    let files = Files::new();
    files.configure("# what it listens on\nlisen = \"127.0.0.1:0\"\n");
    let ended = files.examined();
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let line = ended.line("fault", "--config ");
    assert!(line.contains("line 2") && line.contains("lisen"), "{line}");
    assert_eq!(doctor(&["--config", files.path("none.toml").to_str().unwrap()]).code, 1);
}

#[test]
fn what_cannot_be_asked_is_a_wrong_command_line() {
    assert_eq!(doctor(&["--frobnicate"]).code, 64);
    assert_eq!(doctor(&["--in-memory", "-o", "csv"]).code, 64);
}

#[test]
fn a_journal_out_of_reach_is_a_fault() {
    // Bound, and gone again: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let journal = format!("nats://someone:secret@{address}");
    let ended = doctor(&["--listen", "127.0.0.1:0", "--admin", "none", "--in-memory", "--journal", &journal]);
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    assert!(ended.line("fault", "--journal").contains(&address.to_string()));
    assert!(ended.line("warning", "--journal").contains("could not be asked"));
    assert!(!ended.out.contains("secret"), "{}", ended.out);
}

/// A server, killed at the end.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn beside_a_running_server_its_folder_and_port_are_warnings() {
    let files = Files::new();
    let store = files.path("store");
    let store = store.to_str().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "none", "--data-dir", store];
    let child = Command::new(ATTACHE).args(serve).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Server(child);
    let mut first = String::new();
    let mut out = BufReader::new(server.0.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    let address = first.trim().strip_prefix("listening on http://").expect("the address, first of all");
    let before: Vec<String> = contents(Path::new(store)).into_iter().map(|(name, _)| name).collect();

    let ended = doctor(&["--listen", address, "--admin", "none", "--data-dir", store]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.line("warning", "--listen").contains("probably by the server"));
    assert!(ended.line("warning", "--data-dir").contains("a server is running on it"));
    assert!(ended.out.contains("no fault, 2 warnings"), "{}", ended.out);
    let after: Vec<String> = contents(Path::new(store)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(after, before);
    assert!(server.0.try_wait().unwrap().is_none(), "it runs on");
}
