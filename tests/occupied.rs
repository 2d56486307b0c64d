//! What goes on while every place for reads of the store is taken, as by lists that take long.
//!
//! The places are the process's: whatever else ran in this one would wait as well.

mod common;

use std::{
    fs,
    sync::{Arc, mpsc},
};

use attache::{
    access::{Allowance, Policy},
    config::{AccessRules, Config, Security},
    domain::error::Result,
    limits::READ_CONNECTIONS,
    serve::Parts,
    tasks,
};
use common::{FakeClock, TestServer, observed, watching::patiently};
use tokio::{sync::oneshot, task::JoinHandle};

/// Told once the store was read for it.
const STORE_USED: &str = "attache_store_used_bytes";
const RULES_READ: &str = "attache_reloads_total{what=\"rules\",outcome=\"read\"}";

/// A place for reads, held until it is given back.
struct Held {
    give_back: mpsc::SyncSender<()>,
    holding: JoinHandle<Result<()>>,
}

impl Held {
    async fn hold() -> Self {
        let (take, taken) = oneshot::channel();
        let (give_back, given_back) = mpsc::sync_channel::<()>(0);
        let holding = tokio::spawn(tasks::blocking(move || {
            let _ = take.send(());
            // Given back when its sender is dropped.
            let _ = given_back.recv();
            Ok(())
        }));
        patiently("a place for reads", taken).await.unwrap();
        Self { give_back, holding }
    }

    async fn give_back(self) {
        drop(self.give_back);
        self.holding.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_told_and_rules_are_read_while_every_place_for_reads_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.toml");
    fs::write(&tokens, "").unwrap();
    let (policy, allowance) = (Policy::default(), Allowance::default());
    let access = AccessRules { tokens: Some(tokens), jwt: None, policy, allowance };
    let security = Security { access: Some(access), ..Security::default() };
    let parts = Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() };
    let server = TestServer::with(observed(Config { security, ..common::config() }), parts).await;
    let used = server.number(STORE_USED).await;
    assert!(used > 0.0, "{used}");

    let mut held = Vec::new();
    for _ in 0..READ_CONNECTIONS {
        held.push(Held::hold().await);
    }
    let told = patiently("the numbers", server.number(STORE_USED)).await;
    assert_eq!(told, used, "as it was told last");
    let before = server.number(RULES_READ).await;
    patiently("the rules", server.reload()).await;
    assert!(server.number(RULES_READ).await > before, "they were read meanwhile");

    for place in held {
        place.give_back().await;
    }
    server.stop().await;
}
