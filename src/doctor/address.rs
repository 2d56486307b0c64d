//! Whether the addresses can be listened on now, tried and let go again.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use tokio::net::TcpListener;

use super::{Finding, Level, place::Places};
use crate::config::{AdminPort, Config, DEFAULT_ADMIN, Faults, Part};

/// Tries both; `held` says whether a process has the store's folder, which may well be the one that has the addresses.
pub(super) async fn look(config: &Config, faults: &Faults, places: &Places, held: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    // Kept until the other was tried: a server needs both at the same time.
    let mut kept = None;
    if !faults.has(Part::Listen) {
        let tried = TcpListener::bind(config.listen).await;
        found.push(judged(&tried, config.listen, &places.listen(), held));
        kept = Some(tried);
        if !faults.has(Part::Tls) && !faults.has(Part::Access) {
            found.extend(exposed(config, places));
        }
    }
    let (address, is_asked) = match config.admin {
        AdminPort::None => return found,
        AdminPort::Usual => (DEFAULT_ADMIN, false),
        AdminPort::At(address) => (address, true),
    };
    let mut finding = judged(&TcpListener::bind(address).await, address, &places.admin(), held);
    drop(kept);
    // A server does without one that nobody asked for.
    if !is_asked && finding.level == Level::Fault {
        finding.level = Level::Warning;
        finding.what = format!("{}, so there would be no admin port", finding.what);
    }
    found.push(finding);
    found.extend(open_to_others(address, places));
    found
}

fn judged(tried: &io::Result<TcpListener>, address: SocketAddr, about: &str, held: bool) -> Finding {
    let Err(error) = tried else { return Finding::ok(about, format!("{address} can be listened on")) };
    match error.kind() {
        ErrorKind::AddrInUse if held => {
            let what = format!("{address} is in use, probably by the server that has the store's folder");
            Finding::warning(about, what, "stop that one before another is started")
        }
        ErrorKind::AddrInUse => {
            let what = format!("{address} is in use by another process, and it is not known here by which");
            let remedy = "see `ss -ltnp`, and stop that one or say another port; if systemd holds it for the server, \
                          it is handed over";
            Finding::fault(about, what, remedy)
        }
        ErrorKind::AddrNotAvailable => {
            let what = format!("{address} is no address of this machine");
            Finding::fault(about, what, "say one that `ip address` shows, or 0.0.0.0 or [::] for all of them")
        }
        ErrorKind::PermissionDenied => {
            let what = format!("{address} may not be listened on by this user");
            Finding::fault(about, what, "say a port from 1024 on, or give the server CAP_NET_BIND_SERVICE")
        }
        _ => Finding::fault(about, format!("{address} cannot be listened on: {error}"), "say another address"),
    }
}

/// An admin port that other machines reach: whatever the rules of access say, it asks nobody who they are.
fn open_to_others(admin: SocketAddr, places: &Places) -> Option<Finding> {
    let what = format!("{admin} is reached by other machines, and the admin port asks nobody who they are");
    let remedy = "listen on a loopback address, or be sure that something else lets in only who is to read the numbers";
    (!admin.ip().is_loopback()).then(|| Finding::warning(&places.admin(), what, remedy))
}

/// An address that is accepted only because somebody said so.
fn exposed(config: &Config, places: &Places) -> Option<Finding> {
    if !config.insecure_listen {
        return None;
    }
    let strict = Config { insecure_listen: false, ..config.clone() };
    let why = strict.check_address(config.listen).err()?;
    let remedy = "that was allowed by insecure_listen: be sure that something else keeps strangers out";
    Some(Finding::warning(&places.listen(), why, remedy))
}
