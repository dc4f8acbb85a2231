//! Sends what is in the queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatmail::Address;
use chatmail::config::HttpsUrl;
use chatmail::log_limit::LogLimit;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::{Answer, NotificationServer, Posted};
use super::link::Link;
use super::queue::{Notification, Outcome};
use super::worker::{Worker, now};
use crate::metadata::file::{TokenChange, TokenStore};
use crate::metrics::{Metrics, PushOutcome};

/// How long to wait for certificate authorities that are not there.
const AUTHORITIES_PAUSE: Duration = Duration::from_secs(60);

/// How long posts that are under way are waited for when we are to stop. Those without an answer by then
/// are sent again by the next process.
const GRACE: Duration = Duration::from_secs(5);

/// Sends notifications until it is told to stop.
#[derive(Debug)]
pub struct Sender {
    url: String,
    authorities: PathBuf,
    worker: Worker,
    tokens: Arc<TokenStore>,
    metrics: Metrics,
    trouble: Arc<LogLimit>,
}

/// A post that is over.
struct Done {
    id: i64,
    posted: Result<Posted, String>,
}

impl Sender {
    pub(super) fn new(
        url: &HttpsUrl,
        authorities: &Path,
        worker: Worker,
        tokens: Arc<TokenStore>,
        metrics: Metrics,
    ) -> Self {
        Self {
            url: url.as_str().to_owned(),
            authorities: authorities.to_owned(),
            worker,
            tokens,
            metrics,
            trouble: Arc::default(),
        }
    }

    /// Sends until `stop` becomes true, or its sender is gone; then waits a moment for what is under way.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let server = tokio::select! {
            server = self.server() => server,
            () = stopped(&mut stop) => return,
        };
        let mut posts = JoinSet::new();
        self.send_all(&server, &mut posts, stop).await;
        let mut link = Link::default();
        let finish = async {
            while let Some(done) = posts.join_next().await {
                self.settle(done, &mut link).await;
            }
        };
        let _ = timeout(GRACE, finish).await;
        // So that what was settled is written.
        self.worker.take(0).await;
    }

    async fn server(&self) -> NotificationServer {
        loop {
            match NotificationServer::new(&self.url, &self.authorities) {
                Ok(server) => return server,
                Err(error) => tracing::error!("notifications cannot be sent: {error}"),
            }
            sleep(AUTHORITIES_PAUSE).await;
        }
    }

    async fn send_all(
        &self,
        server: &NotificationServer,
        posts: &mut JoinSet<Done>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut link = Link::default();
        // Whether something may be due now, and when it may be next, in Unix seconds.
        let (mut look, mut next) = (true, None);
        loop {
            let free = link.limit(Instant::now()).saturating_sub(posts.len());
            if look && free > 0 {
                let due = self.worker.take(free).await;
                let found = due.notifications.len();
                for notification in due.notifications {
                    posts.spawn(self.post(server.clone(), notification));
                }
                next = due.next;
                look = next.is_some_and(|next| next <= now());
                if look && found < free {
                    continue;
                }
            }
            let pause = next.map_or(Duration::MAX, |next: u64| {
                Duration::from_secs(next.saturating_sub(now()))
            });
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                Some(done) = posts.join_next() => {
                    self.settle(done, &mut link).await;
                    while let Some(done) = posts.try_join_next() {
                        self.settle(done, &mut link).await;
                    }
                }
                () = self.worker.news() => look = true,
                () = sleep(pause), if !look => look = true,
            }
        }
    }

    fn post(
        &self,
        server: NotificationServer,
        notification: Notification,
    ) -> impl Future<Output = Done> + use<> {
        let (tokens, metrics) = (Arc::clone(&self.tokens), self.metrics.clone());
        let trouble = Arc::clone(&self.trouble);
        async move {
            let Notification { id, address, token } = notification;
            let posted = server.post(&token).await;
            let is_gone = |posted: &Posted| posted.answer == Answer::Gone;
            if posted.as_ref().is_ok_and(is_gone)
                && let Ok(address) = address.parse::<Address>()
            {
                let remove = vec![TokenChange::Remove(token)];
                match tokens.change(&address, remove).await {
                    Ok(true) => metrics.count_removed_token(),
                    Ok(false) => {}
                    // The next message finds it there, and out.
                    Err(error) => {
                        if let Some(suppressed) = trouble.allow() {
                            tracing::error!(suppressed, "a token cannot be removed: {error}");
                        }
                    }
                }
            }
            Done { id, posted }
        }
    }

    /// Takes note of what came of a post.
    async fn settle(&self, done: Result<Done, tokio::task::JoinError>, link: &mut Link) {
        let Done { id, posted } = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::error!("a notification is lost until the next start: {error}");
                return;
            }
        };
        let (outcome, settled) = match &posted {
            Ok(posted) => match posted.answer {
                Answer::Sent => (PushOutcome::Sent, Outcome::Done),
                Answer::Gone => (PushOutcome::Gone, Outcome::Done),
                Answer::Other(_) => (PushOutcome::Failed, Outcome::Failed),
            },
            Err(_) => (PushOutcome::Failed, Outcome::Failed),
        };
        self.metrics.count_pushes(outcome, 1);
        let why = match posted {
            Ok(posted) => {
                link.answered(Instant::now(), posted.is_http2);
                match posted.answer {
                    Answer::Other(status) => Some(status.to_string()),
                    Answer::Sent | Answer::Gone => None,
                }
            }
            Err(why) => {
                link.failed();
                Some(why)
            }
        };
        if let Some(why) = why
            && let Some(suppressed) = self.trouble.allow()
        {
            tracing::warn!(suppressed, "a notification is tried again later: {why}");
        }
        self.worker.settle(id, settled).await;
    }
}

/// Waits until it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say so.
    let _ = stop.wait_for(|stop| *stop).await;
}
