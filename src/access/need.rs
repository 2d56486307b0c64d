//! What each call needs: the one table.

use super::Role;

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It is open to everybody, without a credential.
    Nothing,
    /// A principal with this role.
    Role(Role),
}

/// The contract's calls, by service and method; all of a service without a method.
const TABLE: &[(&str, &str, Role)] = &[
    ("RegistryService", "", Role::Reader),
    ("FeedService", "", Role::Reader),
    ("FilingService", "FileReports", Role::Filer),
    ("FilingService", "ImportReports", Role::Filer),
    ("FilingService", "RetractReports", Role::Filer),
    ("FilingService", "RetractRecord", Role::Editor),
    ("FilingService", "RestoreRecord", Role::Editor),
    ("FilingService", "MergeRecords", Role::Editor),
    ("FilingService", "UnmergeRecords", Role::Editor),
    ("LogService", "GetLogInfo", Role::Reader),
    ("LogService", "TrimLog", Role::Operator),
    ("LogService", "Backup", Role::Operator),
    ("LogService", "Redact", Role::Operator),
];

/// What a call needs, as `package.Service/Method`. What the table does not name needs most.
#[must_use]
pub fn of(call: &str) -> Need {
    let Some(ours) = call.strip_prefix("attache.v1.") else {
        // Health and reflection, and what no service answers.
        return Need::Nothing;
    };
    let (service, method) = ours.split_once('/').unwrap_or((ours, ""));
    let row = TABLE.iter().find(|(s, m, _)| *s == service && (m.is_empty() || *m == method));
    Need::Role(row.map_or(Role::Operator, |(.., role)| *role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    #[test]
    fn every_call_of_the_contract_stands_in_the_table() {
        let mut calls = 0;
        for service in pb::POOL.services().filter(|s| s.package_name() == "attache.v1") {
            for method in service.methods() {
                let named = |(s, m, _): &&(&str, &str, Role)| *s == service.name() && [method.name(), ""].contains(m);
                assert_eq!(TABLE.iter().filter(named).count(), 1, "{}", method.full_name());
                calls += 1;
            }
        }
        assert!(calls > 20, "{calls}");
        let services: Vec<_> = pb::POOL.services().map(|s| s.name().to_owned()).collect();
        assert!(TABLE.iter().all(|(service, ..)| services.contains(&(*service).to_owned())));
    }

    #[test]
    fn what_nobody_knows_needs_most() {
        assert_eq!(of("attache.v1.LogService/Rewrite"), Need::Role(Role::Operator));
        assert_eq!(of("attache.v1.Nothing"), Need::Role(Role::Operator));
        assert_eq!(of("attache.v1.FeedService/WatchEvents"), Need::Role(Role::Reader));
        assert_eq!(of("grpc.health.v1.Health/Check"), Need::Nothing);
    }
}
