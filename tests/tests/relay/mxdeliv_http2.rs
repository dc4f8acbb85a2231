//! What strangers may say in HTTP/2 that HTTP/1.1, which the bridge hears, would take for something else.

use std::time::Duration;

use testbed::client::{ClientError, Connection, Security, TlsVersion};

use crate::mxdeliv_hostile::{Stranger, is, request};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types and flags of RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The one stream of each connection here.
const STREAM: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let head = [
        length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
    ];
    [&head, payload].concat()
}

/// A string as HPACK has it without Huffman's code (RFC 7541 sections 5.1 and 5.2).
fn string(text: &str, out: &mut Vec<u8>) {
    const PREFIX: usize = 127;
    match text.len().checked_sub(PREFIX) {
        None => out.push(u8::try_from(text.len()).unwrap_or_default()),
        Some(mut rest) => {
            out.push(127);
            while rest >= 128 {
                out.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap_or_default());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Fields as literals that nobody is to remember (RFC 7541 section 6.2.2).
fn fields(fields: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(name, &mut block);
        string(value, &mut block);
    }
    block
}

/// Sends a request and waits until the server has said all that it has to say about it.
async fn exchange(
    stranger: &Stranger,
    head: &[(String, String)],
    body: &[u8],
) -> anyhow::Result<()> {
    let connection = Connection::open(stranger.endpoint()?, Security::Plain).await?;
    let tls = connection.start_tls_for(TlsVersion::Any, &["h2"]);
    let mut connection = tls.await?;
    connection.set_patience(PATIENCE);
    let octets = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &frame(HEADERS, END_HEADERS, STREAM, &fields(head)),
        &frame(DATA, END_STREAM, STREAM, body),
    ]
    .concat();
    let answered = async {
        connection.write(&octets).await?;
        loop {
            let head = connection.read_exact(9, "a frame").await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            connection.read_exact(length, "what a frame holds").await?;
            let (kind, flags, stream) = (head[3], head[4], head[8]);
            let ended = stream == STREAM
                && (kind == RST_STREAM
                    || (matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0));
            if ended || kind == GOAWAY {
                return Ok::<_, ClientError>(());
            }
        }
    };
    match answered.await {
        Err(error) if !error.is_disconnect() => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A post as it should be.
fn good(stranger: &Stranger) -> Vec<(String, String)> {
    let field = |name: &str, value: String| (name.to_owned(), value);
    vec![
        field(":method", "POST".into()),
        field(":scheme", "https".into()),
        field(":authority", "chat.test".into()),
        field(":path", "/mxdeliv".into()),
        field("x-mail-from", stranger.carol.to_string()),
        field("x-mail-to", stranger.bob.address.to_string()),
    ]
}

/// The same with a field in the place of the one of this name.
fn with(head: &[(String, String)], name: &str, value: &str) -> Vec<(String, String)> {
    let replace = |(known, old): &(String, String)| {
        let value = if known == name { value } else { old };
        (known.clone(), value.to_owned())
    };
    head.iter().map(replace).collect()
}

#[tokio::test]
async fn no_request_is_smuggled_inside_another_by_http2() -> anyhow::Result<()> {
    let mut stranger = Stranger::new().await?;
    let (first, inner, last) = (stranger.writes()?, stranger.writes()?, stranger.writes()?);
    let plain = good(&stranger);
    // That this is understood at all.
    exchange(&stranger, &plain, &first.to_bytes()).await?;
    stranger.has(&[&first]).await?;

    let envelope = stranger.envelope();
    let body = inner.to_bytes();
    let smuggled = [request(&envelope, body.len()).as_bytes(), &body].concat();
    let inside = String::from_utf8(smuggled.clone())?;
    let chunked = [b"0\r\n\r\n", &smuggled[..]].concat();
    let also = |name: &str, value: &str| {
        let mut head = plain.clone();
        head.push((name.to_owned(), value.to_owned()));
        head
    };
    for (head, body) in [
        // A length or chunks that are not those of the frames.
        (also("content-length", "0"), &smuggled),
        (also("content-length", "1000000"), &smuggled),
        (also("content-length", "0, 5"), &smuggled),
        (also("transfer-encoding", "chunked"), &chunked),
        (also("transfer-encoding\r\nx", "chunked"), &chunked),
        (also("x", "1\r\ntransfer-encoding: chunked"), &chunked),
        (also("connection", "x-mail-to"), &smuggled),
        (also("Transfer-Encoding", "chunked"), &chunked),
        // A request in a value, a name, the method, the path.
        (
            also("x", &format!("1\r\ncontent-length: 0\r\n\r\n{inside}")),
            &smuggled,
        ),
        (also("x", &format!("1\n\n{inside}")), &smuggled),
        (also(&format!("x: 1\r\n\r\n{inside}"), "1"), &smuggled),
        (
            with(
                &plain,
                ":method",
                &format!("GET / HTTP/1.1\r\n\r\n{inside}"),
            ),
            &smuggled,
        ),
        (
            with(
                &plain,
                ":path",
                &format!("/mxdeliv HTTP/1.1\r\n\r\n{inside}"),
            ),
            &smuggled,
        ),
        (
            with(
                &plain,
                ":path",
                "/mxdeliv HTTP/1.1\r\ntransfer-encoding: chunked\r\nx:",
            ),
            &chunked,
        ),
        (
            with(&plain, ":authority", &format!("x\r\n\r\n{inside}")),
            &smuggled,
        ),
        (also(":path", "/mxdeliv"), &smuggled),
        (also("x: 1", "2"), &smuggled),
        (also("", "1"), &smuggled),
    ] {
        exchange(&stranger, &head, body).await?;
    }
    is(&stranger.post(&envelope, &last.to_bytes()).await?, 200)?;
    stranger.has(&[&first, &last]).await
}
