//! `POST /mxdeliv`: from the request to the answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use chatmail::smtp::Path;
use chatmail::{Domain, Reply};
use filtermail::incoming::{self, Message, Policy, RecipientRefusal, WireMessage};
use filtermail::session::Edit;
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::answer::{self, Failure};
use super::client_header::ClientHeader;
use super::clients::{Clients, Slot};
use super::connection::Head;
use super::content::{self, Held, Received};
use super::delivery::{Delivery, Passed};
use super::delivery_headers;
use super::duplicates::{Duplicates, Key};
use super::envelope::Posted;
use super::metrics::Metrics;
use crate::budget::Budget;
use crate::statistics::{Attempt, Direction, Statistics, Transport};

/// Within which time a message must have come, and be answered. One kind of peer sends again after 30 s.
const MESSAGE_TIME: Duration = Duration::from_secs(15);
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// All that requests share.
pub(super) struct Door {
    pub(super) policy: Arc<Policy>,
    pub(super) clients: Arc<Clients>,
    pub(super) budget: Budget,
    pub(super) delivery: Arc<Delivery>,
    pub(super) duplicates: Duplicates,
    pub(super) statistics: Statistics,
    pub(super) metrics: Metrics,
    /// The field that names the client.
    pub(super) client_header: ClientHeader,
    /// The largest message in octets.
    pub(super) size_max: u64,
    pub(super) under_way: UnderWay,
}

/// Deliveries that have begun. They go on when nobody waits for them any more. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<watch::Sender<usize>>);

impl Door {
    /// Answers `POST /mxdeliv`, and everything else with what it is: not here, or not like this.
    pub(super) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/mxdeliv", routing::any(mxdeliv))
            .fallback(not_here)
            .with_state(self)
    }

    async fn answer(&self, request: Request) -> Response {
        let head = request.extensions().get::<Arc<Head>>().cloned();
        let head = head.unwrap_or_default();
        // Whoever is not known is not trusted.
        let Some(client) = self.client_header.client(request.headers()) else {
            return Failure::misconfigured().into_response();
        };
        if request.method() != Method::POST {
            self.clients.refused(client);
            let allow = [(header::ALLOW, HeaderValue::from_static("POST"))];
            return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
        }
        let mut peer = None;
        let taken = self.take(request, client, &head, &mut peer);
        let taken = timeout_at(head.began() + ANSWER_TIME, taken).await;
        let taken = taken.unwrap_or_else(|_| Err(Failure::slow()));
        if taken.as_ref().is_err_and(Failure::is_refusal) {
            self.clients.refused(client);
        }
        if let Some(peer) = peer {
            let outcome = taken
                .as_ref()
                .map_err(|failure| failure.reason().to_owned());
            self.statistics.record(Attempt {
                peer,
                direction: Direction::Inbound,
                transport: Transport::Mxdeliv,
                outcome: outcome.copied(),
                took: head.began().elapsed(),
            });
        }
        answer::response(taken)
    }

    /// Takes a message; tells whose it is as soon as that is proved.
    async fn take(
        &self,
        request: Request,
        client: IpAddr,
        head: &Head,
        peer: &mut Option<Domain>,
    ) -> Result<(), Failure> {
        let slot = self.clients.admit(client);
        let slot = slot.map_err(|_| Failure::too_many())?;
        if head.is_ambiguous() {
            return Err(Failure::bad_request("The length is given more than once"));
        }
        let (parts, body) = request.into_parts();
        let posted = Posted::read(&parts.headers)?;
        let length = announced(&parts.headers);
        if length.is_some_and(|length| length > self.size_max) {
            return Err(Failure::too_large());
        }
        let sender = posted.sender.as_bytes();
        let mut message = Message::new(self.policy.clone(), Some(client), sender);
        let recipients = admit(&mut message, &posted.recipients).await?;
        let mut message = WireMessage::new(message);
        let received = self.receive(body, slot, length, &mut message);
        let received = timeout_at(head.began() + MESSAGE_TIME, received).await;
        let (held, received) = received.unwrap_or_else(|_| Err(Failure::slow_client()))?;
        let Received::Whole(content) = received else {
            let refusal = judged(message.finish().await).err();
            return Err(refusal.unwrap_or_else(Failure::unavailable));
        };
        let key = Key::new(&posted, &content);
        let claim = self.duplicates.claim(key).await;
        if claim.is_done() {
            self.metrics.duplicates.inc();
            return Ok(());
        }
        let passed = judged(message.finish().await)?;
        *peer = passed.peer;
        let passed = Passed {
            sender: edited(posted.sender, &passed.edits)?,
            recipients,
            message: held,
            claim,
        };
        self.deliver(passed).await
    }

    async fn receive(
        &self,
        body: Body,
        slot: Slot,
        length: Option<u64>,
        message: &mut WireMessage,
    ) -> Result<(Held, Received), Failure> {
        let mut held = Held::new(&self.budget, slot, length, self.size_max).await?;
        let received = content::receive(body, &mut held, message, self.size_max).await;
        self.metrics.octets.inc_by(held.octets().len() as u64);
        Ok((held, received?))
    }

    /// Delivers in a task of its own: a client that goes away must not cut a delivery in two.
    async fn deliver(&self, mut passed: Passed) -> Result<(), Failure> {
        let (delivery, begun) = (self.delivery.clone(), self.under_way.begin());
        let delivered = tokio::spawn(async move {
            delivery_headers::remove(passed.message.octets_mut());
            let delivered = delivery.deliver(passed).await;
            drop(begun);
            delivered
        });
        // A delivery that panicked has not delivered to all.
        delivered
            .await
            .unwrap_or_else(|_| Err(Failure::unavailable()))
    }
}

