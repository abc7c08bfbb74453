//! The keys that SCRAM derives from a password: slow on purpose, so derived where that delays
//! nothing else, and cached.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::limits;

/// What SHA-256 and its HMAC give.
pub(super) type Hash = [u8; 32];

/// The bytes that SHA-256 takes at a time, which is also the length of an HMAC key (RFC 2104).
const BLOCK: usize = 64;

/// An HMAC-SHA-256 that has taken its key and waits for the message.
///
/// A key of one whole block cannot be of the wrong length: a shorter one is filled with zeros and a
/// longer one is hashed first, as RFC 2104 has it.
pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let hashed: Hash;
    let key = if key.len() > BLOCK {
        hashed = Sha256::digest(key).into();
        &hashed[..]
    } else {
        key
    };
    let mut block = [0; BLOCK];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&block.into())
}

pub(super) fn hmac(key: &[u8], message: &[u8]) -> Hash {
    keyed(key).chain_update(message).finalize().into_bytes().into()
}

/// `Hi()` of RFC 5802, section 2.2, in progress: PBKDF2 for one block. The key is taken in once;
/// each round only copies the state.
struct SaltedPassword {
    mac: Hmac<Sha256>,
    round: Hash,
    sum: Hash,
    /// Iterations that are left to do.
    left: u32,
}

impl SaltedPassword {
    /// The first iteration.
    fn begin(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let mac = keyed(password);
        let first = mac.clone().chain_update(salt).chain_update(1_u32.to_be_bytes());
        let round: Hash = first.finalize().into_bytes().into();
        Self { mac, round, sum: round, left: iterations.saturating_sub(1) }
    }

    /// Does so many iterations, or those that are left. Returns whether all are done.
    fn go_on(&mut self, iterations: u32) -> bool {
        let iterations = iterations.min(self.left);
        let (mut round, mut sum) = (self.round, self.sum);
        for _ in 0..iterations {
            round = self.mac.clone().chain_update(round).finalize().into_bytes().into();
            sum.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
        }
        (self.round, self.sum) = (round, sum);
        self.left -= iterations;
        self.left == 0
    }
}

/// Names a derivation by its password, salt and iterations, without keeping the password.
///
/// The lengths go in as well, so that no two different triples are the same bytes.
fn name(password: &[u8], salt: &[u8], iterations: u32) -> Hash {
    Sha256::new()
        .chain_update((password.len() as u64).to_be_bytes())
        .chain_update(password)
        .chain_update((salt.len() as u64).to_be_bytes())
        .chain_update(salt)
        .chain_update(iterations.to_be_bytes())
        .finalize()
        .into()
}

/// Work that takes as long as the server wants it to: about a millisecond for PostgreSQL's 4,096
/// iterations.
///
/// It touches nothing but itself. [Run](Self::run) it on another thread when an event loop must not
/// wait, or do it [in parts](Self::go_on).
pub struct KeyDerivation {
    name: Hash,
    iterations: u32,
    salted: SaltedPassword,
}

impl KeyDerivation {
    pub(super) fn new(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = SaltedPassword::begin(password, salt, iterations);
        Self { name: name(password, salt, iterations), iterations, salted }
    }

    pub(super) fn name(&self) -> Hash {
        self.name
    }

    /// How long it takes: a quarter of a microsecond each.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Does the work.
    #[must_use]
    pub fn run(mut self) -> DerivedKey {
        self.salted.go_on(u32::MAX);
        self.key()
    }

    /// Does a part of the work, so many iterations. Returns the key once all of it is done.
    pub fn go_on(&mut self, iterations: u32) -> Option<DerivedKey> {
        self.salted.go_on(iterations).then(|| self.key())
    }

    fn key(&self) -> DerivedKey {
        let salted = &self.salted.sum;
        let client_key = hmac(salted, b"Client Key");
        DerivedKey {
            name: self.name,
            client_key,
            stored_key: Sha256::digest(client_key).into(),
            server_key: hmac(salted, b"Server Key"),
        }
    }
}

