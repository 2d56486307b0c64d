//! What secures a server: made of files, and made anew when they change or SIGHUP says so.
//!
//! What cannot be read is refused, and what was in force before stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{self, Access, Issuer, KeyPlace, KeySet, Rules, Tokens},
    clock::Clock,
    config::{AccessRules, Config, JwtRules, Security as Settings, TlsFiles},
    limits::{MAX_SECURITY_FILE_BYTES, SECURITY_LOOK},
    metrics::Metrics,
    tasks::{if_any, looking},
    transport::{Material, Tls, not_good},
};

/// What is in force, and of which files it was made.
pub struct Security {
    settings: Settings,
    /// The table of access at the start: of it, some is in force until the end.
    begun: Option<AccessRules>,
    /// What the configuration's file said at the start.
    said: BTreeMap<String, String>,
    /// The keys of which it was told that they say something else since, and what they say then; `None` is nothing.
    told: BTreeMap<String, Option<String>>,
    /// How connections are greeted.
    pub tls: Option<Arc<Tls>>,
    /// Who may do what.
    pub access: Option<Arc<Access>>,
    /// What the files had when they were last read.
    seen: Seen,
    /// What they had when they were found to have changed.
    changed: Option<Seen>,
    /// Why the certificate that they have is not in force, since it was read last.
    refused: Option<String>,
    /// Whether it is good now.
    clock: Arc<dyn Clock>,
}

/// The files' contents, by digest; `None` could not be read.
type Seen = BTreeMap<PathBuf, Option<blake3::Hash>>;

