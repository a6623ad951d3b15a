//! What leaves the process for Redis: keys that name nobody, values that open only under their own key.
//!
//! Key: `dg:2:` and 32 hex digits of AES-256(naming key, pseudonym), one block, so that Redis does not see what the registry's index holds.
//! Of a note about a request: `dg:r:` and 32 hex digits of HMAC-SHA-256(naming secret, context ‖ partner ‖ "\n" ‖ request id). Its value is
//! sealed as a fact's is, with the note as plaintext.
//!
//! Value, version 2: version (1) · sealing key id (4, big endian) · nonce (12) · AES-256-GCM-SIV (RFC 8452) ciphertext and tag. Associated
//! data: the Redis key, then version and key id: a value moved to another key does not open. Plaintext: 0 no record, 1 record · epoch (4) ·
//! partition (2) · seq (8) · the record's own encoding.
//!
//! Nonces are random, drawn by every replica for itself. AES-GCM would have to ration them (2³² values under one key), or to have a key for each
//! Redis key, as version 1 had: three times the work of opening. GCM-SIV derives a key from each nonce, and one that came up twice would
//! tell only that the same fact was written twice (RFC 8452 §9).
//!
//! The AES keys are HMAC-SHA-256(secret, context): naming and sealing secrets serve nothing else under these contexts.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::domain::subject::{NumberPseudonym, Position};
use crate::verification::ports::RequestName;

/// The secrets of the Redis level; the same on every replica that shares a Redis.
#[derive(Clone)]
pub struct RedisSecrets {
    /// Derives Redis keys from pseudonyms. Changing it empties the level.
    pub naming: Zeroizing<[u8; 32]>,
    /// Seals and opens.
    pub sealing: SealingKey,
    /// Opens only: the key before a rotation.
    pub retired: Vec<SealingKey>,
}

/// A sealing secret and the id values carry.
#[derive(Clone)]
pub struct SealingKey {
    id: u32,
    secret: Zeroizing<[u8; 32]>,
}

impl SealingKey {
    /// Wraps 32 random bytes under an id that is never used twice.
    pub fn new(id: u32, secret: [u8; 32]) -> Self {
        Self { id, secret: Zeroizing::new(secret) }
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SealingKey({}, [elided])", self.id)
    }
}

impl std::fmt::Debug for RedisSecrets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RedisSecrets([elided])")
    }
}

/// A Redis key.
pub(super) type RedisKey = [u8; KEY_LEN];

/// An opened value.
pub(super) struct Opened<'v> {
    /// The record's encoding; `None`: no such number.
    pub(super) record: Option<&'v [u8]>,
    pub(super) position: Position,
}

/// The value is not one that was sealed for this key by a key that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotSealedHere;

/// Names, seals and opens.
pub(super) struct Sealer {
    /// Names facts.
    facts: EncryptingKey,
    /// Names notes.
    notes: hmac::Key,
    /// The first seals; all open.
    keys: Vec<(u32, LessSafeKey)>,
    random: SystemRandom,
}

/// What every fact's key begins with.
pub(super) const FACT_PREFIX: &str = "dg:2:";
const NOTE_PREFIX: &str = "dg:r:";
const KEY_LEN: usize = FACT_PREFIX.len() + 32;
const VERSION: u8 = 2;
const HEAD_LEN: usize = 1 + 4;
const PLAIN_HEAD_LEN: usize = 1 + 4 + 2 + 8;
const NAMING_CONTEXT: &[u8] = b"drivegate name of a fact in redis 2";
const SEALING_CONTEXT: &[u8] = b"drivegate value in redis 2";
const NOTE_CONTEXT: &[u8] = b"drivegate note in redis 1\n";

