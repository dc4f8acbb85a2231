//! `POST /new`: an address and a password for somebody who wants an account.
//!
//! Nothing is made here: the first login makes the account (doveauth). So an app that never logs in leaves
//! nothing behind, and this page gives away nothing that a login would not. doveauth is asked whether an
//! account could be made now, and whether the name that chance has picked is free.
//!
//! With `/new?t=INVITE` the password begins with the invite, which the first login redeems; see
//! [`chatmail::invites`].
//!
//! - `POST`: JSON `{"email": …, "password": …}`. Apps cannot check the certificate of a relay at an IP address
//!   or with a name that begins with `_`; there `dclogin_url` tells them to do without.
//! - `GET`: a redirect that makes a browser hand over to the app, which will `POST`. Where apps could not do that
//!   a browser is redirected to the `dclogin_url` itself, and others get the answer of `POST`.
//! - Whatever is refused has a `reason` in JSON, which apps show. 403: not for you; 429 and 503: later.
//!
//! `/cgi-bin/newemail.py` is the same, for links and QR codes of classic relays.

mod answer;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};
use chatmail::accounts::{NetworkRate, NewAccountRules, Suggestion};
use chatmail::invites::Token;
use chatmail::log_limit::LogLimit;
use chatmail::policy::{PolicyClient, PolicyError};
use chatmail::registration::{Answer, Question};
use chatmail::{Config, Domain};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::daemon::StartError;
use crate::inbound::ClientHeader;
use answer::Refusal;

/// Where it is answered.
const PATHS: [&str; 2] = ["/new", "/cgi-bin/newemail.py"];

/// The parameter that holds an invite.
const INVITE: &str = "t";

/// How many names are tried. Even on a relay with names of five characters and a million accounts one in thirty
/// is taken.
const NAMES_MAX: usize = 10;

/// All that requests share.
#[derive(Debug)]
struct Desk {
    domain: Domain,
    rules: NewAccountRules,
    accounts: PolicyClient,
    rate: NetworkRate,
    client_header: ClientHeader,
    answers: Family<AnswerLabels, Counter>,
    complaints: LogLimit,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    status: u32,
}

/// Answers `/new`; counts its answers in the registry.
///
/// # Errors
/// `mxdeliv_client_header` names no header field.
pub(crate) fn router(config: &Config, registry: &mut Registry) -> Result<Router, StartError> {
    let per_hour = NonZeroU32::new(config.max_creations_per_network_per_hour);
    let answers = Family::default();
    let desk = Desk {
        domain: config.mail_domain.clone(),
        rules: NewAccountRules::from_config(config),
        accounts: PolicyClient::new(&config.policy_socket),
        rate: NetworkRate::new(per_hour),
        client_header: ClientHeader::from_config(config)?,
        answers: Family::clone(&answers),
        complaints: LogLimit::new(),
    };
    registry
        .sub_registry_with_prefix("mxdeliv_new_account")
        .register("answers", "Answers of /new by their status", answers);
    let desk = Arc::new(desk);
    let router = PATHS.into_iter().fold(Router::new(), |router, path| {
        router.route(path, routing::any(new_account))
    });
    Ok(router.with_state(desk))
}

async fn new_account(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let invite = invite(request.uri());
    let response = match *request.method() {
        Method::GET if !desk.domain.is_uncertified() => answer::to_app(&desk.domain, invite),
        Method::GET | Method::POST => {
            let client = desk.client_header.client(request.headers());
            // Whoever has clicked on the link does not want to read JSON.
            let is_browser =
                request.method() == Method::GET && answer::takes_pages(request.headers());
            match desk.suggest(client, invite).await {
                Ok(suggestion) if is_browser => answer::to_login(&desk.domain, &suggestion),
                Ok(suggestion) => answer::suggestion(&desk.domain, &suggestion),
                Err(refusal) => refusal.into_response(),
            }
        }
        _ => answer::wrong_method(),
    };
    let status = u32::from(response.status().as_u16());
    desk.answers.get_or_create(&AnswerLabels { status }).inc();
    response
}

impl Desk {
    async fn suggest(
        &self,
        client: Option<IpAddr>,
        invite: Option<Result<Token, NoInvite>>,
    ) -> Result<Suggestion, Refusal> {
        let client = client.ok_or(Refusal::Misconfigured)?;
        self.rate.count(client).map_err(Refusal::TooMany)?;
        let question = Question {
            invite: invite.clone().and_then(Result::ok),
        };
        let asked = self.accounts.registration(&question).await;
        let answer = asked.map_err(|error| self.unavailable(&error))?;
        let invite = match (answer, invite) {
            (Answer::Open, _) => None,
            (Answer::Invited, Some(Ok(invite))) => Some(invite),
            // What doveauth was not shown, since it cannot be an invite.
            (Answer::InviteNeeded, Some(Err(NoInvite))) => {
                return Err(Refusal::Answered(Answer::InviteUnknown));
            }
            (answer, _) => return Err(Refusal::Answered(answer)),
        };
        self.free_name(invite.as_ref()).await
    }

    /// One whose name is free.
    async fn free_name(&self, invite: Option<&Token>) -> Result<Suggestion, Refusal> {
        for _ in 0..NAMES_MAX {
            let suggestion = Suggestion::new(&self.rules, invite).map_err(|error| {
                tracing::error!("no random numbers: {error}");
                Refusal::Unavailable
            })?;
            let asked = self.accounts.lookup(&suggestion.address).await;
            let policy = asked.map_err(|error| self.unavailable(&error))?;
            if !policy.exists {
                return Ok(suggestion);
            }
        }
        Err(Refusal::Unavailable)
    }

    fn unavailable(&self, error: &PolicyError) -> Refusal {
        if let Some(suppressed) = self.complaints.allow() {
            tracing::error!(suppressed, "cannot answer /new: {error}");
        }
        Refusal::Unavailable
    }
}

/// A text that is no invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoInvite;

/// The invite in a query, if there is any. Invites have nothing in them that would be percent-encoded.
fn invite(uri: &Uri) -> Option<Result<Token, NoInvite>> {
    let parameters = uri
        .query()?
        .split('&')
        .filter_map(|one| one.split_once('='));
    let mut invites = parameters.filter(|(name, _)| *name == INVITE);
    let (_, text) = invites.next()?;
    Some(text.parse().map_err(|_| NoInvite))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TOKEN: &str = "0123456789abcdefghjk";

    #[rstest]
    #[case("/new", None)]
    #[case("/new?", None)]
    #[case("/new?t", None)]
    #[case("/new?x=0123456789abcdefghjk", None)]
    #[case("/new?t=", Some(false))]
    #[case("/new?t=nonsense", Some(false))]
    #[case("/new?t=0123456789abcdefghj%6b", Some(false))]
    #[case("/new?t=0123456789abcdefghjk", Some(true))]
    #[case("/new?x=y&t=O123456789ABCDEFGHJK&z", Some(true))]
    fn invites_in_queries(#[case] uri: &str, #[case] good: Option<bool>) {
        let found = invite(&uri.parse().unwrap());
        assert_eq!(found.as_ref().map(Result::is_ok), good);
        if let Some(Ok(token)) = found {
            assert_eq!(token.as_str(), TOKEN);
        }
    }
}
