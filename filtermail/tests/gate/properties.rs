//! What holds for every message, whole or damaged.

use std::sync::LazyLock;

use filtermail::gate::{Class, Direction, MessageReader};
use pgp::composed::{KeyType, Message};
use pgp::types::KeyVersion;
use proptest::prelude::*;

use corpus::message::{SECUREJOIN, armored, around};
use corpus::packets::{encrypted_data, session_key};

use crate::message::judge;
use crate::real_messages::{public_key, seipd_v1, seipd_v2};

/// Messages that pass.
static GOOD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let keys = [
        public_key(KeyVersion::V6, KeyType::Ed25519, KeyType::X25519),
        public_key(KeyVersion::V4, KeyType::Ed25519, KeyType::X25519),
    ];
    let partial = [
        &[0xD2, 0xE9],
        &encrypted_data()[6..518],
        &[50],
        &[0xA5; 50][..],
    ]
    .concat();
    vec![
        around(&seipd_v1(b"Hello", &keys, true)),
        around(&seipd_v2(&[b'a'; 20_000], &keys)),
        around(&armored(&[session_key(), partial].concat())),
        SECUREJOIN.to_owned(),
    ]
});

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Outgoing), Just(Direction::Incoming)]
}

/// A good message with some octets changed, lost, doubled or put in.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let place = any::<prop::sample::Index>();
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..4),
        Just(b"\r\n".to_vec()),
        Just(b"--=_b0undary\r\n".to_vec()),
        Just(b"-----END PGP MESSAGE-----\r\n".to_vec()),
        Just(b"Content-Type: text/plain\r\n".to_vec()),
    ];
    let damages = proptest::collection::vec((place, 0..40_usize, piece), 1..4);
    (any::<prop::sample::Index>(), damages).prop_map(|(which, damages)| {
        let mut message = which.get(&GOOD).clone().into_bytes();
        for (place, lost, piece) in damages {
            let at = place.index(message.len());
            let end = (at + lost).min(message.len());
            message.splice(at..end, piece);
        }
        message
    })
}

/// A good message whose armored octets are damaged and then armored again, with a good checksum.
fn damaged_data() -> impl Strategy<Value = Vec<u8>> {
    let change = (0..400_usize, any::<u8>());
    (any::<bool>(), proptest::collection::vec(change, 0..3)).prop_map(|(legacy, changes)| {
        let key = session_key();
        // The same session key behind a legacy header of two octets.
        let key = if legacy {
            [&[0x84, 76], &key[6..]].concat()
        } else {
            key
        };
        let mut data = [key, encrypted_data()].concat();
        for (at, octet) in changes {
            if let Some(place) = data.get_mut(at) {
                *place = octet;
            }
        }
        around(&armored(&data)).into_bytes()
    })
}

/// Whether rPGP reads the armored part as session keys and SEIPD.
pub(crate) fn rpgp_agrees(message: &[u8]) -> bool {
    let begin = b"-----BEGIN PGP MESSAGE-----";
    let Some(at) = message
        .windows(begin.len())
        .position(|window| window == begin)
    else {
        return false;
    };
    let result = Message::from_armor(&message[at..]);
    let Ok((Message::Encrypted { esk, edata, .. }, _)) = result else {
        return false;
    };
    !esk.is_empty()
        && matches!(
            edata,
            pgp::composed::Edata::SymEncryptedProtectedData { .. }
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn chunks_do_not_matter(
        message in prop_oneof![
            any::<prop::sample::Index>().prop_map(|which| which.get(&GOOD).clone().into_bytes()),
            damaged(),
            damaged_data(),
        ],
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        direction in direction(),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(message.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(message.len());
        let mut reader = MessageReader::new(direction);
        let mut from = 0;
        for to in cuts {
            reader.push(&message[from..to]);
            from = to;
        }
        prop_assert_eq!(reader.finish(), judge(direction, &message));
    }

    #[test]
    fn random_octets_are_refused(
        message in proptest::collection::vec(any::<u8>(), 0..3000),
        direction in direction(),
    ) {
        prop_assert!(matches!(judge(direction, &message).class, Class::Cleartext(_)));
    }

    #[test]
    fn random_bodies_are_refused(
        body in "[-=A-Za-z0-9:\\r\\n\\x00 ]{0,300}",
        direction in direction(),
    ) {
        let (head, _) = GOOD[0].split_once("\r\n\r\n").unwrap_or_default();
        let message = format!("{head}\r\n\r\n--=_b0undary\r\n{body}");
        prop_assert!(matches!(judge(direction, message.as_bytes()).class, Class::Cleartext(_)));
    }

    #[test]
    fn what_passes_is_an_encrypted_message_to_rpgp(
        message in prop_oneof![damaged(), damaged_data()],
        direction in direction(),
    ) {
        if judge(direction, &message).class == Class::Encrypted {
            prop_assert!(rpgp_agrees(&message), "{}", String::from_utf8_lossy(&message));
        }
    }
}

#[test]
fn rpgp_reads_the_undamaged_messages() {
    for message in GOOD.iter().take(3) {
        assert_eq!(
            judge(Direction::Outgoing, message.as_bytes()).class,
            Class::Encrypted
        );
        assert!(rpgp_agrees(message.as_bytes()), "{message}");
    }
}
