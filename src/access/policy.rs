//! The policy: which names are granted which roles, and for which sources they may file.

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::Deserialize;

/// What a principal may do. None contains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Lookups, watches, cursors, the state of the log.
    Reader,
    /// Reports of sources: file, import, withdraw.
    Filer,
    /// Rulings: retract, restore, merge and unmerge records.
    Editor,
    /// The log itself: trim, back up, erase, file probes.
    Operator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Filer => "filer",
            Self::Editor => "editor",
            Self::Operator => "operator",
        })
    }
}

/// One row of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// A principal's name, or its beginning and a `*`: `token:desk-*`, `jwt:registrar@example.org`, `anonymous`.
    pub who: String,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// For which sources they may file, by the beginnings of their names, such as `sources/az-`; all without.
    pub sources: Option<Vec<String>>,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    rows: Vec<Grant>,
    /// Of principals that no row names.
    nothing: Arc<Grants>,
}

/// What a principal may do, from all rows that name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    roles: BTreeSet<Role>,
    /// For which sources it may file.
    pub sources: SourceLimit,
}

/// For which sources a principal may file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SourceLimit {
    /// For all.
    #[default]
    None,
    /// For those whose names begin so.
    Prefixes(BTreeSet<String>),
}

impl Grants {
    /// Whoever is granted everything.
    #[must_use]
    pub fn everything() -> Self {
        let roles = [Role::Reader, Role::Filer, Role::Editor, Role::Operator].into();
        Self { roles, sources: SourceLimit::None }
    }

    /// Whether a role is granted.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

impl Policy {
    /// Of these rows.
    ///
    /// # Errors
    ///
    /// If a row names nobody, grants nothing, or limits filings that it does not grant.
    pub fn new(rows: Vec<Grant>) -> Result<Self, String> {
        for (index, row) in rows.iter().enumerate() {
            let wrong = |why: &str| Err(format!("access.allow[{index}] ({:?}): {why}", row.who));
            let kinds = ["token:", "jwt:", "cert:"];
            if row.who != super::ANONYMOUS && !kinds.iter().any(|kind| row.who.starts_with(kind)) {
                return wrong("who begins with token:, jwt: or cert:, or is anonymous");
            }
            if row.who.trim_end_matches('*').contains('*') || row.who.ends_with("**") {
                return wrong("a * stands at the end alone");
            }
            if row.roles.is_empty() {
                return wrong("roles are some of reader, filer, editor, operator");
            }
            let Some(sources) = &row.sources else { continue };
            if !row.roles.contains(&Role::Filer) {
                return wrong("sources limit what a filer files, and this is none");
            }
            if sources.is_empty() || sources.iter().any(|s| !s.starts_with("sources/")) {
                return wrong("sources are beginnings of names, such as sources/az-");
            }
        }
        Ok(Self { rows, nothing: Arc::default() })
    }

    /// The rows, as they were said.
    #[must_use]
    pub fn rows(&self) -> &[Grant] {
        &self.rows
    }

    /// Whether a row names this principal.
    #[must_use]
    pub fn names(&self, principal: &str) -> bool {
        self.rows.iter().any(|row| row.names(principal))
    }

    /// What a principal is granted: by all rows together.
    #[must_use]
    pub fn grants(&self, principal: &str) -> Arc<Grants> {
        let rows: Vec<&Grant> = self.rows.iter().filter(|row| row.names(principal)).collect();
        if rows.is_empty() {
            return Arc::clone(&self.nothing);
        }
        let filing = || rows.iter().filter(|row| row.roles.contains(&Role::Filer));
        let sources = match filing().all(|row| row.sources.is_some()) && filing().next().is_some() {
            true => SourceLimit::Prefixes(filing().flat_map(|row| row.sources.iter().flatten().cloned()).collect()),
            false => SourceLimit::None,
        };
        Arc::new(Grants { roles: rows.iter().flat_map(|row| row.roles.iter().copied()).collect(), sources })
    }
}

impl Grant {
    /// Whether it names this principal.
    #[must_use]
    pub fn names(&self, principal: &str) -> bool {
        match self.who.strip_suffix('*') {
            Some(beginning) => principal.starts_with(beginning),
            None => self.who == principal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(who: &str, roles: &[Role], sources: Option<&[&str]>) -> Grant {
        let sources = sources.map(|s| s.iter().map(|s| (*s).to_owned()).collect());
        Grant { who: who.to_owned(), roles: roles.iter().copied().collect(), sources }
    }

    #[test]
    fn what_no_row_grants_is_not_granted() {
        let policy = Policy::new(vec![grant("token:desk-*", &[Role::Reader], None)]).unwrap();
        assert!(policy.grants("token:desk-az").has(Role::Reader));
        assert!(!policy.grants("token:desk-az").has(Role::Filer));
        for other in ["token:desk", "jwt:desk-az", "anonymous", "local"] {
            assert_eq!(*policy.grants(other), Grants::default(), "{other}");
        }
    }

    #[test]
    fn rows_add_up_and_a_row_without_sources_is_for_all() {
        let rows = vec![
            grant("token:*", &[Role::Reader], None),
            grant("token:az", &[Role::Filer], Some(&["sources/az-"])),
            grant("token:az", &[Role::Filer], Some(&["sources/apa"])),
            grant("token:kz", &[Role::Filer], Some(&["sources/kz-"])),
            grant("token:kz", &[Role::Filer, Role::Editor], None),
        ];
        let policy = Policy::new(rows).unwrap();
        let az = policy.grants("token:az");
        assert!(az.has(Role::Reader) && az.has(Role::Filer) && !az.has(Role::Editor));
        let both = ["sources/apa".to_owned(), "sources/az-".to_owned()].into();
        assert_eq!(az.sources, SourceLimit::Prefixes(both));
        assert_eq!(policy.grants("token:kz").sources, SourceLimit::None);
    }

    #[test]
    fn a_row_that_cannot_be_meant_is_refused() {
        let refused = |row: Grant| Policy::new(vec![row]).unwrap_err();
        assert!(refused(grant("desk", &[Role::Reader], None)).contains("begins with"));
        assert!(refused(grant("*", &[Role::Reader], None)).contains("begins with"));
        assert!(refused(grant("token:a*b", &[Role::Reader], None)).contains("at the end"));
        assert!(refused(grant("token:a", &[], None)).contains("roles are"));
        assert!(refused(grant("token:a", &[Role::Reader], Some(&["sources/a"]))).contains("is none"));
        assert!(refused(grant("token:a", &[Role::Filer], Some(&["az"]))).contains("beginnings"));
    }
}
