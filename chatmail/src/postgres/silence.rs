//! Whether the server answers at all, so that not everybody waits for one that does not.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Remembers whether the last question got an answer, good or bad.
#[derive(Debug, Default)]
pub(super) struct Silence {
    is_silent: AtomicBool,
    is_being_tried: AtomicBool,
}

/// The right to ask.
#[must_use]
pub(super) struct Turn<'a> {
    silence: &'a Silence,
    is_trial: bool,
}

impl Silence {
    /// `None` while the server is silent and somebody is trying it.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        let is_trial = self.is_silent.load(SeqCst);
        if is_trial && self.is_being_tried.swap(true, SeqCst) {
            return None;
        }
        Some(Turn {
            silence: self,
            is_trial,
        })
    }
}

impl Turn<'_> {
    /// Tells whether there was an answer.
    pub(super) fn ended(self, answered: bool) {
        self.silence.is_silent.store(!answered, SeqCst);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.silence.is_being_tried.store(false, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_silent_server_one_at_a_time_asks() {
        let silence = Silence::default();
        let (first, second) = (silence.turn().unwrap(), silence.turn().unwrap());
        first.ended(false);
        let trial = silence.turn().unwrap();
        assert!(silence.turn().is_none());
        // Who went away without an answer gives the turn back.
        drop(trial);
        let trial = silence.turn().unwrap();
        trial.ended(false);
        let trial = silence.turn().unwrap();
        assert!(silence.turn().is_none());
        trial.ended(true);
        let turns = [silence.turn(), silence.turn()];
        assert!(turns.iter().all(Option::is_some));
        second.ended(true);
    }
}
