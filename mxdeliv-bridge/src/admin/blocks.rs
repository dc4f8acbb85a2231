//! `block list|add|remove`: the block list, which is doveauth's.

use std::str::FromStr;

use chatmail::blocks::remote::RemoteError;
use chatmail::blocks::{Entry, Note};
use chatmail::dict::ClientError;
use serde_json::json;

use super::Context;
use super::answers::Answers;
use super::protocol::Failure;

/// Sends all entries.
pub(super) async fn list(context: &Context, answers: &mut Answers) -> Result<(), Failure> {
    for listed in context.blocks.entries().await.map_err(failure)? {
        let (entry, kind) = (listed.entry.to_string(), listed.entry.kind());
        let row = json!({
            "entry": entry, "kind": kind, "added": listed.added, "note": listed.note,
        });
        answers.row(&row).await?;
    }
    Ok(())
}

/// Adds entries, and sends what came of each.
pub(super) async fn add(
    context: &Context,
    entries: &[String],
    note: Option<String>,
    answers: &mut Answers,
) -> Result<(), Failure> {
    let entries = parse_all(entries)?;
    let note: Option<Note> = note.map(|note| parse(&note)).transpose()?;
    let additions = context.blocks.add(&entries, note.as_ref()).await;
    for addition in additions.map_err(failure)? {
        answers.row(&addition.as_str()).await?;
    }
    Ok(())
}

/// Removes entries, and sends what came of each.
pub(super) async fn remove(
    context: &Context,
    entries: &[String],
    answers: &mut Answers,
) -> Result<(), Failure> {
    let entries = parse_all(entries)?;
    let removals = context.blocks.remove(&entries).await;
    for was_there in removals.map_err(failure)? {
        let outcome = chatmail::blocks::arguments::removal(was_there);
        answers.row(&outcome).await?;
    }
    Ok(())
}

fn parse_all(texts: &[String]) -> Result<Vec<Entry>, Failure> {
    texts.iter().map(|text| parse(text)).collect()
}

fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|error: T::Err| Failure::usage(error.to_string()))
}

fn failure(error: RemoteError) -> Failure {
    match error {
        RemoteError::TooMany(_) => Failure::usage(format!(
            "{error}; give fewer, or use doveauth blocks on the host of the accounts"
        )),
        RemoteError::Dict(ClientError::Failed { why, .. }) => {
            Failure::failed(format!("doveauth says: {why}"))
        }
        RemoteError::Dict(error) => Failure::unavailable(format!(
            "{error}; the block list belongs to doveauth: see that it runs (systemctl status doveauth) \
             and that the bridge's user may use its blocks_socket"
        )),
        error => Failure::failed(error),
    }
}
