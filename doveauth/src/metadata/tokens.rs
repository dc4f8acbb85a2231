//! Device tokens, and what `metadata.json` says of them. No I/O and no clock.
//!
//! ```json
//! {"devicetoken": {"fcm-chat.delta:…": 1764374400, "openpgp:…": 1764288000}}
//! ```
//!
//! That is the file of a classic relay: each token with the time when it was last set, in Unix seconds. A
//! token is good for [`LIFETIME`]. Older classic relays wrote a list of tokens, which count as set when the list
//! is next changed. Other entries of the file are kept as they are.
//!
//! Times are kept by the day, like last logins: a token that an app sets at each connection does not tell
//! when that was, and costs one write a day.

use std::fmt;

use serde_json::{Map, Value};

/// How long a token is good since it was last set, in seconds: 90 days.
pub const LIFETIME: u64 = 90 * DAY;
/// Tokens of one account. One more takes the place of the one that was set the longest ago.
pub const TOKENS_MAX: usize = 32;
/// Longest token, in bytes. Those of Delta Chat have up to about a thousand.
pub const TOKEN_MAX: usize = 2048;

/// The entry of the tokens.
const KEY: &str = "devicetoken";
/// How far ahead of ours the clock may be that a time was taken from, in seconds.
const AHEAD: u64 = 60;
const DAY: u64 = 24 * 60 * 60;

/// The name under which a notification service knows a device. It is a secret of the user's: it is
/// shown to nobody, and not in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// Reads what a client has set: visible ASCII without blanks, since a blank stands between tokens that
    /// are shown. `None` for anything else, and over [`TOKEN_MAX`].
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_token = (1..=TOKEN_MAX).contains(&text.len())
            && text.iter().all(|byte| byte.is_ascii_graphic());
        let text = is_token.then(|| std::str::from_utf8(text)).transpose();
        text.ok().flatten().map(|text| Self(text.into()))
    }

    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token")
    }
}

/// What a file holds is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object")]
pub struct Broken;

/// The content of a `metadata.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    /// Reads a file's content.
    ///
    /// # Errors
    /// It is not a JSON object.
    pub fn parse(content: &[u8]) -> Result<Self, Broken> {
        match serde_json::from_slice(content) {
            Ok(Value::Object(values)) => Ok(Self(values)),
            Ok(_) | Err(_) => Err(Broken),
        }
    }

    /// What is to be written.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// The tokens that are good at this time, in Unix seconds; at most [`TOKENS_MAX`], those that were
    /// set last.
    pub fn tokens(&self, now: u64) -> Vec<Token> {
        let tokens = self.good_tokens(now);
        let mut tokens: Vec<_> = tokens.iter().map(|(text, set)| (time(set), text)).collect();
        tokens.sort_by_key(|&(set, _)| std::cmp::Reverse(set));
        let texts = tokens.iter().map(|(_, text)| text.as_bytes());
        texts.filter_map(Token::parse).take(TOKENS_MAX).collect()
    }

    /// Notes that a token was set. Tokens that have expired go, and when there are too many those that
    /// were set the longest ago.
    pub fn set(&mut self, token: &Token, now: u64) {
        let mut tokens = self.good_tokens(now);
        let set = tokens.remove(token.as_str());
        while tokens.len() >= TOKENS_MAX {
            let oldest = tokens.iter().min_by_key(|(_, set)| time(set));
            match oldest.map(|(text, _)| text.clone()) {
                Some(oldest) => tokens.remove(&oldest),
                None => break,
            };
        }
        let today = now / DAY * DAY;
        let set = set.as_ref().and_then(time).unwrap_or(0).max(today);
        tokens.insert(token.as_str().into(), set.into());
        self.keep(tokens);
    }

    /// Removes a token, and those that have expired. `false` when it was not there.
    pub fn remove(&mut self, token: &Token, now: u64) -> bool {
        let mut tokens = self.good_tokens(now);
        let removed = tokens.remove(token.as_str()).is_some();
        self.keep(tokens);
        removed
    }

    /// Removes all tokens.
    pub fn clear(&mut self) {
        self.0.remove(KEY);
    }

    /// The tokens that are good, as the file's newer form has them.
    fn good_tokens(&self, now: u64) -> Map<String, Value> {
        let today = now / DAY * DAY;
        match self.0.get(KEY) {
            Some(Value::Object(tokens)) => {
                let good = tokens.iter().filter(|(_, set)| is_good(set, now));
                good.map(|(text, set)| (text.clone(), set.clone()))
                    .collect()
            }
            Some(Value::Array(tokens)) => {
                let texts = tokens.iter().filter_map(Value::as_str);
                texts.map(|text| (text.into(), today.into())).collect()
            }
            _ => Map::new(),
        }
    }

    fn keep(&mut self, tokens: Map<String, Value>) {
        self.0.insert(KEY.into(), Value::Object(tokens));
    }
}

