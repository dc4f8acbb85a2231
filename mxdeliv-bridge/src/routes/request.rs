//! One request to one endpoint, and what it teaches.

use chatmail::Domain;
use tokio::time::Instant;

use super::answer::Answer;
use super::clock::Moment;
use super::endpoint::Endpoint;
use super::https::{Failure, IDLE, Said};
use super::known::{Lesson, Trial};
use super::post::Shared;
use super::{PeerState, Post};

/// A request that may be made now.
pub(super) struct Request<'a> {
    shared: &'a Shared,
    domain: &'a Domain,
    endpoint: &'a Endpoint,
    trial: Trial,
    began: Moment,
    /// What it has taught was learnt.
    ended: bool,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Step {
    /// The peer has the message.
    Taken,
    /// The peer does not have it; another endpoint may take it.
    Next(String),
    /// It is for SMTP now: the peer has said no, or may have it.
    Stop(String),
}

impl<'a> Request<'a> {
    /// `None` when the endpoint is closed; `may_try` as [`Knowledge::begin`] has it.
    ///
    /// [`Knowledge::begin`]: super::knowledge::Knowledge::begin
    pub(super) fn begin(
        shared: &'a Shared,
        domain: &'a Domain,
        endpoint: &'a Endpoint,
        may_try: bool,
    ) -> Option<Self> {
        let began = shared.clock.now();
        let trial = shared.knowledge().begin(endpoint, may_try, began)?;
        Some(Self {
            shared,
            domain,
            endpoint,
            trial,
            began,
            ended: false,
        })
    }

    /// Whether it finds out whether a closed endpoint is to be opened.
    pub(super) fn is_trial(&self) -> bool {
        self.trial == Trial::Yes
    }

    /// Posts a message.
    pub(super) async fn run(mut self, post: &Post, deadline: Instant) -> Step {
        let shared = self.shared;
        let reused = shared
            .knowledge()
            .was_connected(self.endpoint, IDLE, self.began);
        let said = shared
            .https
            .post(self.endpoint, post, reused, deadline)
            .await;
        if said.is_ok() {
            shared.change(|knowledge, now| knowledge.connected(self.endpoint, now));
        }
        let (outcome, lesson, step) = match said {
            Ok(said) => judge(said),
            Err(failure) => judge_failure(failure),
        };
        if outcome == TOO_LARGE {
            let size = post.message.len();
            shared.change(|knowledge, now| knowledge.too_large(self.endpoint, size, now));
        }
        shared.metrics.post(outcome);
        let why = match &step {
            Step::Taken => "it takes messages",
            Step::Next(why) | Step::Stop(why) => why,
        };
        self.end(lesson, why);
        step
    }

    fn end(&mut self, lesson: Lesson, why: &str) {
        self.ended = true;
        let (domain, endpoint) = (self.domain, self.endpoint);
        self.shared
            .learn(domain, endpoint, lesson, self.trial, self.began, why);
    }
}

impl Drop for Request<'_> {
    /// A request that nobody waits for any longer has taught nothing, but a trial must end.
    fn drop(&mut self) {
        if !self.ended {
            self.end(Lesson::Nothing, "");
        }
    }
}

impl Shared {
    /// Remembers what a request that began at `began` has taught; a peer's new state is logged.
    pub(super) fn learn(
        &self,
        domain: &Domain,
        endpoint: &Endpoint,
        lesson: Lesson,
        trial: Trial,
        began: Moment,
        why: &str,
    ) {
        let now = self.clock.now();
        let learnt = self.knowledge().learn(endpoint, lesson, trial, began, now);
        self.store.write(learnt.changes);
        match learnt.news {
            Some(PeerState::Speaks) => {
                tracing::info!(%domain, %endpoint, "A peer takes mail over HTTPS.");
            }
            Some(PeerState::Failing) => {
                tracing::info!(%domain, %endpoint, why, "A peer fails over HTTPS; SMTP for a while.");
            }
            Some(PeerState::Silent) if learnt.before == PeerState::Unknown => {
                // Most of the world's domains.
                tracing::debug!(%domain, %endpoint, why, "no endpoint");
            }
            Some(PeerState::Silent) => {
                tracing::info!(%domain, %endpoint, why, "A peer takes no more mail over HTTPS.");
            }
            Some(PeerState::Unknown) | None => {}
        }
    }
}

/// What metrics call a message that was too large.
const TOO_LARGE: &str = "too-large";

/// What metrics call an answer, what it teaches, and what is next.
fn judge(said: Said) -> (&'static str, Lesson, Step) {
    let shown = said.shown;
    match said.answer {
        Answer::Taken => ("taken", Lesson::Speaks, Step::Taken),
        Answer::Refused => ("refused", Lesson::Speaks, Step::Stop(shown)),
        Answer::Busy => ("busy", Lesson::Nothing, Step::Stop(shown)),
        Answer::TooLarge => (TOO_LARGE, Lesson::Nothing, Step::Stop(shown)),
        Answer::NoEndpoint => ("no-endpoint", Lesson::Silent, Step::Next(shown)),
        Answer::Strange => ("strange", Lesson::Unreachable, Step::Next(shown)),
        Answer::Broken => ("broken", Lesson::Failing, Step::Stop(shown)),
    }
}

fn judge_failure(failure: Failure) -> (&'static str, Lesson, Step) {
    match failure {
        Failure::Unsayable => {
            let why = "the message cannot be sent over HTTPS".into();
            ("unsayable", Lesson::Nothing, Step::Stop(why))
        }
        Failure::Dns(failure) => ("dns", Lesson::Nothing, Step::Next(failure.to_string())),
        Failure::Connect(why) => ("unreachable", Lesson::Unreachable, Step::Next(why)),
        // The peer may have the message. By SMTP it comes twice then, but it is not lost.
        Failure::Broken(why) => ("lost", Lesson::Failing, Step::Stop(why)),
    }
}
