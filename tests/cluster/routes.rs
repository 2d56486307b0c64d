//! The links between the servers, which fail and are mended again.

use std::net::{Ipv4Addr, SocketAddr};

use attache::{journal::jetstream::Settings, pb::v1};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    agree,
    common::{config, visit_report, watching::patiently},
    filers::{Filers, insist, standing},
    link::{Link, State},
    links::Links,
    nats::{Cluster, Sync},
    on, replica, stop,
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

fn request(id: &str) -> v1::FileReportsRequest {
    let reports = vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")];
    v1::FileReportsRequest { reports, request_id: Some(id.into()), ..Default::default() }
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
