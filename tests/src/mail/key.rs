//! OpenPGP keys, made when they are asked for first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use chatmail::Address;
use pgp::composed::{
    EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedPublicSubKey,
    SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::types::KeyVersion as PgpKeyVersion;
use rand_core::OsRng;

/// The OpenPGP version of a key, and with it its algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyVersion {
    /// Version 4 with the older Curve25519 algorithms (EdDSA, ECDH): what chat clients have today.
    V4,
    /// Version 6 with Ed25519 and X25519 (RFC 9580).
    V6,
}

/// The key of one address: signs with the primary key, decrypts with the subkey.
#[derive(Debug)]
pub struct Key {
    secret: SignedSecretKey,
    public: SignedPublicKey,
}

type Keys = HashMap<(Address, KeyVersion), Arc<Key>>;

impl Key {
    /// The key of an address; made at the first call, the same for as long as the process lives.
    ///
    /// # Errors
    /// The OpenPGP library could not make it.
    pub fn of(address: &Address, version: KeyVersion) -> anyhow::Result<Arc<Self>> {
        static KEYS: OnceLock<Mutex<Keys>> = OnceLock::new();
        let mut keys = KEYS
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let name = (address.clone(), version);
        if let Some(key) = keys.get(&name) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(Self::generate(address, version)?);
        keys.insert(name, Arc::clone(&key));
        Ok(key)
    }

    pub(super) fn secret(&self) -> &SignedSecretKey {
        &self.secret
    }

    pub(super) fn public(&self) -> &SignedPublicKey {
        &self.public
    }

    pub(super) fn encryption_subkey(&self) -> anyhow::Result<&SignedPublicSubKey> {
        self.public
            .public_subkeys
            .first()
            .context("the key has no subkey")
    }

    fn generate(address: &Address, version: KeyVersion) -> anyhow::Result<Self> {
        let (pgp_version, signing, encryption) = match version {
            KeyVersion::V4 => (
                PgpKeyVersion::V4,
                KeyType::Ed25519Legacy,
                KeyType::ECDH(ECCCurve::Curve25519Legacy),
            ),
            KeyVersion::V6 => (PgpKeyVersion::V6, KeyType::Ed25519, KeyType::X25519),
        };
        let subkey = SubkeyParamsBuilder::default()
            .version(pgp_version)
            .key_type(encryption)
            .can_encrypt(EncryptionCaps::All)
            .build()?;
        let parameters = SecretKeyParamsBuilder::default()
            .version(pgp_version)
            .key_type(signing)
            .can_certify(true)
            .can_sign(true)
            .feature_seipd_v2(true)
            .primary_user_id(format!("<{address}>"))
            .subkey(subkey)
            .build()?;
        let secret = parameters
            .generate(OsRng)
            .context("making an OpenPGP key")?;
        let public = secret.to_public_key();
        Ok(Self { secret, public })
    }
}
