//! Carries the decisions of a [`Session`] over the milter protocol. This is the one file that
//! knows the milter library.
//!
//! Postfix waits for an answer only at `RCPT` and at the end: `MAIL`, header fields, the end of the
//! header section and body chunks are announced as never answered, `CONNECT`, `HELO`, `DATA` and
//! unknown commands as not wanted. Each answer that it need not wait for saves two changes of
//! process, and a 5 MB message has 80 chunks. The price: Postfix replays the whole of a message
//! that is refused already, since an answer that is never given cannot say "skip". Cleartext is
//! rare and the replay is local.
//!
//! Of Postfix's macros two are asked for, `{auth_authen}` at `MAIL` and `i`, the queue id, at the
//! end. Whatever else comes over the socket than what the protocol allows closes the connection,
//! which Postfix turns into a temporary failure (`milter_default_action = tempfail`).

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::future::ready;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use chatmail::Reply;
use indymilter::{
    ActionError, Actions, Callbacks, Context, ContextActions as _, EitherListener, EitherStream,
    EomActions, EomContext, Listener, MacroStage, NegotiateContext, ProtoOpts, SetErrorReply as _,
    SmtpReply, Status,
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{Sleep, sleep, timeout};

use crate::session::{Answer, Edit, Outcome, Session};

/// The most connections served at once; more wait in the backlog. Above any sensible
/// `default_process_limit` of Postfix.
const CONNECTIONS_MAX: usize = 10_000;

/// How long a connection may be silent. Postfix keeps one for each SMTP client and says nothing
/// while the client uploads; it hangs up by itself when the client goes. libmilter's default.
const SILENCE_MAX: Duration = Duration::from_secs(7210);

/// How long to wait when the system refuses to accept, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What Postfix sends and does not wait for.
const PROTOCOL: ProtoOpts = ProtoOpts::NO_CONNECT
    .union(ProtoOpts::NO_HELO)
    .union(ProtoOpts::NO_DATA)
    .union(ProtoOpts::NO_UNKNOWN)
    .union(ProtoOpts::NOREPLY_MAIL)
    .union(ProtoOpts::NOREPLY_HEADER)
    .union(ProtoOpts::NOREPLY_EOH)
    .union(ProtoOpts::NOREPLY_BODY)
    .union(ProtoOpts::LEADING_SPACE);

/// The size of the body chunks that Postfix sends as such (its `MILTER_CHUNK_SIZE`). The rest, which
/// is always shorter, comes along with the end of the message.
const FULL_CHUNK: usize = 65_535;

/// What we do to messages.
const ACTIONS: Actions = Actions::CHANGE_HEADER;

/// The SASL login, in Postfix's notation.
const AUTH_AUTHEN: &CStr = c"{auth_authen}";

/// The queue id, in Postfix's notation.
const QUEUE_ID: &CStr = c"i";

/// The most octets of a reply's text before `%` is doubled; the library takes 980.
const TEXT_MAX: usize = 480;

/// A socket to listen on.
pub type Socket = EitherListener<TcpListener, UnixListener>;

/// Serves milter connections until `stop` is ready, then refuses new ones, and goes on until no
/// message is under way or `drain` is over.
///
/// `connections` counts the open connections; `session` makes the session of a new one.
///
/// # Errors
/// None of a single connection's; only those that make serving impossible.
pub async fn serve<S: Session>(
    socket: Socket,
    session: impl Fn() -> S + Send + Sync + 'static,
    connections: Gauge,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> io::Result<()> {
    let (under_way, mut nothing_under_way) = watch::channel(0);
    let (close, closed) = oneshot::channel();
    let listener = Door {
        socket: Some(socket),
        closed,
        pause: None,
    };
    let config = indymilter::Config {
        max_connections: CONNECTIONS_MAX,
        connection_timeout: SILENCE_MAX,
        ..Default::default()
    };
    let make = move || Conversation {
        session: session(),
        message: None,
        under_way: under_way.clone(),
        _open: Counted::new(&connections),
    };
    let shutdown = async {
        stop.await;
        // The listener is dropped by the door, or is gone already.
        let _ = close.send(());
        let idle = nothing_under_way.wait_for(|messages| *messages == 0);
        if timeout(drain, idle).await.is_err() {
            tracing::warn!("Messages were under way at the end of the drain; clients try again.");
        }
    };
    indymilter::run(listener, callbacks(make), config, shutdown).await
}

/// A connection's session with what is counted about it.
struct Conversation<S> {
    session: S,
    /// Present while a message is under way.
    message: Option<UnderWay>,
    under_way: watch::Sender<usize>,
    _open: Counted,
}

/// Counts a connection while it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts a message while it is under way.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|messages| *messages += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|messages| *messages -= 1);
    }
}