async fn mxdeliv(State(door): State<Arc<Door>>, request: Request) -> Response {
    let response = door.answer(request).await;
    door.metrics.answered(response.status());
    response
}

async fn not_here(State(door): State<Arc<Door>>, headers: HeaderMap) -> StatusCode {
    if let Some(client) = door.client_header.client(&headers) {
        door.clients.refused(client);
    }
    door.metrics.answered(StatusCode::NOT_FOUND);
    StatusCode::NOT_FOUND
}

/// How long the message is, when that is known before it comes.
fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Asks about all recipients; the answer for each, when at least one is admitted.
async fn admit(
    message: &mut Message,
    recipients: &[Path],
) -> Result<Vec<(Path, Result<(), Reply>)>, Failure> {
    let mut admitted = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        match message.recipient(recipient.as_bytes()).await {
            Err(RecipientRefusal::Unavailable) => return Err(Failure::unavailable()),
            judged => {
                let judged = judged.map_err(RecipientRefusal::reply);
                admitted.push((recipient.clone(), judged));
            }
        }
    }
    if admitted.iter().any(|(_, judged)| judged.is_ok()) {
        return Ok(admitted);
    }
    let replies = admitted.into_iter().filter_map(|(_, judged)| judged.err());
    Err(Failure::of_recipients(&replies.collect::<Vec<_>>()))
}

fn judged(
    verdict: Result<incoming::Passed, incoming::Refusal>,
) -> Result<incoming::Passed, Failure> {
    incoming::log(None, &verdict);
    verdict.map_err(|refusal| Failure::refused(refusal.reply()))
}

/// The envelope sender after the rules' changes.
fn edited(mut sender: Path, edits: &[Edit]) -> Result<Path, Failure> {
    for edit in edits {
        // The rules change nothing else.
        if let Edit::Sender(text) = edit {
            let path = Path::try_from(text.as_bytes());
            sender = path.map_err(|_| Failure::unavailable())?;
        }
    }
    Ok(sender)
}

impl UnderWay {
    fn begin(&self) -> Begun {
        self.0.send_modify(|count| *count += 1);
        Begun(self.clone())
    }

    /// Waits until nothing is under way.
    pub(super) async fn none(&self) {
        // Its sender is ours, so there is no error.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One delivery.
struct Begun(UnderWay);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0
            .0
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Door").finish_non_exhaustive()
    }
}