/// Whether a token that was set at this time is good: not too long ago, and not in the future.
fn is_good(set: &Value, now: u64) -> bool {
    let fits = |set: u64| set.saturating_add(LIFETIME) > now && set < now.saturating_add(AHEAD);
    time(set).is_some_and(fits)
}

/// A time in Unix seconds, whatever wrote it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` cuts fractions off and ends at the type's limits"
)]
fn time(set: &Value) -> Option<u64> {
    let seconds = || set.as_f64().map(|seconds| seconds as u64);
    set.as_u64().or_else(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    /// Noon of a day.
    const NOW: u64 = 20_000 * DAY + DAY / 2;

    fn token(text: &str) -> Token {
        Token::parse(text.as_bytes()).unwrap()
    }

    fn metadata(text: &str) -> Metadata {
        Metadata::parse(text.as_bytes()).unwrap()
    }

    fn texts(tokens: &[Token]) -> Vec<&str> {
        tokens.iter().map(Token::as_str).collect()
    }

    #[rstest]
    #[case(b"a", true)]
    #[case(b"fcm-chat.delta:abc/DEF_0-9=+", true)]
    #[case(&[b'x'; TOKEN_MAX], true)]
    #[case(&[b'x'; TOKEN_MAX + 1], false)]
    #[case(b"", false)]
    #[case(b"two words", false)]
    #[case(b"a\nb", false)]
    #[case(b"a\0", false)]
    #[case("ü".as_bytes(), false)]
    fn what_a_token_is(#[case] text: &[u8], #[case] is_token: bool) {
        assert_eq!(Token::parse(text).is_some(), is_token);
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", token("secret")), "Token");
    }

    #[test]
    fn a_token_that_is_set_is_there_for_ninety_days() {
        let mut metadata = Metadata::default();
        metadata.set(&token("a"), NOW);
        assert_eq!(
            metadata.to_json(),
            format!("{{\"devicetoken\":{{\"a\":{}}}}}", 20_000 * DAY)
        );
        assert_eq!(texts(&metadata.tokens(NOW + 89 * DAY)), ["a"]);
        assert!(metadata.tokens(NOW + 90 * DAY).is_empty());
    }

    #[rstest]
    #[case(NOW, true)]
    #[case(NOW + 59, true)]
    #[case(NOW + 60, false)]
    #[case(NOW - LIFETIME + 1, true)]
    #[case(NOW - LIFETIME, false)]
    #[case(0, false)]
    fn times_of_classic_relays(#[case] set: u64, #[case] good: bool) {
        for text in [format!("{set}"), format!("{set}.0")] {
            let metadata = metadata(&format!(r#"{{"devicetoken":{{"a":{text}}}}}"#));
            assert_eq!(!metadata.tokens(NOW).is_empty(), good, "{text}");
        }
    }

    #[test]
    fn setting_again_on_the_same_day_changes_nothing() {
        let mut metadata = Metadata::default();
        metadata.set(&token("a"), NOW);
        let before = metadata.clone();
        metadata.set(&token("a"), NOW + DAY / 3);
        assert_eq!(metadata, before);
        metadata.set(&token("a"), NOW + DAY);
        assert_ne!(metadata, before);
    }

    #[test]
    fn a_list_of_old_is_read_and_becomes_an_object_when_it_changes() {
        let mut metadata = metadata(r#"{"devicetoken":["a","b",3],"other":[1]}"#);
        assert_eq!(texts(&metadata.tokens(NOW)), ["a", "b"]);
        metadata.set(&token("c"), NOW);
        let day = 20_000 * DAY;
        assert_eq!(
            metadata.to_json(),
            format!(r#"{{"devicetoken":{{"a":{day},"b":{day},"c":{day}}},"other":[1]}}"#)
        );
    }

    #[test]
    fn what_has_expired_goes_with_a_change() {
        let old = NOW - LIFETIME;
        let text = format!(r#"{{"devicetoken":{{"a":{old},"b":{NOW},"c":"now"}}}}"#);
        let mut metadata = metadata(&text);
        assert!(metadata.remove(&token("b"), NOW));
        assert!(!metadata.remove(&token("b"), NOW));
        assert_eq!(metadata.to_json(), r#"{"devicetoken":{}}"#);
    }

    #[test]
    fn the_oldest_token_makes_room() {
        let mut metadata = Metadata::default();
        for number in 0..=TOKENS_MAX as u64 {
            metadata.set(&token(&format!("t{number}")), NOW + number * DAY);
        }
        let now = NOW + TOKENS_MAX as u64 * DAY;
        let tokens = metadata.tokens(now);
        assert_eq!(tokens.len(), TOKENS_MAX);
        assert!(!tokens.contains(&token("t0")) && tokens.contains(&token("t1")));
        // Setting one that is there pushes no other out.
        metadata.set(&token("t1"), now);
        assert_eq!(metadata.tokens(now).len(), TOKENS_MAX);
    }

    #[test]
    fn of_too_many_the_last_ones_are_used() {
        let entries: Vec<String> = (0..100)
            .map(|number| format!("\"t{number:02}\":{}", NOW - number))
            .collect();
        let metadata = metadata(&format!("{{\"devicetoken\":{{{}}}}}", entries.join(",")));
        let tokens = metadata.tokens(NOW);
        assert_eq!(tokens.len(), TOKENS_MAX);
        assert!(tokens.contains(&token("t00")) && !tokens.contains(&token("t99")));
    }

    #[test]
    fn clearing_leaves_what_is_not_ours() {
        let mut metadata = metadata(r#"{"devicetoken":["a"],"other":1}"#);
        metadata.clear();
        assert_eq!(metadata.to_json(), r#"{"other":1}"#);
    }

    #[rstest]
    #[case("")]
    #[case("{")]
    #[case("[]")]
    #[case("null")]
    #[case("{} x")]
    #[case("\0\0\0")]
    fn what_is_not_an_object_is_broken(#[case] text: &str) {
        assert_eq!(Metadata::parse(text.as_bytes()), Err(Broken));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u8),
        Remove(u8),
        Clear,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..50_u8).prop_map(Step::Set),
            2 => (0..50_u8).prop_map(Step::Remove),
            1 => Just(Step::Clear),
            2 => (0..40 * DAY).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Against a list of who was set when: what is set is there, what is removed is not, and what is
        /// written reads back the same.
        #[test]
        fn tokens_are_those_that_were_set(steps in prop::collection::vec(step(), 0..200)) {
            let (mut metadata, mut model) = (Metadata::default(), Vec::<(u8, u64)>::new());
            let mut now = NOW;
            for step in steps {
                match step {
                    Step::Set(name) => {
                        metadata.set(&token(&name.to_string()), now);
                        model.retain(|(other, _)| *other != name);
                        model.push((name, now / DAY * DAY));
                    }
                    Step::Remove(name) => {
                        metadata.remove(&token(&name.to_string()), now);
                        model.retain(|(other, _)| *other != name);
                    }
                    Step::Clear => {
                        metadata.clear();
                        model.clear();
                    }
                    Step::Wait(time) => now += time,
                }
                model.retain(|(_, set)| set + LIFETIME > now);
                let read = Metadata::parse(metadata.to_json().as_bytes()).unwrap();
                prop_assert_eq!(&read, &metadata);
                let tokens = metadata.tokens(now);
                prop_assert_eq!(tokens.len(), model.len().min(TOKENS_MAX));
                for name in tokens {
                    let name: u8 = name.as_str().parse().unwrap();
                    prop_assert!(model.iter().any(|(other, _)| *other == name));
                }
                if let Some((last, _)) = model.last() {
                    prop_assert!(metadata.tokens(now).contains(&token(&last.to_string())));
                }
            }
        }

        /// Whatever a file holds is read or broken; what is read can be changed and written.
        #[test]
        fn any_file_will_do(content in ".{0,200}", set in 0..2 * NOW) {
            let file = format!(r#"{{"devicetoken":{{"a":{set}}},"b":{}}}"#, Value::from(content.clone()));
            for text in [content, file] {
                if let Ok(mut metadata) = Metadata::parse(text.as_bytes()) {
                    metadata.set(&token("new"), NOW);
                    prop_assert!(metadata.tokens(NOW).contains(&token("new")));
                    prop_assert!(Metadata::parse(metadata.to_json().as_bytes()).is_ok());
                }
            }
        }
    }
}
