//! Who may do what: tokens, keys, and a policy that leaves somebody out.

use std::path::Path;

use super::{Finding, place::Places, tls::open_to_all};
use crate::{
    access::{self, ANONYMOUS, Grant, KeyPlace, KeySet, Role, Tokens},
    config::{AccessRules, Config},
    security, url,
};

/// Looks at the files and the policy, as of a time in microseconds since 1970.
pub(super) fn look(rules: &AccessRules, config: &Config, places: &Places, now_us: i64) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tokens = None;
    if let Some(file) = &rules.tokens {
        let about = places.key("access.tokens");
        match security::tokens(file) {
            Ok(read) => {
                found.push(Finding::ok(&about, format!("{} can be read", file.display())));
                found.extend(open_to_all(file, &about));
                tokens = Some(read);
            }
            Err(why) => {
                let remedy = match security::read(file) {
                    Ok(_) if why.contains("is there twice") => "take one of the two blocks [[token]] out",
                    Ok(_) => "correct it; `attache token new NAME --add-to FILE` adds rows as they should be",
                    Err(_) => {
                        "name a file that the user who runs the server may read; \
                         `attache token new NAME --add-to FILE` adds rows to one"
                    }
                };
                found.push(Finding::fault(&about, why, remedy));
            }
        }
    }
    if let Some(jwt) = &rules.jwt {
        let about = places.key("access.jwt.keys");
        match (security::issuer(jwt), &jwt.keys) {
            (Err(why), _) => {
                found.push(Finding::fault(&about, why, "name a JWK set (RFC 7517) that the issuer publishes"));
            }
            (Ok(issuer), KeyPlace::File(file)) => {
                let place = file.display().to_string();
                found.extend(issuer.keys().into_iter().flat_map(|keys| of_keys(&about, keys, &place, "can be read")));
            }
            // That is asked afterwards.
            (Ok(_), KeyPlace::Url(_)) => {}
        }
    }
    found.extend(policy(rules, config, tokens.as_ref(), &places.key("access.allow"), now_us));
    found
}

/// What is said of a set of keys, wherever it is: a server takes one without any, and nobody's JWT then.
fn of_keys(about: &str, keys: &KeySet, place: &str, good: &str) -> Vec<Finding> {
    if keys.is_empty() {
        let remedy = "if the issuer did not withdraw its last key, have it publish those that it signs with";
        return vec![Finding::warning(about, format!("{place} has no keys: every JWT is refused"), remedy)];
    }
    let mut found = vec![Finding::ok(about, format!("{place} {good}"))];
    found.extend(nameless(about, keys, place));
    found
}

/// Keys of a set that no JWT can name. (One without any named key is refused as a whole.)
fn nameless(about: &str, keys: &KeySet, place: &str) -> Option<Finding> {
    let nameless = keys.nameless();
    let what = format!("{place} has {} keys for JWTs, of which {nameless} without an id (kid)", keys.len() + nameless);
    let remedy = "give each an id, by which JWTs name it: a key without one is passed over";
    (nameless > 0).then(|| Finding::warning(about, what, remedy))
}

/// Whom the policy leaves out, and whom it lets in. Without tokens it is not known whose there are.
fn policy(rules: &AccessRules, config: &Config, tokens: Option<&Tokens>, about: &str, now_us: i64) -> Vec<Finding> {
    let mut found = Vec::new();
    let rows = rules.policy.rows();
    let has_ca = config.security.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let kinds = [
        ("token:", rules.tokens.is_some(), "name their file, access.tokens"),
        ("jwt:", rules.jwt.is_some(), "say whose JWTs are taken, access.jwt"),
        ("cert:", has_ca, "say whose certificates are taken, tls.client_ca"),
    ];
    let names = tokens.map(|tokens| tokens.names(now_us));
    let has_token = |row: &Grant| {
        let mut names = names.iter().flatten();
        !row.who.starts_with("token:") || tokens.is_none() || names.any(|name| row.names(&format!("token:{name}")))
    };
    let is_met =
        |row: &Grant| has_token(row) && kinds.iter().all(|(kind, is_taken, _)| *is_taken || !row.who.starts_with(kind));
    for (role, loses) in [(Role::Reader, "look anything up"), (Role::Operator, "trim, back up or redact")] {
        if !rows.iter().any(|row| row.roles.contains(&role) && is_met(row)) {
            let what = format!("no row that somebody can meet grants the role {role}: nobody may {loses}");
            found.push(Finding::warning(about, what, &format!("add a row with roles = [\"{role}\"]")));
        }
    }
    for row in rows.iter().filter(|row| !has_token(row)) {
        let file = rules.tokens.as_deref().unwrap_or_else(|| Path::new("access.tokens")).display();
        let what = format!("{} is granted something, and {file} has no token of that name that is good now", row.who);
        let remedy = "correct the name, make the token (`attache token new NAME --add-to FILE`), or take the row out";
        found.push(Finding::warning(about, what, remedy));
    }
    for (kind, is_taken, remedy) in kinds {
        if let Some(row) = rows.iter().find(|row| row.who.starts_with(kind) && !is_taken) {
            let what = format!("{} is granted something, and no credential of that kind is taken", row.who);
            found.push(Finding::warning(about, what, remedy));
        }
    }
    let granted = rules.policy.grants(ANONYMOUS);
    let roles = [Role::Reader, Role::Filer, Role::Editor, Role::Operator].into_iter().filter(|role| granted.has(*role));
    let roles: Vec<String> = roles.map(|role| role.to_string()).collect();
    if !roles.is_empty() && !config.listen.ip().is_loopback() {
        let what = format!("whoever reaches {} is {} without a credential", config.listen, roles.join(", "));
        found.push(Finding::warning(about, what, "take the row of anonymous out, unless everybody is meant"));
    }
    if found.is_empty() {
        found.push(Finding::ok(about, "every row can be met by a credential, and somebody is operator"));
    }
    found
}

/// Asks for the issuer's keys as a server would, if they are at an address.
pub(super) async fn fetch(rules: &AccessRules, places: &Places) -> Vec<Finding> {
    let Some(KeyPlace::Url(uri)) = rules.jwt.as_ref().map(|jwt| &jwt.keys) else { return Vec::new() };
    let (about, shown) = (places.key("access.jwt.keys"), url::shown(&uri.to_string()));
    match access::fetch_keys(uri).await {
        Ok(keys) => of_keys(&about, &keys, &shown, "answers with keys"),
        Err(why) => {
            let remedy = "a server starts and asks again, and refuses every JWT until then: look at the address, the \
                          network, and the authorities that this machine believes";
            vec![Finding::fault(&about, format!("{shown}: {why}"), remedy)]
        }
    }
}
