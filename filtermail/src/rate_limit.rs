//! How much an account may send: a generic cell rate algorithm (GCRA) per login.
//!
//! Two limits apply. One counts messages, with a burst; the other counts recipients, so that few
//! messages with a thousand recipients each are not a way around the first. The clock is
//! monotonic: setting the system's time neither blocks nor frees anybody.
//!
//! Memory holds one entry per login that sent lately; [`RateLimits::forget_idle`] drops the
//! others. Logins are accounts that Dovecot vouched for, so a stranger cannot fill it.

use std::time::Duration;

use chatmail::config::AddressList;
use chatmail::{Address, Config};
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// How often [`RateLimits::forget_idle`] is worth calling.
pub const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Messages per minute, or the burst.
    Messages,
    /// Recipients per minute.
    Recipients,
}

/// The limits of all logins, shared by all sessions.
#[derive(Debug)]
pub struct RateLimits<C: Clock = MonotonicClock> {
    messages: PerLogin<C>,
    recipients: PerLogin<C>,
    unlimited: AddressList,
}

type PerLogin<C> =
    RateLimiter<Address, DashMapStateStore<Address>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl RateLimits {
    /// The limits of `max_user_send_per_minute`, `max_user_send_burst_size`,
    /// `max_user_recipients_per_minute` and `unlimited_senders`.
    pub fn new(config: &Config) -> Self {
        Self::with_clock(config, MonotonicClock)
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    /// As [`RateLimits::new`], by another clock.
    pub fn with_clock(config: &Config, clock: C) -> Self {
        let messages = Quota::per_minute(config.max_user_send_per_minute.0)
            .allow_burst(config.max_user_send_burst_size.0);
        let recipients = Quota::per_minute(config.max_user_recipients_per_minute.0);
        Self {
            messages: RateLimiter::dashmap_with_clock(messages, clock.clone()),
            recipients: RateLimiter::dashmap_with_clock(recipients, clock),
            unlimited: config.unlimited_senders.clone(),
        }
    }
}

impl<C: Clock> RateLimits<C> {
    /// Counts one message of this login.
    ///
    /// # Errors
    /// The login has sent too many.
    pub fn message(&self, login: &Address) -> Result<(), Limit> {
        self.count(&self.messages, login).ok_or(Limit::Messages)
    }

    /// Counts one recipient of this login.
    ///
    /// # Errors
    /// The login has addressed too many.
    pub fn recipient(&self, login: &Address) -> Result<(), Limit> {
        self.count(&self.recipients, login).ok_or(Limit::Recipients)
    }

    /// Drops the entries of logins whose allowance is whole again.
    pub fn forget_idle(&self) {
        for limiter in [&self.messages, &self.recipients] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    fn count(&self, limiter: &PerLogin<C>, login: &Address) -> Option<()> {
        if self.unlimited.matches(login) {
            Some(())
        } else {
            limiter.check_key(login).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::path::Path;

    fn limits(keys: &str) -> (RateLimits<FakeRelativeClock>, FakeRelativeClock) {
        let text = format!("[params]\nmail_domain = x.org\n{keys}\n");
        let (config, _) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
        let clock = FakeRelativeClock::default();
        (RateLimits::with_clock(&config, clock.clone()), clock)
    }

    fn login(name: &str) -> Address {
        format!("{name}@x.org").parse().unwrap()
    }

    #[test]
    fn ten_at_once_then_one_a_second() {
        let (limits, clock) = limits("");
        for _ in 0..10 {
            assert_eq!(limits.message(&login("a")), Ok(()));
        }
        assert_eq!(limits.message(&login("a")), Err(Limit::Messages));
        assert_eq!(
            limits.message(&login("b")),
            Ok(()),
            "other senders are unaffected"
        );
        clock.advance(Duration::from_millis(999));
        assert_eq!(limits.message(&login("a")), Err(Limit::Messages));
        clock.advance(Duration::from_millis(1));
        assert_eq!(limits.message(&login("a")), Ok(()));
        assert_eq!(limits.message(&login("a")), Err(Limit::Messages));
    }

    #[test]
    fn recipients_have_a_limit_of_their_own() {
        let (limits, clock) = limits("max_user_recipients_per_minute = 3");
        for _ in 0..3 {
            assert_eq!(limits.recipient(&login("a")), Ok(()));
        }
        assert_eq!(limits.recipient(&login("a")), Err(Limit::Recipients));
        assert_eq!(limits.message(&login("a")), Ok(()));
        clock.advance(Duration::from_secs(20));
        assert_eq!(limits.recipient(&login("a")), Ok(()));
        assert_eq!(limits.recipient(&login("a")), Err(Limit::Recipients));
    }

    #[test]
    fn bots_on_the_list_have_none() {
        let (limits, _) = limits("unlimited_senders = bot@x.org");
        for _ in 0..10_000 {
            assert_eq!(limits.message(&login("bot")), Ok(()));
            assert_eq!(limits.recipient(&login("bot")), Ok(()));
        }
    }

    #[test]
    fn idle_logins_are_forgotten_and_busy_ones_are_not() {
        let (limits, clock) = limits("");
        for number in 0..1000 {
            limits.message(&login(&number.to_string())).unwrap();
        }
        clock.advance(Duration::from_secs(30));
        while limits.message(&login("busy")).is_ok() {}
        limits.forget_idle();
        assert_eq!(limits.messages.len(), 1);
        assert_eq!(limits.message(&login("busy")), Err(Limit::Messages));
    }
}