impl Sealer {
    /// Derives the keys.
    ///
    /// # Errors
    /// [`Unspecified`] if the cipher library is out of memory.
    pub(super) fn new(secrets: &RedisSecrets) -> Result<Self, Unspecified> {
        let naming = hmac::Key::new(hmac::HMAC_SHA256, secrets.naming.as_slice());
        let derived = hmac::sign(&naming, NAMING_CONTEXT);
        let keys = std::iter::once(&secrets.sealing).chain(&secrets.retired).map(|sealing| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, sealing.secret.as_slice());
            let derived = hmac::sign(&secret, SEALING_CONTEXT);
            Ok((sealing.id, LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, derived.as_ref())?)))
        });
        Ok(Self {
            facts: EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, derived.as_ref())?)?,
            keys: keys.collect::<Result<_, Unspecified>>()?,
            notes: naming,
            random: SystemRandom::new(),
        })
    }

    /// Returns the Redis key of a number. `None`: the cipher library is out of memory.
    pub(super) fn name(&self, pseudonym: NumberPseudonym) -> Option<RedisKey> {
        let mut block = *pseudonym.as_bytes();
        self.facts.encrypt(&mut block).ok()?;
        Some(key_of(FACT_PREFIX, &block))
    }

    /// Returns the Redis key of the note about a request. Neither part can hold a line feed.
    pub(super) fn note_name(&self, request: RequestName<'_>) -> RedisKey {
        let mut naming = hmac::Context::with_key(&self.notes);
        for part in [NOTE_CONTEXT, request.partner.as_str().as_bytes(), b"\n", request.id.as_bytes()] {
            naming.update(part);
        }
        key_of(NOTE_PREFIX, naming.sign().as_ref())
    }

    /// Seals a fact for its key. `None`: no randomness, or too long for the cipher; it is not written then.
    pub(super) fn seal(&self, name: &RedisKey, position: Position, record: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut head = [0; PLAIN_HEAD_LEN];
        head[0] = u8::from(record.is_some());
        head[1..5].copy_from_slice(&position.epoch.to_be_bytes());
        head[5..7].copy_from_slice(&position.partition.to_be_bytes());
        head[7..].copy_from_slice(&position.seq.to_be_bytes());
        self.seal_bytes(name, &[&head, record.unwrap_or_default()])
    }

    /// Seals the parts for a key, as one. `None` as for [`Self::seal`].
    pub(super) fn seal_bytes(&self, name: &RedisKey, parts: &[&[u8]]) -> Option<Vec<u8>> {
        let (id, key) = self.keys.first()?;
        let plain_len: usize = parts.iter().map(|part| part.len()).sum();
        let mut value = Vec::with_capacity(HEAD_LEN + NONCE_LEN + plain_len + key.algorithm().tag_len());
        value.push(VERSION);
        value.extend_from_slice(&id.to_be_bytes());
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        value.extend_from_slice(&nonce);
        let head_len = value.len();
        parts.iter().for_each(|part| value.extend_from_slice(part));
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(name, *id)),
                &mut value[head_len..],
            )
            .ok()?;
        value.extend_from_slice(tag.as_ref());
        Some(value)
    }

    /// Opens a value found under a key, where it lies.
    pub(super) fn open<'v>(&self, name: &RedisKey, value: &'v mut [u8]) -> Result<Opened<'v>, NotSealedHere> {
        Opened::parse(self.open_bytes(name, value)?).ok_or(NotSealedHere)
    }

    /// Opens what [`Self::seal_bytes`] sealed for a key, where it lies.
    pub(super) fn open_bytes<'v>(
        &self,
        name: &RedisKey,
        value: &'v mut [u8],
    ) -> Result<&'v [u8], NotSealedHere> {
        let (version, rest) = value.split_first_mut().ok_or(NotSealedHere)?;
        let (id, rest) = rest.split_first_chunk_mut::<4>().ok_or(NotSealedHere)?;
        let (nonce, sealed) = rest.split_first_chunk_mut::<NONCE_LEN>().ok_or(NotSealedHere)?;
        let id = u32::from_be_bytes(*id);
        let (_, key) = self.keys.iter().find(|(known, _)| *known == id).ok_or(NotSealedHere)?;
        if *version != VERSION {
            return Err(NotSealedHere);
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, Aad::from(associated(name, id)), sealed);
        opened.map(|plain| &*plain).map_err(|_| NotSealedHere)
    }
}

fn key_of(prefix: &str, tag: &[u8]) -> RedisKey {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut name = [0; KEY_LEN];
    name[..prefix.len()].copy_from_slice(prefix.as_bytes());
    for (digits, byte) in name[prefix.len()..].chunks_exact_mut(2).zip(tag) {
        digits[0] = HEX[usize::from(byte >> 4)];
        digits[1] = HEX[usize::from(byte & 15)];
    }
    name
}

fn associated(name: &RedisKey, id: u32) -> [u8; KEY_LEN + HEAD_LEN] {
    let mut associated = [0; KEY_LEN + HEAD_LEN];
    associated[..KEY_LEN].copy_from_slice(name);
    associated[KEY_LEN] = VERSION;
    associated[KEY_LEN + 1..].copy_from_slice(&id.to_be_bytes());
    associated
}

