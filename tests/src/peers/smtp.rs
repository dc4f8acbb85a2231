//! A peer's port 25: it takes all mail, once TLS is there.

use std::io;

use bytes::Bytes;
use chatmail::smtp::{DataDecoder, DataProgress};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{By, Inbox, Received};

/// Larger than what a relay sends, in octets.
const SIZE_MAX: u64 = 64 << 20;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, inbox: Inbox) {
    // They end with the peer.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, inbox) = (tls.clone(), inbox.clone());
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            // A client that goes away in the middle has delivered nothing.
            let _ = session(stream, &tls, &inbox).await;
        });
    }
}

async fn session(mut stream: TcpStream, tls: &TlsAcceptor, inbox: &Inbox) -> io::Result<()> {
    stream.write_all(b"220 peer ESMTP\r\n").await?;
    let mut clear = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if clear.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.to_ascii_uppercase();
        let reply: &[u8] = if command.starts_with("EHLO ") {
            b"250-peer\r\n250 STARTTLS\r\n"
        } else if command.starts_with("STARTTLS") {
            clear.write_all(b"220 go ahead\r\n").await?;
            let stream = tls.accept(clear.into_inner()).await?;
            return transactions(BufReader::new(stream), inbox).await;
        } else if command.starts_with("QUIT") {
            b"221 bye\r\n"
        } else {
            b"530 STARTTLS first\r\n"
        };
        clear.write_all(reply).await?;
    }
}

async fn transactions<S>(mut stream: BufReader<S>, inbox: &Inbox) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, mut recipients) = (String::new(), Vec::new());
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.to_ascii_uppercase();
        let reply: &[u8] = if command.starts_with("EHLO ") {
            b"250-peer\r\n250-8BITMIME\r\n250 PIPELINING\r\n"
        } else if command.starts_with("MAIL FROM:") {
            sender = path(&line);
            recipients.clear();
            b"250 2.1.0 Ok\r\n"
        } else if command.starts_with("RCPT TO:") {
            recipients.push(path(&line));
            b"250 2.1.5 Ok\r\n"
        } else if command.starts_with("DATA") {
            stream.write_all(b"354 go on\r\n").await?;
            inbox.take(Received {
                by: By::Smtp,
                sender: sender.clone(),
                recipients: recipients.clone(),
                message: content(&mut stream).await?,
            });
            b"250 2.0.0 Ok: taken\r\n"
        } else if command.starts_with("QUIT") {
            b"221 2.0.0 Bye\r\n"
        } else {
            b"250 2.0.0 Ok\r\n"
        };
        stream.write_all(reply).await?;
        stream.flush().await?;
    }
}

async fn content<S>(stream: &mut BufReader<S>) -> io::Result<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut decoder = DataDecoder::new(SIZE_MAX);
    let mut message = Vec::new();
    loop {
        let buffer = stream.fill_buf().await?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = buffer;
        let progress = decoder.take(&mut rest, &mut message);
        let used = buffer.len() - rest.len();
        stream.consume(used);
        match progress {
            DataProgress::More => {}
            DataProgress::End(Ok(())) => return Ok(message.into()),
            DataProgress::End(Err(fault)) => return Err(io::Error::other(fault)),
        }
    }
}

/// What stands between angle brackets.
fn path(line: &str) -> String {
    let inside = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inside.map(|(path, _)| path.to_owned()).unwrap_or_default()
}
