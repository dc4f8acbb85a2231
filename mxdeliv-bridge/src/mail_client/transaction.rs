//! One message over a connection.

use chatmail::smtp::{Command, DataEncoder, Extensions, Path, Protocol, ServerReply};

use super::DeliveryError;
use super::connection::Connection;
use crate::envelope::{Envelope, Recipient};

/// Commands that are sent before their replies are read. Their replies must fit into the socket's
/// buffers, or both sides would wait for the other to read.
const AHEAD_MAX: usize = 100;

/// Octets of the message that are sent at once.
const PIECE: usize = 64 * 1024;

/// 421: the server closes the connection (RFC 5321 section 3.8), whatever it was asked.
const CLOSING: u16 = 421;

/// What became of a message.
pub(super) struct Ended {
    /// The last reply for each recipient.
    pub(super) replies: Vec<ServerReply>,
    /// The connection, if another message may go over it.
    pub(super) connection: Option<Connection>,
}

/// Why nothing is known to have become of a message.
pub(super) struct Failure {
    pub(super) error: DeliveryError,
    /// Whether the server had said anything about this message.
    pub(super) answered: bool,
}

impl Failure {
    /// Whether the server had left before it heard of this message.
    pub(super) fn is_dead_connection(&self) -> bool {
        use DeliveryError::{Io, NotServing};
        !self.answered && matches!(self.error, Io(_) | NotServing(_))
    }
}

/// Sends a message to those recipients that the server accepts.
pub(super) async fn run(
    connection: Connection,
    protocol: Protocol,
    envelope: &Envelope,
    message: &[u8],
) -> Result<Ended, Failure> {
    let mut transaction = Transaction {
        replies: unwritable(envelope, connection.extensions()),
        connection,
        protocol,
        answered: false,
    };
    match transaction.run(envelope, message).await {
        Ok(reusable) => Ok(Ended {
            replies: transaction.replies.into_iter().flatten().collect(),
            connection: reusable.then_some(transaction.connection),
        }),
        Err(error) => Err(Failure {
            error,
            answered: transaction.answered,
        }),
    }
}

struct Transaction {
    connection: Connection,
    protocol: Protocol,
    /// For each recipient, the reply that refused it or the last one; until then none.
    replies: Vec<Option<ServerReply>>,
    answered: bool,
}

impl Transaction {
    /// Fills in all replies; returns whether the connection is ready for another message.
    async fn run(&mut self, envelope: &Envelope, message: &[u8]) -> Result<bool, DeliveryError> {
        if !self.is_any_open() {
            return Ok(true);
        }
        if let Some(refused) = self.envelope(envelope, message).await? {
            self.settle(&refused);
        }
        if !self.is_any_open() {
            return Ok(self.reset().await);
        }
        self.connection.command(&Command::Data).await?;
        let go_ahead = self.reply().await?;
        match go_ahead.code {
            300..400 => {}
            400.. => {
                self.settle(&go_ahead);
                return Ok(self.reset().await);
            }
            unexpected => return Err(DeliveryError::Unexpected(unexpected)),
        }
        self.message(message).await?;
        self.last_replies().await
    }

    /// Sends the envelope and notes who is refused; gives the reply that refused the sender.
    async fn envelope(
        &mut self,
        envelope: &Envelope,
        message: &[u8],
    ) -> Result<Option<ServerReply>, DeliveryError> {
        let extensions = self.connection.extensions();
        let ahead = if extensions.pipelining { AHEAD_MAX } else { 1 };
        let open: Vec<usize> = self.open().collect();
        let recipients = open.iter().filter_map(|&at| envelope.recipients.get(at));
        let mut commands = vec![mail(envelope, message, extensions)];
        commands.extend(recipients.map(|recipient| rcpt(recipient, extensions)));
        // What the reply at the same place in `commands` is about.
        let about: Vec<Option<usize>> = std::iter::once(None)
            .chain(open.into_iter().map(Some))
            .collect();
        for (commands, about) in commands.chunks(ahead).zip(about.chunks(ahead)) {
            let mut wire = Vec::new();
            commands
                .iter()
                .for_each(|command| command.write_to(&mut wire));
            self.connection.send(&wire).await?;
            let mut sender_refused = None;
            for about in about {
                let reply = self.reply().await?;
                match (reply.code, about) {
                    (200..300, _) => {}
                    (300..400, _) => return Err(DeliveryError::Unexpected(reply.code)),
                    (_, Some(at)) => self.note(*at, reply),
                    (_, None) => sender_refused = Some(reply),
                }
            }
            // What followed it in the same piece was refused for it.
            if let Some(refused) = sender_refused {
                self.replies = unwritable(envelope, extensions);
                return Ok(Some(refused));
            }
        }
        Ok(None)
    }