/// The listening socket until it is closed: at the end no connection is accepted while those that
/// are there go on.
struct Door {
    socket: Option<Socket>,
    closed: oneshot::Receiver<()>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Listener for Door {
    type Io = EitherStream<TcpStream, UnixStream>;

    fn poll_accept(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Self::Io>> {
        loop {
            let Some(socket) = &mut self.socket else {
                return Poll::Pending;
            };
            if Pin::new(&mut self.closed).poll(cx).is_ready() {
                self.socket = None;
                return Poll::Pending;
            }
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match std::task::ready!(socket.poll_accept(cx)) {
                Ok(stream) => {
                    // A failure here costs time, not mail.
                    if let EitherStream::Tcp(tcp) = &stream {
                        let _ = tcp.set_nodelay(true);
                    }
                    return Poll::Ready(Ok(stream));
                }
                Err(error) => {
                    tracing::error!("cannot accept a connection: {error}");
                    self.pause = Some(Box::pin(sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

fn callbacks<S: Session>(
    make: impl Fn() -> Conversation<S> + Send + Sync + 'static,
) -> Callbacks<Conversation<S>> {
    Callbacks::new()
        .on_negotiate(move |cx, actions, protocol| {
            Box::pin(ready(negotiate(cx, actions, protocol, &make)))
        })
        .on_mail(|cx, arguments| Box::pin(ready(mail(cx, &arguments))))
        .on_rcpt(|cx, arguments| Box::pin(ready(recipient(cx, &arguments))))
        .on_header(|cx, name, value| Box::pin(ready(header(cx, &name, &value))))
        .on_eoh(|cx| Box::pin(ready(end_of_headers(cx))))
        .on_body(|cx, chunk| Box::pin(ready(body(cx, &chunk))))
        .on_eom(|cx| Box::pin(end_of_message(cx)))
        .on_abort(|cx| Box::pin(ready(abort(cx))))
}

fn negotiate<S: Session>(
    cx: &mut NegotiateContext<Conversation<S>>,
    actions: Actions,
    protocol: ProtoOpts,
    make: impl Fn() -> Conversation<S>,
) -> Status {
    if !actions.contains(ACTIONS) || !protocol.contains(PROTOCOL) {
        tracing::error!(
            "Postfix does not offer milter protocol 6: remove milter_protocol from main.cf"
        );
        // Not a status that ends a negotiation well: the connection is closed.
        return Status::Tempfail;
    }
    cx.requested_actions = ACTIONS;
    cx.requested_opts = PROTOCOL;
    cx.requested_macros = HashMap::from([
        (MacroStage::Connect, CString::default()),
        (MacroStage::Helo, CString::default()),
        (MacroStage::Mail, AUTH_AUTHEN.to_owned()),
        (MacroStage::Rcpt, CString::default()),
        (MacroStage::Data, CString::default()),
        (MacroStage::Eoh, CString::default()),
        (MacroStage::Eom, QUEUE_ID.to_owned()),
    ]);
    cx.data = Some(make());
    Status::Continue
}

fn mail<S: Session>(cx: &mut Context<Conversation<S>>, arguments: &[CString]) -> Status {
    if let Some(conversation) = &mut cx.data {
        let login = cx
            .macros
            .get(AUTH_AUTHEN)
            .map(CStr::to_bytes)
            .filter(|text| !text.is_empty());
        conversation.session.mail(path(arguments), login);
        conversation.message = Some(UnderWay::new(&conversation.under_way));
    }
    Status::Noreply
}

fn recipient<S: Session>(cx: &mut Context<Conversation<S>>, arguments: &[CString]) -> Status {
    let Some(conversation) = &mut cx.data else {
        return Status::Tempfail;
    };
    match conversation.session.recipient(path(arguments)) {
        Answer::Continue => Status::Continue,
        Answer::Refuse(reply) => refuse(&mut cx.reply, &reply),
    }
}

fn header<S: Session>(cx: &mut Context<Conversation<S>>, name: &CStr, value: &CStr) -> Status {
    if let Some(conversation) = &mut cx.data {
        conversation
            .session
            .header(name.to_bytes(), value.to_bytes());
    }
    Status::Noreply
}

fn end_of_headers<S: Session>(cx: &mut Context<Conversation<S>>) -> Status {
    if let Some(conversation) = &mut cx.data {
        conversation.session.end_of_headers();
    }
    Status::Noreply
}

fn body<S: Session>(cx: &mut Context<Conversation<S>>, chunk: &[u8]) -> Status {
    if let Some(conversation) = &mut cx.data {
        conversation.session.body(chunk);
    }
    // The library calls this for a chunk, which is not answered, and for the rest at the end of
    // the message, where it goes on to the end only on Continue. Their sizes tell them apart.
    if chunk.len() == FULL_CHUNK {
        Status::Noreply
    } else {
        Status::Continue
    }
}

async fn end_of_message<S: Session>(cx: &mut EomContext<Conversation<S>>) -> Status {
    let Some(conversation) = &mut cx.data else {
        return Status::Tempfail;
    };
    let queue_id = cx
        .macros
        .get(QUEUE_ID)
        .map(CStr::to_string_lossy)
        .unwrap_or_default();
    let outcome = conversation.session.end_of_message(&queue_id);
    let status = match outcome {
        Outcome::Refuse(reply) => refuse(&mut cx.reply, &reply),
        Outcome::Accept(edits) => match apply(&cx.actions, edits).await {
            Ok(()) => Status::Continue,
            Err(error) => {
                tracing::warn!(%queue_id, "cannot change header fields: {error}");
                Status::Tempfail
            }
        },
    };
    conversation.message = None;
    status
}

fn abort<S: Session>(cx: &mut Context<Conversation<S>>) -> Status {
    if let Some(conversation) = &mut cx.data {
        conversation.session.abort();
        conversation.message = None;
    }
    Status::Noreply
}

async fn apply(actions: &EomActions, edits: Vec<Edit>) -> Result<(), ActionError> {
    for edit in edits {
        match edit {
            Edit::Replace {
                name,
                occurrence,
                value,
            } => {
                let value = Some(field_value(&value));
                actions
                    .change_header(name, index(occurrence)?, value)
                    .await?;
            }
            Edit::Delete { name, occurrence } => {
                actions
                    .change_header(name, index(occurrence)?, None::<CString>)
                    .await?;
            }
        }
    }
    Ok(())
}

/// With `LEADING_SPACE` Postfix puts nothing between the colon and the value.
fn field_value(value: &str) -> String {
    format!(" {value}")
}

fn index(occurrence: u32) -> Result<i32, ActionError> {
    i32::try_from(occurrence).map_err(|_| ActionError::InvalidParam)
}

/// The address of `MAIL FROM:<address> parameters`, without brackets.
fn path(arguments: &[CString]) -> &[u8] {
    let text = arguments
        .first()
        .map(|first| first.to_bytes())
        .unwrap_or_default();
    text.strip_prefix(b"<")
        .and_then(|rest| rest.strip_suffix(b">"))
        .unwrap_or(text)
}

/// Hands a reply to the library and says which kind of status carries it.
fn refuse(out: &mut SmtpReply, reply: &Reply) -> Status {
    let end = reply.text.floor_char_boundary(TEXT_MAX);
    // Postfix reads the text as a format string.
    let text = reply.text.get(..end).unwrap_or_default().replace('%', "%%");
    let code = reply.code.to_string();
    if let Err(error) = out.set_error_reply(&code, Some(&reply.enhanced_text()), [text]) {
        // A plain 550 or 451 goes out then.
        tracing::error!(
            "the milter library does not take the reply {}: {error}",
            reply.code
        );
    }
    if reply.is_temporary() {
        Status::Tempfail
    } else {
        Status::Reject
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("<a@x.org>", "a@x.org")]
    #[case("<>", "")]
    #[case("a@x.org", "a@x.org")]
    #[case("<a@x.org", "<a@x.org")]
    fn paths_lose_their_brackets(#[case] argument: &str, #[case] expected: &str) {
        let arguments = [
            CString::new(argument).unwrap(),
            CString::new("SIZE=1").unwrap(),
        ];
        assert_eq!(path(&arguments), expected.as_bytes());
        assert_eq!(path(&[]), b"");
    }
}
