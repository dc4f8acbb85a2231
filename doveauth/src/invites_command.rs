//! `doveauth invites`: who may make an account on a relay with `registration = invite`, on the command line.

use std::io::{IsTerminal as _, Write};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use chatmail::Config;
use chatmail::blocks::Note;
use chatmail::invites::{Invite, InviteId, NewInvite, Token};
use chatmail::qr_code::qr_code;
use chatmail::registration::Registration;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::command::Done;
use crate::tables::Tables;

/// What to do with invites.
#[derive(Debug, Subcommand)]
pub enum InvitesCommand {
    /// Make an invite, and print its link, also as a QR code
    #[command(after_help = CREATE_AFTER_HELP)]
    Create {
        /// How many accounts can be made with it
        #[arg(long, default_value = "1", value_name = "NUMBER")]
        uses: NonZeroU32,
        /// For how long: hours, days or weeks such as 12h, 30d or 8w, or never
        #[arg(long, default_value = "30d", value_name = "TIME")]
        expires: Validity,
        /// Whom it is for: a line for whoever reads the list
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: Note,
        /// Print a JSON object, without QR code: {"id": "…", "url": "…", "token": "…", …}
        #[arg(long)]
        json: bool,
    },
    /// Print all invites
    #[command(after_help = LIST_AFTER_HELP)]
    List {
        /// Print one JSON object per line: {"id": "…", "state": "…", "uses": 1, "uses_left": 1, …}
        #[arg(long)]
        json: bool,
    },
    /// End invites
    #[command(after_help = REVOKE_AFTER_HELP)]
    Revoke {
        /// Print one JSON object per invite: {"id": "…", "outcome": "…"}
        #[arg(long)]
        json: bool,
        /// Ids as `list` prints them, links, or what follows the = in a link
        #[arg(required = true, value_name = "INVITE")]
        invites: Vec<Named>,
    },
}

const CREATE_AFTER_HELP: &str = "\
Examples:
    doveauth invites create
    doveauth invites create --uses 30 --expires 12h --note 'open day'
    doveauth invites create --json | jq -r .url

Delta Chat makes a profile from the link or the QR code. With another client, log in for the first time with any
free address and a password of the form INVITE-SECRET, where INVITE is what follows the = in the link; that
password stays. A use is taken when the account is made, not when the link is opened.

The link is shown once: the relay keeps a hash of it.
Exit status: 0 done, 2 an argument is wrong, 70 the invite cannot be stored, 78 configuration error.";

const LIST_AFTER_HELP: &str = "\
Examples:
    doveauth invites list
    doveauth invites list --json | jq -r 'select(.state != \"good\") | .id' | xargs doveauth invites revoke

The columns are id, state (good, expired, used-up), uses left of all uses, when it was made, when it expires, and
the note, separated by TAB; times are in UTC. Which account came by which invite is not kept.
Exit status: 0 done, 70 the invites cannot be read, 78 configuration error.";

const REVOKE_AFTER_HELP: &str = "\
Examples:
    doveauth invites revoke 7x3kq0mz
    doveauth invites revoke 'https://chat.example/new?t=0123456789abcdefghjk'

Accounts that were made with it stay.
Exit status: 0 all are revoked, 1 some were no invites, 2 an argument is wrong, 70 the invites cannot be changed,
78 configuration error.";

/// For how long an invite is good; `None` for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity(Option<Duration>);

/// Which invite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named(InviteId);

impl InvitesCommand {
    /// Does it, and writes what came of it.
    ///
    /// # Errors
    /// The invites cannot be read or changed, or `out` cannot be written.
    pub fn run(&self, config: &Config, out: &mut impl Write) -> anyhow::Result<Done> {
        let done = match self {
            Self::Create {
                uses,
                expires,
                note,
                json,
            } => {
                let new = NewInvite {
                    uses: *uses,
                    valid_for: expires.0,
                    note: note.clone(),
                };
                create(config, &new, *json, out)?
            }
            Self::List { json } => list(config, *json, out)?,
            Self::Revoke { json, invites } => revoke(config, invites, *json, out)?,
        };
        out.flush()?;
        Ok(done)
    }
}

fn create(
    config: &Config,
    new: &NewInvite,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let now = SystemTime::now();
    let made = Tables::with(config, async |tables| tables.create_invite(new, now).await);
    let (token, invite) = made?;
    let url = url(config, &token);
    if json {
        let mut line = fields(&invite);
        line["token"] = token.as_str().into();
        line["url"] = url.into();
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{url}")?;
        // An app's camera knows what to do with it; the link is for everything else.
        let code = qr_code(&app_url(config, &url), std::io::stdout().is_terminal())?;
        writeln!(out, "{code}")?;
    }
    if config.registration != Registration::Invite {
        eprintln!("note: no invite is needed, or of use, unless registration = invite");
    }
    Ok(Done::All)
}

