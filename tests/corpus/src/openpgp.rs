//! Keys and messages by rPGP, the same in every run.
//!
//! The random numbers come from a seed, so these keys protect nothing.

use std::sync::LazyLock;

use pgp::composed::{
    ArmorOptions, EncryptionCaps, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedPublicKey,
    SubkeyParamsBuilder,
};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::{KeyVersion, Password, StringToKey, Timestamp};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

/// Version 4, Curve25519 in its older form: what most chat clients have.
pub static LEGACY_KEY: LazyLock<SignedPublicKey> = LazyLock::new(|| {
    public_key(
        KeyVersion::V4,
        KeyType::Ed25519Legacy,
        KeyType::ECDH(ECCCurve::Curve25519Legacy),
    )
});

/// Version 6, Ed25519 and X25519 (RFC 9580).
pub static CURRENT_KEY: LazyLock<SignedPublicKey> =
    LazyLock::new(|| public_key(KeyVersion::V6, KeyType::Ed25519, KeyType::X25519));

/// Version 4, NIST P-256: what hardware tokens and older programs have.
pub static P256_KEY: LazyLock<SignedPublicKey> = LazyLock::new(|| {
    public_key(
        KeyVersion::V4,
        KeyType::ECDSA(ECCCurve::P256),
        KeyType::ECDH(ECCCurve::P256),
    )
});

/// The public half of a key pair with one subkey to encrypt to. Two calls with the same arguments
/// use the same random numbers.
pub fn public_key(version: KeyVersion, primary: KeyType, subkey: KeyType) -> SignedPublicKey {
    let created = Timestamp::from_secs(1_790_000_000);
    let subkey = SubkeyParamsBuilder::default()
        .version(version)
        .key_type(subkey)
        .created_at(created)
        .can_encrypt(EncryptionCaps::All)
        .build()
        .expect("parameters of a subkey");
    let key = SecretKeyParamsBuilder::default()
        .version(version)
        .key_type(primary)
        .created_at(created)
        .can_sign(true)
        .primary_user_id("<bob@example.org>".into())
        .subkey(subkey)
        .build()
        .expect("parameters of a key");
    let secret = key.generate(Seeded::new(1)).expect("a key");
    secret.to_public_key()
}

/// How a message names its recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// By their key ids or fingerprints.
    Named,
    /// Not at all, as Delta Chat does.
    Hidden,
}

/// Armored SEIPD version 1 to each key, after PKESK version 3.
pub fn seipd_v1(
    text: &[u8],
    keys: &[&SignedPublicKey],
    recipients: Recipients,
    checksum: bool,
) -> String {
    let mut random = Seeded::new(text.len() as u64);
    let mut builder = MessageBuilder::from_bytes("", text.to_vec())
        .seipd_v1(&mut random, SymmetricKeyAlgorithm::AES256);
    for key in keys {
        let subkey = key.public_subkeys.first().expect("a subkey");
        match recipients {
            Recipients::Named => builder.encrypt_to_key(&mut random, subkey),
            Recipients::Hidden => builder.encrypt_to_key_anonymous(&mut random, subkey),
        }
        .expect("encryption to a key");
    }
    builder
        .to_armored_string(&mut random, options(checksum))
        .expect("an encrypted message")
}

/// Armored SEIPD version 2 to each key, after PKESK version 6, with the recipients hidden.
pub fn seipd_v2(text: &[u8], keys: &[&SignedPublicKey], checksum: bool) -> String {
    let mut random = Seeded::new(text.len() as u64);
    let mut builder = MessageBuilder::from_bytes("", text.to_vec()).seipd_v2(
        &mut random,
        SymmetricKeyAlgorithm::AES256,
        AeadAlgorithm::Ocb,
        ChunkSize::C8KiB,
    );
    for key in keys {
        let subkey = key.public_subkeys.first().expect("a subkey");
        builder
            .encrypt_to_key_anonymous(&mut random, subkey)
            .expect("encryption to a key");
    }
    builder
        .to_armored_string(&mut random, options(checksum))
        .expect("an encrypted message")
}

/// Armored SEIPD version 2 to a shared secret, as Delta Chat's securejoin begins since its third
/// version.
pub fn seipd_v2_to_secret(text: &[u8], s2k: StringToKey) -> String {
    let mut random = Seeded::new(text.len() as u64);
    let mut builder = MessageBuilder::from_bytes("", text.to_vec()).seipd_v2(
        &mut random,
        SymmetricKeyAlgorithm::AES128,
        AeadAlgorithm::Ocb,
        ChunkSize::C8KiB,
    );
    builder
        .encrypt_with_password(&mut random, s2k, &Password::from("a secret from a QR code"))
        .expect("encryption to a secret");
    builder
        .to_armored_string(&mut random, options(false))
        .expect("an encrypted message")
}

fn options(include_checksum: bool) -> ArmorOptions<'static> {
    ArmorOptions {
        headers: None,
        include_checksum,
    }
}

/// Random numbers from a seed, with the traits that rPGP asks for.
#[derive(Debug)]
struct Seeded(StdRng);

impl Seeded {
    fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }
}

impl rand_core::RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, octets: &mut [u8]) {
        self.0.fill_bytes(octets);
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill_bytes(octets);
        Ok(())
    }
}

impl rand_core::CryptoRng for Seeded {}
