//! A week of midnights: the clock of every replica asks for the next day, and it is moved once, whatever fails just then.

use std::{sync::Arc, time::Duration};

use attache::{
    clock::{CLOCK, Clock},
    config::Config,
    journal::jetstream::Settings,
    pb::v1::{self, EventType},
    serve::Parts,
};

use super::REPLICAS;
use crate::{
    agree,
    common::{FakeClock, TestServer, config, visit_report, watching::patiently},
    filers::insist,
    links::Links,
    nats::{Cluster, Sync},
};

/// What fails at midnight.
#[derive(Clone, Copy)]
enum Failure {
    Nothing,
    /// All links of one replica.
    Links(fn(&Links, usize)),
    /// The server that leads the stream.
    Leader,
}

/// Each day, and what fails when it begins.
const NIGHTS: [(&str, Failure); 6] = [
    ("2024-02-06", Failure::Nothing),
    ("2024-02-07", Failure::Links(Links::cut)),
    ("2024-02-08", Failure::Links(Links::freeze)),
    ("2024-02-09", Failure::Leader),
    ("2024-02-10", Failure::Links(Links::deafen)),
    ("2024-02-11", Failure::Nothing),
];

async fn start(journal: Settings, clock: &Arc<FakeClock>) -> TestServer {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    TestServer::with(Config { journal: Some(journal), ..config() }, Parts { clock, ..Parts::default() }).await
}

/// Waits until the registry's day is this one on a replica.
async fn until_day(server: &TestServer, day: &str) {
    let today = async || {
        let asked = server.log().get_log_info(v1::GetLogInfoRequest {}).await;
        asked.expect("it answers, whatever becomes of its journal").into_inner().day
    };
    patiently(&format!("the day {day}"), async {
        while today().await != day {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_day_of_a_week_begins_once_in_the_cluster_whatever_fails_at_midnight() {
    let mut cluster = Cluster::start(Sync::Always);
    let clock = Arc::new(FakeClock::on("2024-02-05"));
    let links: Vec<Links> = (0..REPLICAS).map(|_| Links::to(&cluster)).collect();
    let mut servers = Vec::new();
    for links in &links {
        servers.push(start(links.settings(), &clock).await);
    }
    let visit = |day: &str| visit_report(&format!("of-{day}"), "s", "KZ", "AZ", day);
    let reports = NIGHTS.iter().map(|(day, _)| visit(day)).collect();
    let request = v1::FileReportsRequest { reports, request_id: Some("all".into()), ..Default::default() };
    patiently("the filing", insist(&servers[0], request)).await;
    agree(&servers).await;

    for (night, (day, failure)) in NIGHTS.into_iter().enumerate() {
        let away = night % REPLICAS;
        let (mut left_out, mut killed) = (None, None);
        match failure {
            Failure::Nothing => {}
            Failure::Links(fail) => {
                links[away].all(fail);
                left_out = Some(away);
            }
            Failure::Leader => {
                let leader = cluster.leader();
                cluster.kill(leader);
                killed = Some(leader);
            }
        }
        clock.jump_to(day);
        for (number, server) in servers.iter().enumerate() {
            if left_out != Some(number) {
                until_day(server, day).await;
            }
        }
        links[away].all(Links::mend);
        if let Some(leader) = killed {
            cluster.restart(leader);
        }
        for server in &servers {
            until_day(server, day).await;
        }
    }

    let log = agree(&servers).await;
    let begun: Vec<&v1::Event> =
        log.iter().filter(|e| e.r#type() == EventType::VisitBegan && e.principal == CLOCK).collect();
    let subjects: Vec<&str> = begun.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!(subjects, NIGHTS.map(|(day, _)| format!("visits/of-{day}")), "each on its day, once");
    let apart = begun.windows(2).all(|pair| pair[0].revision < pair[1].revision);
    assert!(apart, "in a move of the day for each");
    for server in servers {
        server.stop().await;
    }
}
