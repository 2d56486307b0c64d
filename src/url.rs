//! Addresses of other programs as they are shown to people: in errors, in the log, by `attache doctor`. Whoever wrote one
//! down may have put a secret into it, so none is shown as it was said.

/// Stands for what cannot be told from a secret.
const HIDDEN: &str = "…";

/// An address without what may be secret in it: who asks (`user:password@`), the query, and the fragment.
#[must_use]
pub fn shown(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (&address[..scheme.len() + "://".len()], rest),
        _ => ("", address),
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A password with one of these in it ends too early for everybody who reads the address: where the host begins is not
    // known then.
    if tail.contains('@') {
        return format!("{scheme}{HIDDEN}");
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = tail.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

/// A text, such as an error that repeats what it is about, with every address in it as it is shown.
#[must_use]
pub fn shown_in(text: &str) -> String {
    text.split_inclusive(ends_address).map(shown_word).collect()
}

/// What is wrong with a text of TOML, and in which line, without the line itself: what stands there may be a secret that
/// somebody put in the wrong place. Of addresses in the words nothing is shown that may be secret.
#[must_use]
pub fn shown_fault(text: &str, fault: &toml::de::Error) -> String {
    let why = shown_in(fault.message());
    let Some(span) = fault.span() else { return why };
    let before = text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
    format!("line {}: {why}", before + 1)
}

/// A word, and perhaps what ends it.
fn shown_word(word: &str) -> String {
    let names_a_user = word.split_once('@').is_some_and(|(user, _)| user.contains(':'));
    if !word.contains("://") && !names_a_user {
        return word.to_owned();
    }
    let address = word.trim_end_matches(ends_address);
    format!("{}{}", shown(address), &word[address.len()..])
}

/// What ends an address in a text.
fn ends_address(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`')
}

/// As of RFC 3986, 3.1, but for its first letter.
fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_an_address_is_not_shown() {
        for (said, seen) in [
            ("nats://a:4222", "nats://a:4222"),
            ("nats://user:hush@a:4222", "nats://a:4222"),
            // A token of NATS stands where others have the user.
            ("nats://hush@a:4222", "nats://a:4222"),
            ("tls://user:hu@sh@[::1]:4222", "tls://[::1]:4222"),
            ("user:hush@a:4222", "a:4222"),
            ("http://a:8222/", "http://a:8222/"),
            ("https://user:hush@id.example/keys/jwks.json?key=hush#hush", "https://id.example/keys/jwks.json"),
            ("https://id.example?key=hush", "https://id.example"),
            ("", ""),
        ] {
            assert_eq!(shown(said), seen, "{said}");
        }
    }

    #[test]
    fn where_the_host_is_not_known_nothing_but_the_scheme_is_shown() {
        for said in [
            "nats://user:hu/sh@a:4222",
            "nats://user:hu?sh@a:4222",
            "nats://user:hu#sh@a:4222",
            "https://id.example/keys?for=me@a.example&key=hush",
            "nats://user:hush@a:4222,nats://user:hush@b:4222",
        ] {
            let (scheme, _) = said.split_once("://").unwrap();
            assert_eq!(shown(said), format!("{scheme}://…"), "{said}");
        }
        assert_eq!(shown("user:hush://x@a"), "…");
    }

    #[test]
    fn addresses_in_a_text_are_shown_alike_and_the_rest_as_it_is() {
        let text =
            "invalid type: string \"http://user:hush@a:8222\", expected a sequence\n1 | x = 'https://b?key=hush'\n";
        let seen = "invalid type: string \"http://a:8222\", expected a sequence\n1 | x = 'https://b'\n";
        assert_eq!(shown_in(text), seen);
        assert_eq!(shown_in("journal = 'user:hush@a:8222', no scheme"), "journal = 'a:8222', no scheme");
        for plain in ["", "no address at all", "who@where.example  and /a?b#c\n", "`nats://a:4222`, http://b:8222"] {
            assert_eq!(shown_in(plain), plain);
        }
    }
}
