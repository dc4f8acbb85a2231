//! What is known of one endpoint, and what requests to it teach.

use std::time::Duration;

use super::clock::Moment;
use super::{Limits, PeerState};

/// What is known of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) state: PeerState,
    /// It spoke mxdeliv when it was last heard of.
    pub(super) spoke: bool,
    /// Failures in a row.
    pub(super) failures: u32,
    /// When the state became what it is.
    pub(super) since: Moment,
    /// When it may be tried again.
    pub(super) closed_until: Moment,
    /// When it was last closed: what began before teaches nothing that is not known.
    closed_at: Moment,
    /// A message is trying whether it is to be opened again.
    pub(super) on_trial: bool,
    /// When a connection to it was last in use.
    pub(super) connected: Moment,
    /// The size of a message that was too large for it, and until when that is believed.
    pub(super) too_large: Option<(usize, Moment)>,
    pub(super) used: Moment,
}

/// What a request teaches about an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lesson {
    /// It speaks mxdeliv.
    Speaks,
    /// It does not.
    Silent,
    /// It cannot be reached, or answers what no endpoint answers: it fails if it spoke before, and
    /// does not speak if not.
    Unreachable,
    /// It fails.
    Failing,
    /// Nothing.
    Nothing,
}

/// Whether a request is the one that finds out whether a closed endpoint is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    Yes,
    No,
}

/// Whether to connect to an endpoint ahead of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connect {
    Yes,
    /// A connection is there.
    There,
    /// The endpoint is not to be used.
    Closed,
}

impl Known {
    pub(super) fn new(state: PeerState, since: Moment) -> Self {
        Self {
            state,
            spoke: false,
            failures: 0,
            since,
            closed_until: Moment::default(),
            closed_at: Moment::default(),
            on_trial: false,
            connected: Moment::default(),
            too_large: None,
            used: since,
        }
    }

    pub(super) fn is_open(&self, now: Moment) -> bool {
        self.closed_until <= now && !self.on_trial
    }

    /// Closed for a while, and that is over.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.state, PeerState::Silent | PeerState::Failing)
    }

    /// Ends a request that began at `began`.
    pub(super) fn learn(&mut self, lesson: Lesson, limits: &Limits, began: Moment, now: Moment) {
        // Of several requests that fail together, the first has closed the endpoint.
        let is_old = self.is_half_open() && began < self.closed_at;
        match lesson {
            Lesson::Nothing => {}
            Lesson::Speaks => {
                self.state = PeerState::Speaks;
                self.spoke = true;
                self.failures = 0;
                self.closed_until = Moment::default();
                // A trial that is under way need not be waited for.
                self.on_trial = false;
            }
            Lesson::Unreachable if self.spoke => self.learn(Lesson::Failing, limits, began, now),
            Lesson::Unreachable => self.learn(Lesson::Silent, limits, began, now),
            _ if is_old => {}
            Lesson::Silent => {
                self.state = PeerState::Silent;
                self.spoke = false;
                self.failures = 0;
                self.close(limits.silent, now);
            }
            Lesson::Failing => {
                let doublings = self.failures.min(31);
                let pause = limits.failing_first.saturating_mul(1 << doublings);
                self.state = PeerState::Failing;
                self.failures = self.failures.saturating_add(1);
                self.close(pause.min(limits.failing_max), now);
            }
        }
    }

    fn close(&mut self, time: Duration, now: Moment) {
        self.closed_at = now;
        self.closed_until = now.after(time);
    }
}
