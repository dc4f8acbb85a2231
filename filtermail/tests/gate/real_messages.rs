//! Messages encrypted by rPGP to real keys.

use filtermail::gate::{Class, Direction};
use pgp::composed::{
    ArmorOptions, EncryptionCaps, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedPublicKey,
    SubkeyParamsBuilder,
};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::{KeyVersion, Password, StringToKey};
use rand_core::OsRng;
use rstest::rstest;

use corpus::message::around;

use crate::message::judge;

const PLAIN_TEXT: &[u8] = b"Content-Type: text/plain\r\n\r\nHello Bob, we meet at noon.\r\n";

/// A key pair's public half, with one subkey to encrypt to.
pub(crate) fn public_key(
    version: KeyVersion,
    primary: KeyType,
    subkey: KeyType,
) -> SignedPublicKey {
    let subkey = SubkeyParamsBuilder::default()
        .version(version)
        .key_type(subkey)
        .can_encrypt(EncryptionCaps::All)
        .build()
        .unwrap();
    let key = SecretKeyParamsBuilder::default()
        .version(version)
        .key_type(primary)
        .can_sign(true)
        .primary_user_id("<bob@example.org>".into())
        .subkey(subkey)
        .build()
        .unwrap();
    key.generate(OsRng).unwrap().to_public_key()
}

/// SEIPD version 1 to each key.
pub(crate) fn seipd_v1(text: &[u8], keys: &[SignedPublicKey], checksum: bool) -> String {
    let mut builder = MessageBuilder::from_bytes("", text.to_vec())
        .seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    for key in keys {
        builder
            .encrypt_to_key(OsRng, &key.public_subkeys[0])
            .unwrap();
    }
    builder.to_armored_string(OsRng, options(checksum)).unwrap()
}

/// SEIPD version 2 to each key, with the recipients hidden, as Delta Chat does.
pub(crate) fn seipd_v2(text: &[u8], keys: &[SignedPublicKey]) -> String {
    let mut builder = MessageBuilder::from_bytes("", text.to_vec()).seipd_v2(
        OsRng,
        SymmetricKeyAlgorithm::AES256,
        AeadAlgorithm::Ocb,
        ChunkSize::C8KiB,
    );
    for key in keys {
        builder
            .encrypt_to_key_anonymous(OsRng, &key.public_subkeys[0])
            .unwrap();
    }
    builder.to_armored_string(OsRng, options(false)).unwrap()
}

fn options(include_checksum: bool) -> ArmorOptions<'static> {
    ArmorOptions {
        headers: None,
        include_checksum,
    }
}

fn assert_passes(armor: &str) {
    for direction in [Direction::Outgoing, Direction::Incoming] {
        let class = judge(direction, around(armor).as_bytes()).class;
        assert_eq!(class, Class::Encrypted, "{direction:?}: {armor}");
    }
}

#[rstest]
#[case::classic(
    KeyVersion::V4,
    KeyType::Ed25519Legacy,
    KeyType::ECDH(ECCCurve::Curve25519Legacy)
)]
#[case::current_in_v4(KeyVersion::V4, KeyType::Ed25519, KeyType::X25519)]
#[case::v6(KeyVersion::V6, KeyType::Ed25519, KeyType::X25519)]
#[case::v6_448(KeyVersion::V6, KeyType::Ed448, KeyType::X448)]
#[case::p256(
    KeyVersion::V4,
    KeyType::ECDSA(ECCCurve::P256),
    KeyType::ECDH(ECCCurve::P256)
)]
#[case::p384(
    KeyVersion::V4,
    KeyType::ECDSA(ECCCurve::P384),
    KeyType::ECDH(ECCCurve::P384)
)]
#[case::p521(
    KeyVersion::V4,
    KeyType::ECDSA(ECCCurve::P521),
    KeyType::ECDH(ECCCurve::P521)
)]
#[case::rsa(KeyVersion::V4, KeyType::Ed25519, KeyType::Rsa(2048))]
fn messages_to_a_key_pass(
    #[case] version: KeyVersion,
    #[case] primary: KeyType,
    #[case] subkey: KeyType,
) {
    let key = [public_key(version, primary, subkey)];
    assert_passes(&seipd_v1(PLAIN_TEXT, &key, true));
    assert_passes(&seipd_v1(b"", &key, false));
    assert_passes(&seipd_v2(PLAIN_TEXT, &key));
    assert_passes(&seipd_v2(b"", &key));
}

#[test]
fn messages_of_any_size_to_many_keys_pass() {
    let keys = [
        public_key(KeyVersion::V6, KeyType::Ed25519, KeyType::X25519),
        public_key(KeyVersion::V4, KeyType::Ed25519, KeyType::X25519),
        public_key(
            KeyVersion::V4,
            KeyType::Ed25519Legacy,
            KeyType::ECDH(ECCCurve::Curve25519Legacy),
        ),
    ];
    let many: Vec<_> = keys.iter().cycle().take(60).cloned().collect();
    for length in [1, 1000, 8192, 300_000] {
        let text = vec![b'a'; length];
        assert_passes(&seipd_v1(&text, &keys, true));
        assert_passes(&seipd_v2(&text, &many));
    }
}

#[test]
fn streamed_messages_pass() {
    let key = public_key(KeyVersion::V4, KeyType::Ed25519, KeyType::X25519);
    let text = vec![b'a'; 100_000];
    let mut builder = MessageBuilder::from_reader("", text.as_slice())
        .seipd_v1(OsRng, SymmetricKeyAlgorithm::AES128);
    builder.partial_chunk_size(1024).unwrap();
    builder
        .encrypt_to_key(OsRng, &key.public_subkeys[0])
        .unwrap();
    assert_passes(&builder.to_armored_string(OsRng, options(true)).unwrap());
}

#[test]
fn messages_to_a_password_pass() {
    let password = Password::from("correct horse battery staple");
    let salted = StringToKey::IteratedAndSalted {
        hash_alg: HashAlgorithm::Sha256,
        salt: [0x1F, 0xA2, 0x93, 0xE4, 0x05, 0xD6, 0x67, 0xB8],
        count: 96,
    };
    let mut builder =
        MessageBuilder::from_bytes("", PLAIN_TEXT).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    builder
        .encrypt_with_password(salted.clone(), &password)
        .unwrap();
    assert_passes(&builder.to_armored_string(OsRng, options(true)).unwrap());

    let argon2 = StringToKey::new_argon2(OsRng, 1, 1, 8);
    for aead in [AeadAlgorithm::Eax, AeadAlgorithm::Ocb, AeadAlgorithm::Gcm] {
        let mut builder = MessageBuilder::from_bytes("", PLAIN_TEXT).seipd_v2(
            OsRng,
            SymmetricKeyAlgorithm::AES192,
            aead,
            ChunkSize::C64B,
        );
        builder
            .encrypt_with_password(OsRng, salted.clone(), &password)
            .unwrap();
        builder
            .encrypt_with_password(OsRng, argon2.clone(), &password)
            .unwrap();
        assert_passes(&builder.to_armored_string(OsRng, options(false)).unwrap());
    }
}