impl<'v> Opened<'v> {
    fn parse(plain: &'v [u8]) -> Option<Self> {
        let (kind, rest) = plain.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (partition, rest) = rest.split_first_chunk::<2>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let record = match kind {
            0 if rest.is_empty() => None,
            1 => Some(rest),
            _ => return None,
        };
        let position = Position {
            epoch: u32::from_be_bytes(*epoch),
            partition: u16::from_be_bytes(*partition),
            seq: u64::from_be_bytes(*seq),
        };
        Some(Self { record, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::{at, number};

    fn secrets(sealing: u32, retired: &[u32]) -> RedisSecrets {
        let key = |id: u32| SealingKey::new(id, [u8::try_from(id).unwrap(); 32]);
        RedisSecrets {
            naming: Zeroizing::new([9; 32]),
            sealing: key(sealing),
            retired: retired.iter().copied().map(key).collect(),
        }
    }

    fn sealer(sealing: u32, retired: &[u32]) -> Sealer {
        Sealer::new(&secrets(sealing, retired)).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_and_keeps_its_position() {
        let sealer = sealer(1, &[]);
        let name = sealer.name(number(1)).unwrap();
        let position = Position { epoch: 3, partition: 513, seq: u64::MAX };
        for record in [Some(&b"record"[..]), Some(&b""[..]), None] {
            let mut value = sealer.seal(&name, position, record).unwrap();
            let opened = sealer.open(&name, &mut value).unwrap();
            assert_eq!((opened.position, opened.record), (position, record));
        }
    }

    #[test]
    fn a_key_names_nobody() {
        let sealer = sealer(1, &[]);
        let name = sealer.name(number(0x4142_4344)).unwrap();
        assert!(name.starts_with(FACT_PREFIX.as_bytes()));
        assert!(name[5..].iter().all(u8::is_ascii_hexdigit));
        let index_value: String =
            number(0x4142_4344).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(&name[5..], index_value.as_bytes());
        assert_ne!(
            name,
            Sealer::new(&RedisSecrets { naming: Zeroizing::new([8; 32]), ..secrets(1, &[]) })
                .unwrap()
                .name(number(0x4142_4344))
                .unwrap()
        );
        assert_ne!(name, sealer.name(number(0x4142_4345)).unwrap());
    }

    #[test]
    fn a_note_has_a_name_of_its_own_and_opens_under_no_other() {
        let sealer = sealer(1, &[]);
        let (one, other) = ("rental-demo".parse().unwrap(), "rental-demo2".parse().unwrap());
        let name = |partner, id| sealer.note_name(RequestName { partner, id });
        let own = name(&one, "request-1");
        assert!(own.starts_with(b"dg:r:") && own[5..].iter().all(u8::is_ascii_hexdigit));
        let value = sealer.seal_bytes(&own, &[b"no", b"te"]).unwrap();
        assert_eq!(sealer.open_bytes(&own, &mut value.clone()).unwrap(), b"note");
        for foreign in [name(&one, "request-2"), name(&other, "request-1"), sealer.name(number(1)).unwrap()] {
            assert_ne!(foreign, own);
            assert!(sealer.open_bytes(&foreign, &mut value.clone()).is_err());
        }
    }

    #[test]
    fn any_changed_bit_cut_or_move_keeps_a_value_shut() {
        let sealer = sealer(1, &[]);
        let (name, other) = (sealer.name(number(1)).unwrap(), sealer.name(number(2)).unwrap());
        let value = sealer.seal(&name, at(1, 7), Some(b"record")).unwrap();
        assert!(sealer.open(&other, &mut value.clone()).is_err());
        for bit in 0..value.len() * 8 {
            let mut changed = value.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(&name, &mut changed).is_err(), "bit {bit}");
        }
        for len in 0..value.len() {
            assert!(sealer.open(&name, &mut value[..len].to_vec()).is_err(), "length {len}");
        }
        let mut longer = [&value[..], &[0]].concat();
        assert!(sealer.open(&name, &mut longer).is_err());
    }

    #[test]
    fn a_retired_key_opens_and_an_unknown_one_does_not() {
        let before = sealer(1, &[]);
        let name = before.name(number(1)).unwrap();
        let value = before.seal(&name, at(1, 7), None).unwrap();
        let rotated = sealer(2, &[1]);
        assert_eq!(rotated.name(number(1)), Some(name));
        assert!(rotated.open(&name, &mut value.clone()).is_ok());
        assert_eq!(rotated.seal(&name, at(1, 7), None).unwrap()[1..5], 2_u32.to_be_bytes());
        assert!(sealer(3, &[2]).open(&name, &mut value.clone()).is_err());
    }

    #[test]
    fn the_same_fact_is_never_sealed_into_the_same_bytes() {
        let sealer = sealer(1, &[]);
        let name = sealer.name(number(1)).unwrap();
        assert_ne!(sealer.seal(&name, at(1, 7), None), sealer.seal(&name, at(1, 7), None));
    }
}
