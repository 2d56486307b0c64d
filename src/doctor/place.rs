//! Where an operator says something: the flag if it was given, else the key of the configuration file.

use std::sync::Arc;

use crate::{cli::ServeArgs, config::Part};

/// The arguments, asked for where something was said.
#[derive(Clone)]
pub(super) struct Places(Arc<ServeArgs>);

impl Places {
    pub(super) fn of(args: &ServeArgs) -> Self {
        Self(Arc::new(args.clone()))
    }

    fn place(&self, is_flag: bool, flag: &str, key: &str) -> String {
        if is_flag || self.0.config.is_none() { flag.to_owned() } else { self.key(key) }
    }

    /// A key that no flag stands for.
    pub(super) fn key(&self, key: &str) -> String {
        match &self.0.config {
            Some(file) => format!("{key} in {}", file.display()),
            None => key.to_owned(),
        }
    }

    pub(super) fn file(&self) -> String {
        self.0.config.as_ref().map_or_else(|| "--config".to_owned(), |file| format!("--config {}", file.display()))
    }

    pub(super) fn listen(&self) -> String {
        self.place(self.0.listen.is_some(), "--listen", "listen")
    }

    pub(super) fn admin(&self) -> String {
        self.place(self.0.admin.is_some(), "--admin", "admin")
    }

    pub(super) fn otlp(&self) -> String {
        let is_said = self.0.otlp.otlp.is_some() || self.0.otlp.otlp_ratio.is_some();
        self.place(is_said, "--otlp or ATTACHE_OTLP", "otlp")
    }

    pub(super) fn log(&self) -> String {
        self.place(self.0.log.is_some(), "--log or ATTACHE_LOG", "log")
    }

    pub(super) fn data_dir(&self) -> String {
        self.place(self.0.data_dir.is_some() || self.0.in_memory, "--data-dir", "data_dir")
    }

    pub(super) fn journal(&self) -> String {
        self.place(self.0.journal.journal.is_some(), "--journal or ATTACHE_JOURNAL", "journal")
    }

    pub(super) fn retain_days(&self) -> String {
        self.place(self.0.retain_days.is_some(), "--retain-days", "retain_days")
    }

    pub(super) fn certificate(&self) -> String {
        self.place(self.0.tls.tls_certificate.is_some(), "--tls-certificate", "tls.certificate")
    }

    pub(super) fn tls_key(&self) -> String {
        self.place(self.0.tls.tls_key.is_some(), "--tls-key", "tls.key")
    }

    pub(super) fn client_ca(&self) -> String {
        self.place(self.0.tls.tls_client_ca.is_some(), "--tls-client-ca", "tls.client_ca")
    }

    /// Where a part is said that the configuration refuses, and what to do there. (Most of it stands in the refusal.)
    pub(super) fn refused(&self, part: Part) -> (String, &'static str) {
        match part {
            Part::Journal => (self.journal(), "correct it, or --journal-stream or --journal-replicas beside it"),
            Part::Tls => (self.certificate(), "name both files, or none and listen on a loopback address"),
            Part::Access => (self.key("access"), "correct that row or key; deploy/attache.toml shows each"),
            Part::Listen => (self.listen(), "say an IP address and a port"),
            Part::Reach => (self.listen(), "\"Facing a network\" in README.md shows how"),
            Part::Admin => (self.admin(), "say an IP address and a port, or none"),
            Part::Otlp => (self.otlp(), "say the http:// or https:// address of a collector, or none"),
            Part::Retain => (self.retain_days(), "say more days, or 0"),
            Part::DataDir => (self.data_dir(), "name a folder on a disk of this machine"),
        }
    }
}
