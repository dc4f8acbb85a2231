//! Answers the operator's commands, on a unix socket.
//!
//! The socket belongs to the bridge's user and has mode 0600: root and that user may ask. Requests wait
//! for nothing that mail waits for. Each has a bounded size and a deadline, so many are served at a time,
//! and who does not read is hung up on.

mod answers;
mod blocks;
pub mod client;
mod endpoints;
mod peers;
pub mod protocol;

use std::sync::Arc;
use std::time::Duration;

use chatmail::Config;
use chatmail::blocks::remote::RemoteBlocks;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::daemon::{Serving, StartError, Stop, stopped};
use crate::routes::Routes;
use crate::statistics::Statistics;
use crate::{probe, queue};
use answers::Answers;
use protocol::{End, Failure, REQUEST_MAX, Request};

pub use endpoints::OverrideRow;
pub use peers::{PathInUse, PeerRow};
pub use queue::Destination;

/// Only root and the bridge's user.
const SOCKET_MODE: u32 = 0o600;

/// Requests that are served at a time; more wait to be accepted.
const REQUESTS_MAX: usize = 16;

/// How long a request may take to come.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long it may take to answer one.
const ANSWER_DEADLINE: Duration = Duration::from_secs(180);

/// How long to wait when the system refuses to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers are made of.
#[derive(Debug)]
struct Context {
    config: Config,
    routes: Routes,
    statistics: Statistics,
    blocks: RemoteBlocks,
}

/// Binds the socket for the commands.
///
/// # Errors
/// It cannot be listened on.
pub fn bind(
    config: &Config,
    routes: &Routes,
    statistics: &Statistics,
    stop: Stop,
) -> Result<Serving, StartError> {
    let path = &config.mxdeliv_admin_socket;
    let listener = chatmail::listen::unix(path, SOCKET_MODE);
    let listener = listener.map_err(StartError::bind(path.display()))?;
    tracing::info!("commands: unix:{}", path.display());
    let context = Arc::new(Context {
        config: config.clone(),
        routes: routes.clone(),
        statistics: statistics.clone(),
        blocks: RemoteBlocks::new(&config.blocks_socket),
    });
    Ok(Box::pin(async move {
        // What is under way is broken off: no mail depends on it, and operators can ask again.
        tokio::select! {
            () = stopped(stop) => {}
            () = serve(&listener, &context) => {}
        }
    }))
}

/// Never ends.
async fn serve(listener: &UnixListener, context: &Arc<Context>) {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut requests = JoinSet::new();
    loop {
        while requests.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let context = Arc::clone(context);
                requests.spawn(async move {
                    converse(stream, &context).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a command: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, context: &Context) {
    let (input, output) = stream.into_split();
    let mut answers = Answers::new(output);
    let asked = timeout(REQUEST_DEADLINE, request(BufReader::new(input))).await;
    let asked = asked.unwrap_or_else(|_| Err(Failure::usage("no request came")));
    let done = match asked {
        Ok(request) => {
            let done = timeout(ANSWER_DEADLINE, answer(context, request, &mut answers)).await;
            let late = || Failure::failed(format!("not done after {ANSWER_DEADLINE:?}"));
            done.unwrap_or_else(|_| Err(late()))
        }
        Err(failure) => Err(failure),
    };
    let end = match done {
        Ok(()) => End::Done,
        Err(failure) => End::Failed(failure),
    };
    answers.end(end).await;
}

async fn request(input: BufReader<impl tokio::io::AsyncRead + Unpin>) -> Result<Request, Failure> {
    let mut line = Vec::new();
    let mut input = input.take(REQUEST_MAX as u64 + 1);
    let read = input.read_until(b'\n', &mut line).await;
    match (read, line.strip_suffix(b"\n")) {
        (Ok(_), Some(line)) => Request::parse(line),
        (Ok(_), None) if line.len() > REQUEST_MAX => Err(Failure::usage("the request is too long")),
        _ => Err(Failure::usage("the request is not complete")),
    }
}

async fn answer(context: &Context, request: Request, answers: &mut Answers) -> Result<(), Failure> {
    match request {
        Request::Peers { domain } => peers::answer(context, domain, answers).await,
        Request::Queue => {
            let queue = queue::ask(&context.config.postfix_config_dir).await;
            let queue = queue.map_err(Failure::unavailable)?;
            for destination in queue.destinations() {
                answers.row(&destination).await?;
            }
            match queue.unreadable() {
                0 => Ok(()),
                count => Err(Failure::failed(format!(
                    "{count} messages of the queue could not be read and are not counted"
                ))),
            }
        }
        Request::Probe { domain } => {
            let domain = peers::parse_domain(&domain)?;
            let (steps, mut taken) = tokio::sync::mpsc::channel(1);
            let probing = probe::run(&context.config, &context.routes, &domain, steps);
            let showing = async {
                while let Some(step) = taken.recv().await {
                    answers.row(&step).await?;
                }
                Ok(())
            };
            tokio::join!(probing, showing).1
        }
        Request::EndpointList => endpoints::list(context, answers).await,
        Request::EndpointSet {
            domain,
            endpoint,
            lax,
        } => endpoints::set(context, &domain, &endpoint, lax).await,
        Request::EndpointUnset { domain } => endpoints::unset(context, &domain, answers).await,
        Request::BlockList => blocks::list(context, answers).await,
        Request::BlockAdd { entries, note } => blocks::add(context, &entries, note, answers).await,
        Request::BlockRemove { entries } => blocks::remove(context, &entries, answers).await,
    }
}
