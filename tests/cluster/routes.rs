//! The links between the servers, which fail and are mended again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use attache::{journal::jetstream::Settings, pb::v1};
use rand::{SeedableRng as _, rngs::StdRng};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    agree,
    common::{
        TestServer, config,
        watching::{patiently, reason},
    },
    filers::{Filers, insist, request, standing},
    link::{Link, State},
    links::Links,
    nats::{Cluster, Sync},
    on, replica, stop, until_health,
};

/// The links between servers, one for each way between two. They end with this value.
pub struct Routes(Vec<(usize, usize, Link)>);

impl Routes {
    /// Servers that find each other at the near ends of links.
    pub fn between_servers() -> (Cluster, Self) {
        let mut links = Vec::new();
        let cluster = Cluster::start_over(Sync::Always, "", |from, to, port| {
            let link = Link::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), StdRng::seed_from_u64(0));
            let near = link.address.port();
            links.push((from, to, link));
            near
        });
        (cluster, Self(links))
    }

    /// Does this to all links of a server with others, whoever connected.
    pub fn turn(&self, server: usize, state: State) {
        self.0.iter().filter(|(from, to, _)| [*from, *to].contains(&server)).for_each(|(_, _, link)| link.turn(state));
    }
}

/// A server that the others do not hear goes on to answer its clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_from_the_other_servers_is_left_and_nothing_acknowledged_is_lost() {
    let (cluster, routes) = Routes::between_servers();
    let links = Links::to(&cluster);
    let own: Settings = links.settings();
    let servers = [on(own, config()).await, replica(&cluster).await, replica(&cluster).await];
    let filers = Filers::start(&servers, 6);
    filers.more(20).await;
    // It is sure to be connected to the one that leads.
    let leader = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|other| *other != leader).collect();
    others.iter().for_each(|other| links.cut(*other));
    patiently("a filing by way of the leader", insist(&servers[0], request("led"))).await;
    others.iter().for_each(|other| links.mend(*other));
    assert!(links.is_in_use(leader), "nothing led it elsewhere");

    // What it had under way is not refused: nothing is said at all.
    routes.turn(leader, State::Frozen);
    patiently("a filing by way of another", insist(&servers[0], request("left"))).await;
    filers.more(20).await;
    routes.turn(leader, State::Open);
    filers.more(20).await;
    let mut acknowledged = filers.stop().await;
    acknowledged.extend(["visits/led".to_owned(), "visits/left".to_owned()]);
    acknowledged.sort();
    assert_eq!(standing(&agree(&servers).await), acknowledged, "each once");
    stop(servers).await;
}

/// Has a replica that reaches the servers over links be connected to one of them, and then free to go elsewhere.
async fn connected_to(server: usize, links: &Links, replica: &TestServer) {
    let others: Vec<usize> = (0..3).filter(|other| *other != server).collect();
    others.iter().for_each(|other| links.cut(*other));
    patiently("its connection", async {
        while !links.is_in_use(server) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    until_health(replica, ServingStatus::Serving).await;
    others.iter().for_each(|other| links.mend(*other));
    assert!(links.is_in_use(server), "nothing led it elsewhere");
}

/// The leader of the cursors' bucket answers its clients too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_never_read_from_a_leader_that_the_other_servers_do_not_hear() {
    let (cluster, routes) = Routes::between_servers();
    let (near, far) = (Links::to(&cluster), Links::to(&cluster));
    let servers = [on(near.settings(), config()).await, on(far.settings(), config()).await];
    let mut tokens = Vec::new();
    for id in ["one", "two"] {
        tokens.push(patiently("a filing", insist(&servers[1], request(id))).await.token);
    }
    let commit = async |server: &TestServer, position: &str| {
        let request = v1::CommitCursorRequest { name: "c".into(), position: position.to_owned(), expected_etag: None };
        patiently("a commit", async {
            while let Err(status) = server.feed().commit_cursor(request.clone()).await {
                assert_eq!(reason(&status), "JOURNAL_UNAVAILABLE", "{status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    commit(&servers[1], &tokens[0]).await;
    let leader = cluster.leader_of("KV_TEST_CURSORS");
    far.cut(leader);
    if !near.is_in_use(leader) {
        connected_to(leader, &near, &servers[0]).await;
    }
    routes.turn(leader, State::Cut);
    commit(&servers[1], &tokens[1]).await;
    // Until it has left that server it does not know; what was before it does not say.
    let read = patiently("the cursor", async {
        loop {
            match servers[0].feed().get_cursor(v1::GetCursorRequest { name: "c".into() }).await {
                Ok(answer) => return answer.into_inner().cursor.expect("a cursor").position,
                Err(status) => assert_eq!(reason(&status), "JOURNAL_UNAVAILABLE", "{status:?}"),
            }
        }
    });
    assert_eq!(read.await, tokens[1]);
    for server in servers {
        server.stop().await;
    }
}
