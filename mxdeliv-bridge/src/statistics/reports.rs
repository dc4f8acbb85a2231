//! What filtermail tells of mail that comes by SMTP; [`filtermail::report`] says how.

use chatmail::{Config, Domain};
use filtermail::report::{REPORT_MAX, Report};
use tokio::net::UnixDatagram;
use tokio::time::sleep;

use super::{Attempt, Direction, Statistics, Transport};
use crate::daemon::{Serving, StartError, Stop, stopped};

/// Permissions of the socket: whoever reaches the folder that it lies in may report. So the folder decides.
const SOCKET_MODE: u32 = 0o666;

/// How long to wait when the system cannot hand out a datagram.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Binds `mxdeliv_report_socket`.
pub(super) fn bind(
    config: &Config,
    statistics: Statistics,
    stop: Stop,
) -> Result<Serving, StartError> {
    let path = &config.mxdeliv_report_socket;
    let socket = chatmail::listen::unix_datagram(path, SOCKET_MODE);
    let socket = socket.map_err(StartError::bind(path.display()))?;
    tracing::info!("reports of mail by SMTP: unix:{}", path.display());
    let own = config.mail_domain.clone();
    Ok(Box::pin(async move {
        tokio::select! {
            () = stopped(stop) => {}
            () = take(&socket, &statistics, &own) => {}
        }
    }))
}

/// Counts reports; never ends.
async fn take(socket: &UnixDatagram, statistics: &Statistics, own: &Domain) {
    // One octet more, so that what is too long is seen to be.
    let mut datagram = [0; REPORT_MAX + 1];
    loop {
        let Ok(length) = socket.recv(&mut datagram).await else {
            sleep(PAUSE).await;
            continue;
        };
        let report = datagram.get(..length).and_then(Report::parse);
        if let Some(report) = report.filter(|report| report.domain != *own) {
            statistics.record(attempt(report));
        }
    }
}

fn attempt(report: Report) -> Attempt {
    let outcome = match report.accepted {
        true => Ok(()),
        false => Err("refused by the rules for mail from outside".into()),
    };
    Attempt {
        peer: report.domain,
        direction: Direction::Inbound,
        transport: Transport::Smtp,
        outcome,
        took: report.took,
    }
}