impl Security {
    /// Of these settings.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or is not what it should be.
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let seen = look(settings);
        let tls = settings.tls.as_ref().map(|files| {
            let material = material(files)?;
            let tls = Tls::new(&material).map_err(|why| format!("tls: {why}"))?;
            // It is served all the same: some clients look at the name alone, and a new one is taken when it comes.
            if let Some(why) = not_good(&material, clock.now_us())? {
                tracing::error!("no client will believe the certificate: {why}");
            }
            Ok::<_, String>(tls)
        });
        let access = settings.access.as_ref().map(rules).transpose()?;
        let allowance = settings.access.as_ref().map(|access| access.allowance).unwrap_or_default();
        Ok(Self {
            settings: settings.clone(),
            begun: settings.access.clone(),
            said: settings.file.as_deref().and_then(Config::keys_of).unwrap_or_default(),
            told: BTreeMap::new(),
            tls: tls.transpose()?.map(Arc::new),
            access: access.map(|rules| Arc::new(Access::new(rules, allowance, Arc::clone(&clock)))),
            seen,
            changed: None,
            refused: None,
            clock,
        })
    }

    /// The address of the issuer's keys, if they are not in a file.
    fn keys_at(&self) -> Option<hyper::Uri> {
        match &self.settings.access.as_ref()?.jwt.as_ref()?.keys {
            KeyPlace::Url(uri) => Some(uri.clone()),
            KeyPlace::File(_) => None,
        }
    }

    /// Keeps it true to its files until it is stopped; `asked` says now and then that all are to be read again.
    pub async fn run(self, metrics: Arc<Metrics>, mut asked: mpsc::Receiver<()>, stop: CancellationToken) {
        let counts = Arc::clone(&metrics);
        let fetched = move |is_taken| counts.reloaded("keys", is_taken);
        let keys = match (&self.access, self.keys_at()) {
            (Some(access), Some(uri)) => Some(access::keep_keys(Arc::clone(access), uri, fetched)),
            _ => None,
        };
        let mut security = self;
        let following = async {
            loop {
                let all = tokio::select! {
                    Some(()) = asked.recv() => true,
                    () = tokio::time::sleep(SECURITY_LOOK) => false,
                };
                // (What panicked is in the log; the rest goes on with what was in force.)
                let metrics = Arc::clone(&metrics);
                let Ok(looked) = looking(move || Ok(security.follow(all, &metrics))).await else { return };
                security = looked;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = if_any(keys) => {}
            () = following => std::future::pending().await,
        }
    }

    /// Looks at the files, and makes anew what is made of them if they changed, or in any case if that is asked for.
    fn follow(mut self, all: bool, metrics: &Metrics) -> Self {
        let seen = look(&self.settings);
        let was_seen = self.changed.replace(seen.clone()).is_some_and(|changed| changed == seen);
        // Whoever writes them may be in the middle of it: what is found twice in a row is written.
        if !all && (seen == self.seen || !was_seen) {
            // Of a certificate that begins later no file changes when it begins.
            if seen == self.seen && self.refused.is_some() {
                self.read_certificate(metrics);
            }
            return self;
        }
        let changed = seen.iter().filter(|(f, now)| self.seen.get(*f) != Some(*now));
        let files = changed.map(|(file, _)| file.display().to_string()).collect::<Vec<_>>().join(", ");
        // (Whoever asks need not have changed any.)
        let files = (!files.is_empty()).then(|| tracing::field::display(files));
        tracing::info!(files, "the files of TLS and access are read again");
        // Whoever changed them, or asks, is told what comes of it.
        self.refused = None;
        self.read_certificate(metrics);
        self.read_rules(metrics);
        self.tell_of_the_rest(all);
        if all && let Some(access) = &self.access {
            access.want_keys();
        }
        // (What was read may be newer; then it is read once more.)
        self.seen = seen;
        self
    }

    /// Puts the certificate that the files have in force. Why that is refused is told and counted once.
    fn read_certificate(&mut self, metrics: &Metrics) {
        let (Some(files), Some(tls)) = (&self.settings.tls, &self.tls) else { return };
        match material(files).and_then(|material| tls.replace(&material, self.clock.now_us())) {
            Ok(is_another) => {
                // (A change of any file comes here; one that nobody replaced is the former.)
                tracing::info!(ends = %access::instant(tls.ends_at_us()), is_another, "the certificate was read");
                metrics.reloaded("certificate", true);
                self.refused = None;
            }
            Err(why) if self.refused.as_ref() == Some(&why) => {}
            Err(why) => {
                tell_of_refusal("the certificate", &why);
                metrics.reloaded("certificate", false);
                self.refused = Some(why);
            }
        }
    }

    /// Puts the rules of access in force that the files have.
    fn read_rules(&mut self, metrics: &Metrics) {
        let Some(access) = &self.access else { return };
        match self.rules_again() {
            Ok((settings, rules)) => {
                access.replace(rules);
                self.settings.access = settings;
                tracing::info!("the rules of access were read");
                metrics.reloaded("rules", true);
            }
            Err(why) => {
                tell_of_refusal("the rules of access", &why);
                metrics.reloaded("rules", false);
            }
        }
    }

    /// Tells of the keys of the configuration's file that changed and are not read again: once of each change, and of all
    /// of them whenever that is asked for.
    fn tell_of_the_rest(&mut self, asked: bool) {
        let keys = self.untold(asked);
        if !keys.is_empty() {
            tracing::warn!(%keys, "the configuration file changed, and this of it holds from the next start");
        }
    }

    /// The names of those, with commas between them; they count as told then.
    fn untold(&mut self, asked: bool) -> String {
        let Some(now) = self.settings.file.as_deref().and_then(Config::keys_of) else { return String::new() };
        let changed = changed(&self.said, &now).into_iter().map(|key| {
            let says = now.get(&key).cloned();
            (key, says)
        });
        let told = std::mem::replace(&mut self.told, changed.collect());
        let news = self.told.iter().filter(|(key, says)| asked || told.get(*key) != Some(*says));
        news.map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The rules as the configuration file says now; flags do not say any.
    fn rules_again(&self) -> Result<(Option<AccessRules>, Rules), String> {
        let said = match &self.settings.file {
            Some(file) => Config::access_of(file).map_err(|e| e.to_string())?,
            None => self.settings.access.clone(),
        };
        // Whoever takes the table away does not mean everybody.
        let mut said =
            said.ok_or("the configuration has no [access] any more: restart without it, if that is meant")?;
        // The rest is in force all the same: a token that was taken out is out.
        for what in self.begun.iter().flat_map(|begun| until_restart(begun, &said)) {
            tracing::warn!("{what} until a restart");
        }
        if let Some(begun) = self.begun.as_ref().filter(|begun| place_is_held(begun, &said))
            && let (Some(now), Some(then)) = (&mut said.jwt, &begun.jwt)
        {
            now.keys = then.keys.clone();
        }
        let rules = rules(&said)?;
        Ok((Some(said), rules))
    }
}

/// The keys of a configuration file that say something else than at the start, but for the table that is read again.
fn changed(begun: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> BTreeSet<String> {
    // (Where there was none there is nothing that it could replace.)
    let is_read_again = |name: &str| name == "access" && begun.contains_key(name);
    let names = begun.keys().chain(now.keys());
    names.filter(|name| !is_read_again(name) && begun.get(*name) != now.get(*name)).cloned().collect()
}

/// What of a table of access is not taken, because it is in force as it was at the start. What was put back since is.
fn until_restart(begun: &AccessRules, said: &AccessRules) -> Vec<&'static str> {
    let mut held = Vec::new();
    if begun.allowance != said.allowance {
        held.push("access.limits hold as they were");
    }
    if place_is_held(begun, said) {
        held.push("the issuer's keys are asked for where they were");
    }
    held
}

/// Whether an issuer's keys stay where they were at the start: whoever fetches them was told then where to.
fn place_is_held(begun: &AccessRules, said: &AccessRules) -> bool {
    let place = |rules: &AccessRules| rules.jwt.as_ref().map(|jwt| jwt.keys.clone());
    let (then, now) = (place(begun), place(said));
    then != now && matches!((&then, &now), (Some(KeyPlace::Url(_)), _) | (_, Some(KeyPlace::Url(_))))
}

fn tell_of_refusal(what: &str, why: &str) {
    let why = access::without_tokens(why);
    tracing::error!("{what} could not be replaced, and what was in force before stays: {why}");
}

fn look(settings: &Settings) -> Seen {
    let tls = settings.tls.iter();
    let tls = tls.flat_map(|t| [Some(&t.certificate), Some(&t.key), t.client_ca.as_ref()].into_iter().flatten());
    let access = settings.access.iter().flat_map(|a| a.tokens.iter().chain(key_file(a)));
    let config = settings.file.iter().filter(|_| settings.access.is_some());
    let files = tls.chain(access).chain(config);
    files.map(|file| (file.clone(), read(file).ok().map(|content| blake3::hash(&content)))).collect()
}

fn key_file(access: &AccessRules) -> Option<&PathBuf> {
    match &access.jwt.as_ref()?.keys {
        KeyPlace::File(file) => Some(file),
        KeyPlace::Url(_) => None,
    }
}

fn material(files: &TlsFiles) -> Result<Material, String> {
    Ok(Material {
        certificate: read(&files.certificate)?,
        key: read(&files.key)?,
        client_ca: files.client_ca.as_deref().map(read).transpose()?,
        require_client_certificate: files.require_client_certificate,
    })
}

fn rules(settings: &AccessRules) -> Result<Rules, String> {
    let tokens = settings.tokens.as_deref().map(tokens).transpose()?.unwrap_or_default();
    let issuer = settings.jwt.as_ref().map(issuer).transpose()?;
    Ok(Rules::new(settings.policy.clone(), tokens, issuer))
}

/// What a file knows of tokens.
///
/// # Errors
///
/// If it cannot be read, or is no such file; the error names it.
pub fn tokens(file: &Path) -> Result<Tokens, String> {
    let text = String::from_utf8(read(file)?).map_err(|_| format!("{}: is no text", file.display()))?;
    Tokens::parse(&text).map_err(|why| format!("{}: {why}", file.display()))
}

/// An issuer of JWTs, with its keys if they are in a file.
///
/// # Errors
///
/// If that cannot be read, or has none of use; the error names it.
pub fn issuer(rules: &JwtRules) -> Result<Issuer, String> {
    let issuer = Issuer::new(rules.issuer.clone(), rules.audience.clone(), rules.leeway_seconds);
    match &rules.keys {
        // They are fetched once the server runs.
        KeyPlace::Url(_) => Ok(issuer),
        KeyPlace::File(file) => {
            let keys = KeySet::parse(&read(file)?).map_err(|why| format!("{} {why}", file.display()))?;
            Ok(issuer.with_keys(keys))
        }
    }
}

/// A small file; the error names it.
///
/// # Errors
///
/// If it cannot be read, or is too large.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    let found = fs::metadata(file).and_then(|found| match found.len() {
        ..=MAX_SECURITY_FILE_BYTES => fs::read(file),
        size => Err(io::Error::other(format!("has {size} bytes, and {MAX_SECURITY_FILE_BYTES} are read"))),
    });
    found.map_err(|e| format!("{}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::atomic::{AtomicI64, Ordering},
    };

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::{
        access::{Allowance, Grant, Need, Policy, Role, Secret, Shown},
        clock::SystemClock,
        metrics::{Caching, Feeding, Writing},
    };

    fn metrics() -> Metrics {
        Metrics::new([], &Writing::default(), &Feeding::default(), &Caching::default())
    }

    /// Whoever has a token may read.
    fn settings(tokens: &Path) -> Settings {
        let grant = Grant { who: "token:*".to_owned(), roles: [Role::Reader].into(), sources: None };
        let policy = Policy::new(vec![grant]).unwrap();
        let (tokens, allowance) = (Some(tokens.to_owned()), Allowance::default());
        Settings { access: Some(AccessRules { tokens, jwt: None, policy, allowance }), ..Settings::default() }
    }

    /// Which of these are good.
    fn good(security: &Security, secrets: &[Secret; 3]) -> [bool; 3] {
        let access = security.access.as_ref().unwrap();
        secrets.each_ref().map(|secret| {
            let header = format!("Bearer {}", secret.token);
            let shown = Shown { authorization: Some(&header), certificate: None, seen: None };
            access.admit(Need::Role(Role::Reader), shown).is_ok()
        })
    }

    #[test]
    fn a_file_that_changed_is_read_when_it_is_found_alike_twice_and_never_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.toml");
        let secrets = [(); 3].map(|()| Secret::new());
        let row = |name: &str, secret: &Secret| format!("[[token]]\nname = {name:?}\ndigest = {:?}\n", secret.digest);
        let [desk, fleet, new] = [("desk", 0), ("fleet", 1), ("new", 2)].map(|(name, n)| row(name, &secrets[n]));
        let metrics = metrics();
        fs::write(&file, format!("{desk}{fleet}")).unwrap();
        let mut security = Security::open(&settings(&file), Arc::new(SystemClock)).unwrap();
        // The first half of what is written is a good file, and says that `fleet` is none any more.
        let whole = format!("{desk}{fleet}{new}");
        for (look, text, expected) in [
            ("nothing changed", None, [true, true, false]),
            ("half is written", Some(&desk), [true, true, false]),
            ("it is another than before", Some(&whole), [true, true, false]),
            ("it is as before", None, [true, true, true]),
            ("nothing changed since", None, [true, true, true]),
        ] {
            if let Some(text) = text {
                fs::write(&file, text).unwrap();
            }
            security = security.follow(false, &metrics);
            assert_eq!(good(&security, &secrets), expected, "{look}");
        }
    }

    #[test]
    fn limits_and_addresses_of_keys_that_were_put_back_are_said_to_hold_no_more() {
        let begun = settings(Path::new("tokens.toml")).access.unwrap();
        let of = |keys: &str| {
            let (issuer, audience) = ("i".to_owned(), "a".to_owned());
            let jwt = JwtRules { issuer, audience, leeway_seconds: 0, keys: KeyPlace::parse(keys).unwrap() };
            AccessRules { jwt: Some(jwt), ..begun.clone() }
        };
        let streams = std::num::NonZeroU32::new(1);
        let narrow = AccessRules { allowance: Allowance { streams, ..Allowance::default() }, ..begun.clone() };
        assert_eq!(until_restart(&begun, &narrow), ["access.limits hold as they were"]);
        assert!(until_restart(&narrow, &narrow).is_empty() && until_restart(&begun, &begun).is_empty());
        let [there, elsewhere] = ["https://a.example/keys", "https://b.example/keys"].map(of);
        assert_eq!(until_restart(&there, &elsewhere), ["the issuer's keys are asked for where they were"]);
        assert!(until_restart(&there, &there).is_empty());
        assert!(until_restart(&of("a.json"), &of("b.json")).is_empty(), "files are read where they are");
    }

    #[test]
    fn keys_of_the_configuration_that_changed_and_are_not_read_again_are_told_of_until_they_are_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("attache.toml");
        let begun = "listen = \"127.0.0.1:1\"\nretain_days = 5\n";
        fs::write(&file, begun).unwrap();
        let settings = Settings { file: Some(file.clone()), ..Settings::default() };
        let metrics = metrics();
        let mut security = Security::open(&settings, Arc::new(SystemClock)).unwrap();
        let with_access = format!("{begun}[access]\n");
        for (text, expected) in [
            (begun, ""),
            ("retain_days = 7\n", "listen, retain_days"),
            ("this is no such file", "listen, retain_days"),
            ("listen = \"127.0.0.1:1\"\nretain_days = 7\n", "retain_days"),
            (begun, ""),
            (with_access.as_str(), "access"),
        ] {
            fs::write(&file, text).unwrap();
            security = security.follow(true, &metrics);
            let told: Vec<String> = security.told.keys().cloned().collect();
            assert_eq!(told.join(", "), expected, "{text}");
        }
    }

    #[test]
    fn what_holds_from_the_next_start_is_told_once_of_each_change_and_whenever_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("attache.toml");
        let begun = "listen = \"127.0.0.1:1\"\nretain_days = 5\n";
        fs::write(&file, begun).unwrap();
        let settings = Settings { file: Some(file.clone()), ..Settings::default() };
        let mut security = Security::open(&settings, Arc::new(SystemClock)).unwrap();
        for (text, asked, expected) in [
            (begun, true, ""),
            ("retain_days = 7\n", false, "listen, retain_days"),
            ("retain_days = 7\n", false, ""),
            ("retain_days = 7\n", true, "listen, retain_days"),
            ("retain_days = 7\n", true, "listen, retain_days"),
            ("retain_days = 7\n", false, ""),
            ("retain_days = 9\n", false, "retain_days"),
            (begun, true, ""),
            ("retain_days = 9\n", false, "listen, retain_days"),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(security.untold(asked), expected, "{text}, {asked}");
        }
    }

    /// A clock that stands at the beginning of a year.
    #[derive(Debug)]
    struct Standing(AtomicI64);

    impl Standing {
        fn at(year: i64) -> Self {
            Self(AtomicI64::new(begin_of(year)))
        }

        fn put(&self, year: i64) {
            self.0.store(begin_of(year), Ordering::SeqCst);
        }
    }

    impl Clock for Standing {
        fn now_us(&self) -> i64 {
            self.0.load(Ordering::SeqCst)
        }

        fn wait_until(&self, _: i64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

    /// In microseconds since 1970.
    fn begin_of(year: i64) -> i64 {
        format!("{year}-01-01T00:00:00Z").parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    /// Puts a certificate into a folder that is good from one year until another, and its key.
    fn certify(folder: &Path, [begins, ends]: [i32; 2]) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(begins, 1, 1), date_time_ymd(ends, 1, 1));
        fs::write(folder.join("crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(folder.join("key"), key.serialize_pem()).unwrap();
    }

    /// How often certificates were refused.
    fn refusals(metrics: &Metrics) -> u64 {
        let name = "attache_reloads_total{what=\"certificate\",outcome=\"refused\"} ";
        metrics.shown().lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap()
    }

    #[test]
    fn a_certificate_that_begins_later_is_refused_once_and_taken_when_it_begins_and_never_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["crt", "key"].map(|name| folder.path().join(name));
        let files = TlsFiles { certificate, key, client_ca: None, require_client_certificate: false };
        let settings = Settings { tls: Some(files), ..Settings::default() };
        let (clock, metrics) = (Arc::new(Standing::at(2030)), metrics());
        certify(folder.path(), [2020, 2040]);
        let mut security = Security::open(&settings, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        for (look, put, year, ends, refused) in [
            ("a later one is written", Some([2035, 2045]), 2030, 2040, 0),
            ("it is as before", None, 2030, 2040, 1),
            ("it is looked at again", None, 2030, 2040, 1),
            ("and again", None, 2034, 2040, 1),
            ("it begins", None, 2035, 2045, 1),
            ("one later still is written", Some([2036, 2050]), 2035, 2045, 1),
            ("it is as before", None, 2035, 2045, 2),
            ("another is written that is good, or half of it", Some([2030, 2060]), 2035, 2045, 2),
            ("it is as before", None, 2035, 2060, 2),
        ] {
            if let Some(years) = put {
                certify(folder.path(), years);
            }
            clock.put(year);
            security = security.follow(false, &metrics);
            assert_eq!(security.tls.as_ref().unwrap().ends_at_us(), begin_of(ends), "{look}");
            assert_eq!(refusals(&metrics), refused, "{look}");
        }
    }
}