/// Where a profile is made with an invite.
fn url(config: &Config, token: &Token) -> String {
    let host = config.mail_domain.url_host();
    format!("https://{host}/new?t={}", token.as_str())
}

/// Apps take `dcaccount:` from relays whose certificate they can check only.
fn app_url(config: &Config, url: &str) -> String {
    match config.mail_domain.is_uncertified() {
        true => url.to_owned(),
        false => format!("dcaccount:{url}"),
    }
}

fn list(config: &Config, json: bool, out: &mut impl Write) -> anyhow::Result<Done> {
    let now = SystemTime::now();
    for invite in Tables::with(config, async |tables| tables.invites(now).await)? {
        if json {
            writeln!(out, "{}", fields(&invite))?;
            continue;
        }
        let Invite {
            id,
            uses,
            uses_left,
            created,
            note,
            ..
        } = &invite;
        let expires = invite.expires.as_deref().unwrap_or("never");
        let state = state(&invite);
        let line = format!("{id}\t{state}\t{uses_left}/{uses}\t{created}\t{expires}\t{note}");
        writeln!(out, "{line}")?;
    }
    Ok(Done::All)
}

fn fields(invite: &Invite) -> Value {
    json!({
        "id": invite.id.as_str(),
        "state": state(invite),
        "uses": invite.uses,
        "uses_left": invite.uses_left,
        "created": invite.created,
        "expires": invite.expires,
        "note": invite.note,
    })
}

fn state(invite: &Invite) -> &'static str {
    use chatmail::invites::NoGood;

    match invite.good {
        Ok(()) => "good",
        Err(NoGood::Expired) => "expired",
        Err(NoGood::UsedUp) => "used-up",
        Err(NoGood::Unknown) => "unknown",
    }
}

fn revoke(
    config: &Config,
    invites: &[Named],
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let mut done = Done::All;
    for Named(id) in invites {
        let revoked = Tables::with(config, async |tables| tables.revoke_invite(id).await)?;
        let outcome = match revoked {
            true => "revoked",
            false => {
                done = Done::NotAll;
                "missing"
            }
        };
        if json {
            let line = json!({ "id": id.as_str(), "outcome": outcome });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{outcome} {id}")?;
        }
    }
    Ok(done)
}

impl FromStr for Validity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a number with h, d or w, such as 12h, 30d or 8w, or never";
        if text == "never" {
            return Ok(Self(None));
        }
        let hours = match text.chars().last() {
            Some('h') => 1,
            Some('d') => 24,
            Some('w') => 7 * 24,
            _ => return Err(EXPECTED),
        };
        let number = text.get(..text.len() - 1).unwrap_or_default();
        let number: u32 = number.parse().map_err(|_| EXPECTED)?;
        if number == 0 {
            return Err(EXPECTED);
        }
        let seconds = u64::from(number) * hours * 3600;
        Ok(Self(Some(Duration::from_secs(seconds))))
    }
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let token = text.rsplit_once("?t=").map_or(text, |(_, token)| token);
        let named = match token.parse::<Token>() {
            Ok(token) => Ok(token.id()),
            Err(_) => token.parse(),
        };
        let named = named.map_err(|_| "neither the id of an invite nor its link");
        named.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1h", Ok(Some(3600)))]
    #[case("30d", Ok(Some(2_592_000)))]
    #[case("2w", Ok(Some(1_209_600)))]
    #[case("never", Ok(None))]
    #[case("0d", Err(()))]
    #[case("30", Err(()))]
    #[case("d", Err(()))]
    #[case("-1d", Err(()))]
    #[case("1é", Err(()))]
    #[case("", Err(()))]
    fn times(#[case] text: &str, #[case] seconds: Result<Option<u64>, ()>) {
        let read = text.parse::<Validity>().map_err(drop);
        assert_eq!(read.map(|read| read.0.map(|time| time.as_secs())), seconds);
    }

    #[test]
    fn invites_are_named_by_id_token_or_link() {
        let token = Token::random().unwrap();
        let id = token.id();
        let link = format!("dcaccount:https://x.org/new?t={}", token.as_str());
        for text in [id.as_str(), token.as_str(), &link] {
            assert_eq!(text.parse::<Named>(), Ok(Named(id.clone())));
        }
        assert!("https://x.org/new".parse::<Named>().is_err());
    }
}