impl fmt::Debug for KeyDerivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyDerivation")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// What a [`KeyDerivation`] gives: `ClientKey`, `StoredKey` and `ServerKey` of RFC 5802, section 3.
#[derive(Clone)]
pub struct DerivedKey {
    name: Hash,
    pub(super) client_key: Hash,
    pub(super) stored_key: Hash,
    pub(super) server_key: Hash,
}

impl DerivedKey {
    pub(super) fn name(&self) -> Hash {
        self.name
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey(_)")
    }
}

/// The keys of earlier logins, shared by all connections that have a clone of it: a login whose key
/// is cached does not derive it again.
///
/// It holds no password. Only a key by which the server has proved itself gets in, so a wrong
/// password leaves no trace.
#[derive(Clone, Default)]
pub struct KeyCache(Arc<Mutex<VecDeque<DerivedKey>>>);

impl KeyCache {
    pub(super) fn find(&self, name: Hash) -> Option<DerivedKey> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = keys.iter().position(|key| key.name == name)?;
        let key = keys.remove(at)?;
        keys.push_back(key.clone());
        Some(key)
    }

    pub(super) fn remember(&self, key: DerivedKey) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|known| known.name != key.name);
        if keys.len() >= limits::SCRAM_KEYS {
            keys.pop_front();
        }
        keys.push_back(key);
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyCache(_)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive(password: &str, salt: &[u8], iterations: u32) -> DerivedKey {
        KeyDerivation::new(password.as_bytes(), salt, iterations).run()
    }

    fn hex(text: &str) -> Hash {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// RFC 4231, test cases 2 (a short key) and 6 (a key longer than a block).
    #[test]
    fn hmac_agrees_with_rfc_4231() {
        assert_eq!(
            hmac(b"Jefe", b"what do ya want for nothing?"),
            hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        );
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(
            hmac(&[0xaa; 131], long),
            hex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
        );
    }

    #[test]
    fn names_tell_apart_what_is_different() {
        let all = [
            name(b"ab", b"c", 1),
            name(b"a", b"bc", 1),
            name(b"ab", b"c", 2),
            name(b"abc", b"", 1),
        ];
        for (i, left) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(left));
        }
    }

    #[test]
    fn the_oldest_key_is_forgotten_first() {
        let cache = KeyCache::default();
        let key = |n: usize| derive("p", &n.to_be_bytes(), 1);
        for n in 0..limits::SCRAM_KEYS {
            cache.remember(key(n));
        }
        assert!(cache.find(key(0).name).is_some(), "and is now the newest");
        cache.remember(key(1000));
        assert!(cache.find(key(0).name).is_some());
        assert!(cache.find(key(1).name).is_none());
        cache.remember(key(1000));
        assert_eq!(cache.0.lock().unwrap().len(), limits::SCRAM_KEYS);
    }

    #[test]
    fn parts_make_the_same_key() {
        for iterations in [1, 2, 7, 100] {
            let whole = derive("p", b"salt", iterations);
            for part in [1, 3, 100] {
                let mut derivation = KeyDerivation::new(b"p", b"salt", iterations);
                let mut parts = 1;
                let key = loop {
                    match derivation.go_on(part) {
                        Some(key) => break key,
                        None => parts += 1,
                    }
                };
                assert_eq!(key.server_key, whole.server_key);
                assert_eq!(parts, (iterations - 1).div_ceil(part).max(1));
            }
        }
    }

    #[test]
    fn nothing_is_shown() {
        let derivation = KeyDerivation::new(b"hush", b"salt", 2);
        assert_eq!(format!("{derivation:?}"), "KeyDerivation { iterations: 2, .. }");
        assert_eq!(format!("{:?}", derivation.run()), "DerivedKey(_)");
        assert_eq!(format!("{:?}", KeyCache::default()), "KeyCache(_)");
    }
}
