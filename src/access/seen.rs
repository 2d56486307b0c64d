//! What a connection showed last, and who that was: most show the same with each request.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use arc_swap::ArcSwapOption;
use constant_time_eq::constant_time_eq;

use super::{Principal, Rules};

/// The last credential of a connection that proved good; it goes with the connection.
#[derive(Default)]
pub struct Seen(ArcSwapOption<Last>);

struct Last {
    header: String,
    /// By these rules, and no others.
    rules: Weak<Rules>,
    principal: Principal,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // (A credential is not told.)
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

impl Seen {
    /// Who showed this before, if the rules are still the same.
    pub(super) fn find(&self, header: &str, rules: &Arc<Rules>) -> Option<Principal> {
        let last = self.0.load();
        let last = last.as_ref()?;
        let is_same = Weak::as_ptr(&last.rules) == Arc::as_ptr(rules);
        // In constant time: several who do not know each other's credentials may share a connection through a proxy.
        (is_same && constant_time_eq(last.header.as_bytes(), header.as_bytes())).then(|| last.principal.clone())
    }

    /// Keeps it in the place of what was shown before.
    pub(super) fn keep(&self, header: &str, rules: &Arc<Rules>, principal: &Principal) {
        let (header, rules, principal) = (header.to_owned(), Arc::downgrade(rules), principal.clone());
        self.0.store(Some(Arc::new(Last { header, rules, principal })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{LOCAL, Policy, Tokens};

    #[test]
    fn it_is_the_same_caller_only_with_the_same_words_by_the_same_rules() {
        let rules = || Arc::new(Rules::new(Policy::new(Vec::new()).unwrap(), Tokens::default(), None));
        let (now, later, seen) = (rules(), rules(), Seen::default());
        let found = |header: &str, rules| seen.find(header, rules).map(|principal| principal.name.to_string());
        assert_eq!(found("Bearer one", &now), None);
        seen.keep("Bearer one", &now, &Principal::local());
        assert_eq!(found("Bearer one", &now).as_deref(), Some(LOCAL));
        for other in ["Bearer two", "Bearer on", "Bearer one ", ""] {
            assert_eq!(found(other, &now), None, "{other}");
        }
        assert_eq!(found("Bearer one", &later), None, "it may have been revoked");
        seen.keep("Bearer two", &now, &Principal::nobody());
        assert_eq!(found("Bearer one", &now), None, "one is kept");
        assert!(!format!("{seen:?}").contains("two"), "{seen:?}");
    }
}