    async fn message(&mut self, message: &[u8]) -> Result<(), DeliveryError> {
        let mut encoder = DataEncoder::new();
        let mut wire = Vec::new();
        for piece in message.chunks(PIECE) {
            encoder.push(piece, &mut wire)?;
            if wire.len() >= PIECE {
                self.connection.send(&wire).await?;
                wire.clear();
            }
        }
        encoder.finish(&mut wire)?;
        self.connection.send(&wire).await
    }

    /// The replies to the message. Only here is it unknown, without a reply, whether the server has it.
    async fn last_replies(&mut self) -> Result<bool, DeliveryError> {
        let open: Vec<usize> = self.open().collect();
        for (count, at) in open.into_iter().enumerate() {
            let reply = match self.connection.last_reply().await {
                Ok(reply) if !(300..400).contains(&reply.code) => reply,
                _ if count == 0 => return Err(DeliveryError::Unknown),
                _ => {
                    self.settle(&lost());
                    return Ok(false);
                }
            };
            let closing = reply.code == CLOSING;
            match self.protocol {
                Protocol::Lmtp => self.note(at, reply),
                Protocol::Smtp => self.settle(&reply),
            }
            if closing {
                self.settle(&lost());
                return Ok(false);
            }
            if self.protocol == Protocol::Smtp {
                break;
            }
        }
        Ok(true)
    }

    /// The next reply before the end of the message.
    async fn reply(&mut self) -> Result<ServerReply, DeliveryError> {
        let reply = self.connection.reply().await?;
        if reply.code == CLOSING {
            return Err(DeliveryError::NotServing(CLOSING));
        }
        self.answered = true;
        Ok(reply)
    }

    /// Leaves the transaction; returns whether the server did so too.
    async fn reset(&mut self) -> bool {
        self.connection.command(&Command::Reset).await.is_ok()
            && self.reply().await.is_ok_and(|reply| reply.is_positive())
    }

    /// The recipients without a reply.
    fn open(&self) -> impl Iterator<Item = usize> {
        let replies = self.replies.iter().enumerate();
        replies.filter_map(|(at, reply)| reply.is_none().then_some(at))
    }

    fn is_any_open(&self) -> bool {
        self.open().next().is_some()
    }

    fn note(&mut self, at: usize, reply: ServerReply) {
        if let Some(place) = self.replies.get_mut(at) {
            *place = Some(reply);
        }
    }

    /// The reply for all recipients that have none.
    fn settle(&mut self, reply: &ServerReply) {
        for place in &mut self.replies {
            place.get_or_insert_with(|| reply.clone());
        }
    }
}

fn mail(envelope: &Envelope, message: &[u8], extensions: Extensions) -> Command {
    let mut parameters = envelope.parameters.clone();
    parameters.size = Some(message.len() as u64);
    Command::Mail(envelope.sender.clone(), extensions.filter_mail(parameters))
}

fn rcpt(recipient: &Recipient, extensions: Extensions) -> Command {
    let parameters = extensions.filter_recipient(recipient.parameters.clone());
    Command::Recipient(recipient.path.clone(), parameters)
}

/// The recipients that cannot be written, or all of them for the sender's sake, have their refusal: an
/// address outside ASCII goes only to servers with SMTPUTF8 (RFC 6531 section 3.4). A header outside
/// ASCII is no reason: local servers take it.
fn unwritable(envelope: &Envelope, extensions: Extensions) -> Vec<Option<ServerReply>> {
    let writable = |path: &Path| extensions.smtputf8 || path.is_ascii();
    let sender = writable(&envelope.sender);
    let refusal = |recipient: &Recipient| {
        let refused = !(sender && writable(&recipient.path));
        refused.then(|| own_reply(553, (5, 6, 7), "the next server does not offer SMTPUTF8"))
    };
    envelope.recipients.iter().map(refusal).collect()
}

fn lost() -> ServerReply {
    own_reply(
        451,
        (4, 4, 2),
        "the next server gave no reply for this recipient",
    )
}

/// What stands in for a reply of the server's.
fn own_reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> ServerReply {
    ServerReply {
        code,
        enhanced: Some(enhanced),
        lines: vec![text.to_owned()],
    }
}
