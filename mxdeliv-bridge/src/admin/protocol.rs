//! What goes over the socket: a line of JSON for the request, then lines of JSON for the answer.
//!
//! `{"version":1,"command":"peers","domain":"x.org"}` is answered with `{"version":1,"row":{…}}` as often
//! as there is something to show, and at last with `{"version":1,"end":"done"}` or
//! `{"version":1,"end":"failed","kind":"unavailable","text":"…"}`. A connection carries one request.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of requests and answers.
pub const VERSION: u32 = 1;

/// The longest request, in octets, its newline not counted: 256 long entries for the block list.
pub const REQUEST_MAX: usize = 128 << 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// How mail to and from peers fares.
    Peers {
        /// Only this one.
        domain: Option<String>,
    },
    /// What waits in Postfix's queue.
    Queue,
    /// How a domain can be reached now.
    Probe {
        /// The domain.
        domain: String,
    },
    /// The operator's decisions about endpoints.
    EndpointList,
    /// Decides where a domain's mail goes.
    EndpointSet {
        /// The domain.
        domain: String,
        /// `smtp` or `https://HOST[:PORT]`.
        endpoint: String,
        /// Whether any certificate will do.
        lax: bool,
    },
    /// Takes a decision back.
    EndpointUnset {
        /// The domain.
        domain: String,
    },
    /// The block list.
    BlockList,
    /// Adds to the block list.
    BlockAdd {
        /// Addresses, domains, networks.
        entries: Vec<String>,
        /// Why.
        note: Option<String>,
    },
    /// Removes from the block list.
    BlockRemove {
        /// Addresses, domains, networks.
        entries: Vec<String>,
    },
}

/// A line with the version that it is of. Read before anything else of the line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Versioned<T> {
    /// See [`VERSION`].
    pub version: u32,
    /// The rest.
    #[serde(flatten)]
    pub content: T,
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Something to show; what it is depends on the request.
    Row {
        /// One object.
        row: Value,
    },
    /// That was all.
    End(End),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "lowercase")]
pub enum End {
    /// As it should.
    Done,
    /// It did not.
    Failed(Failure),
}

/// Why a request failed. No text holds an address that the operator has not given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Of what sort it is.
    pub kind: FailureKind,
    /// What to tell the operator.
    pub text: String,
}

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The request is wrong.
    Usage,
    /// Something that it needs is away.
    Unavailable,
    /// Something else.
    Failed,
}

impl Failure {
    /// The request is wrong.
    pub fn usage(text: impl ToString) -> Self {
        Self::new(FailureKind::Usage, text)
    }

    /// Something that it needs is away.
    pub fn unavailable(text: impl ToString) -> Self {
        Self::new(FailureKind::Unavailable, text)
    }

    /// Something else.
    pub fn failed(text: impl ToString) -> Self {
        Self::new(FailureKind::Failed, text)
    }

    fn new(kind: FailureKind, text: impl ToString) -> Self {
        let text = text.to_string();
        Self { kind, text }
    }
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, Failure> {
        let no_request = |_| Failure::usage("this is not a request");
        let Versioned::<Value> { version, content } =
            serde_json::from_slice(line).map_err(no_request)?;
        if version != VERSION {
            return Err(Failure::usage(format!(
                "the daemon speaks version {VERSION} of the admin protocol and not {version}; \
                 after an upgrade restart it (systemctl restart mxdeliv-bridge)"
            )));
        }
        serde_json::from_value(content).map_err(no_request)
    }
}

/// A line as it goes over the socket.
pub fn to_line(content: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let version = VERSION;
    let mut line = serde_json::to_vec(&Versioned { version, content })?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Request::Queue, r#"{"version":1,"command":"queue"}"#)]
    #[case(
        Request::Peers { domain: None },
        r#"{"version":1,"command":"peers","domain":null}"#
    )]
    #[case(
        Request::BlockRemove { entries: vec!["x.org".into()] },
        r#"{"version":1,"command":"block-remove","entries":["x.org"]}"#
    )]
    fn requests_look_as_documented(#[case] request: Request, #[case] line: &str) {
        assert_eq!(to_line(&request).unwrap(), format!("{line}\n").as_bytes());
        assert_eq!(Request::parse(line.as_bytes()), Ok(request));
    }

    #[rstest]
    #[case("")]
    #[case("[]")]
    #[case(r#"{"command":"queue"}"#)]
    #[case(r#"{"version":1,"command":"stop"}"#)]
    #[case(r#"{"version":1,"command":"probe"}"#)]
    #[case(r#"{"version":1,"command":"queue"} {}"#)]
    fn others_are_refused(#[case] line: &str) {
        let failure = Request::parse(line.as_bytes()).unwrap_err();
        assert_eq!(failure, Failure::usage("this is not a request"));
    }

    #[test]
    fn another_version_is_told_of() {
        let line = br#"{"version":2,"command":"fly"}"#;
        let failure = Request::parse(line).unwrap_err();
        assert!(failure.text.contains("version 1") && failure.text.contains("restart"));
    }

    #[rstest]
    #[case(Answer::Row { row: serde_json::json!({ "end": 1 }) }, r#"{"version":1,"row":{"end":1}}"#)]
    #[case(Answer::End(End::Done), r#"{"version":1,"end":"done"}"#)]
    #[case(
        Answer::End(End::Failed(Failure::unavailable("no"))),
        r#"{"version":1,"end":"failed","kind":"unavailable","text":"no"}"#
    )]
    fn answers_look_as_documented(#[case] answer: Answer, #[case] line: &str) {
        assert_eq!(to_line(&answer).unwrap(), format!("{line}\n").as_bytes());
        let read: Versioned<Answer> = serde_json::from_str(line).unwrap();
        assert_eq!(read.content, answer);
    }
}
