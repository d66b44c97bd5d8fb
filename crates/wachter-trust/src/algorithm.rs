//! The algorithms whose signatures are verified, and what a public key of each is made of.
//!
//! Framing is read here, arithmetic is that of the algorithms' own crates. Each key has one encoding:
//! a length, a sign or a point form that OpenSSH would not write is refused, so that equal keys have
//! equal bytes and equal fingerprints.
//!
//! What runs as root judges root keys and publishers alone, and both keep to
//! [`PublicKey::is_for_modules`](crate::PublicKey::is_for_modules). RSA and P-384 are therefore features
//! of this crate: without them such keys are read and compared just the same, and a signature by one
//! does not hold.

use ecdsa::SignatureSize;
use ecdsa::elliptic_curve::generic_array::ArrayLength;
use ecdsa::elliptic_curve::sec1::{FromEncodedPoint, ModulusSize, ToEncodedPoint};
use ecdsa::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, PrimeCurve, PublicKey,
};
use sha2::{Digest as _, Sha256};

use crate::VerifyError;
use crate::key::KeyError;
use crate::wire::WireReader;

/// RSA below this can be broken by those who try (NIST SP 800-131A).
const MIN_RSA_BITS: usize = 2048;

/// Verifying takes time that grows with the square of the modulus; OpenSSH has the same limit.
pub(crate) const MAX_RSA_BITS: usize = 16_384;

/// SEC 1 section 2.3.3: what an uncompressed point begins with, the only form that OpenSSH takes.
const UNCOMPRESSED: u8 = 4;

/// An algorithm, as the first text of a key names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Algorithm {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    Rsa,
    SkEd25519,
    SkEcdsaP256,
}

/// The parts of a public key.
#[derive(Clone, Copy)]
pub(crate) enum Material<'a> {
    Ed25519(&'a [u8; 32]),
    P256(&'a [u8]),
    P384(&'a [u8]),
    Rsa { exponent: &'a [u8], modulus: &'a [u8] },
    SkEd25519 { key: &'a [u8; 32], application: &'a [u8] },
    SkP256 { point: &'a [u8], application: &'a [u8] },
}

impl Algorithm {
    const ALL: [Self; 6] = [
        Self::Ed25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::Rsa,
        Self::SkEd25519,
        Self::SkEcdsaP256,
    ];

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::Rsa => "ssh-rsa",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }
}

impl<'a> Material<'a> {
    /// Takes a key apart: `reader` stands behind the algorithm's name, and the key is all that is left
    /// (RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f).
    pub(crate) fn read(algorithm: Algorithm, mut reader: WireReader<'a>) -> Result<Self, KeyError> {
        let material = match algorithm {
            Algorithm::Ed25519 => Self::Ed25519(edwards_point(&mut reader)?),
            Algorithm::EcdsaP256 => Self::P256(point(&mut reader, b"nistp256", 32)?),
            Algorithm::EcdsaP384 => Self::P384(point(&mut reader, b"nistp384", 48)?),
            Algorithm::Rsa => {
                let (exponent, modulus) = (reader.mpint()?, reader.mpint()?);
                check_size(modulus)?;
                Self::Rsa { exponent, modulus }
            }
            Algorithm::SkEd25519 => Self::SkEd25519 {
                key: edwards_point(&mut reader)?,
                application: application(&mut reader)?,
            },
            Algorithm::SkEcdsaP256 => Self::SkP256 {
                point: point(&mut reader, b"nistp256", 32)?,
                application: application(&mut reader)?,
            },
        };
        if reader.is_empty() { Ok(material) } else { Err(KeyError::Malformed) }
    }

    /// Verifies `signature`, which is of the algorithm `name`, over `message`. `trailer` is what a
    /// security key adds: its flags and its counter.
    pub(crate) fn verify(
        self,
        name: &str,
        message: &[u8],
        signature: &[u8],
        trailer: &[u8],
    ) -> Result<(), VerifyError> {
        match self {
            Self::Ed25519(key) => ed25519(key, message, signature),
            Self::P256(point) => p256(point, message, signature),
            Self::P384(point) => p384(point, message, signature),
            Self::Rsa { exponent, modulus } => rsa(name, exponent, modulus, message, signature),
            Self::SkEd25519 { key, application } => {
                ed25519(key, &signed_by_device(application, trailer, message), signature)
            }
            Self::SkP256 { point, application } => {
                p256(point, &signed_by_device(application, trailer, message), signature)
            }
        }
    }
}

fn edwards_point<'a>(reader: &mut WireReader<'a>) -> Result<&'a [u8; 32], KeyError> {
    reader.string()?.try_into().map_err(|_| KeyError::Malformed)
}

fn point<'a>(
    reader: &mut WireReader<'a>,
    curve: &[u8],
    coordinate: usize,
) -> Result<&'a [u8], KeyError> {
    let (named, point) = (reader.string()?, reader.string()?);
    let uncompressed = point.first() == Some(&UNCOMPRESSED) && point.len() == 1 + 2 * coordinate;
    if named == curve && uncompressed { Ok(point) } else { Err(KeyError::Malformed) }
}

fn application<'a>(reader: &mut WireReader<'a>) -> Result<&'a [u8], KeyError> {
    let name = reader.string()?;
    std::str::from_utf8(name).map_or(Err(KeyError::Malformed), |_| Ok(name))
}

fn check_size(modulus: &[u8]) -> Result<(), KeyError> {
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    match modulus.len() * 8 - leading {
        bits if bits < MIN_RSA_BITS => Err(KeyError::TooShort(bits)),
        bits if bits > MAX_RSA_BITS => Err(KeyError::TooLong(bits)),
        _ => Ok(()),
    }
}

/// What a security key signs for `message` (PROTOCOL.u2f).
fn signed_by_device(application: &[u8], trailer: &[u8], message: &[u8]) -> Vec<u8> {
    let mut signed = Sha256::digest(application).to_vec();
    signed.extend(trailer);
    signed.extend(Sha256::digest(message));
    signed
}

/// RFC 8032, and no key of small order: one would agree with signatures that nobody made.
fn ed25519(key: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    let mismatch = |_| VerifyError::Mismatch;
    let key = ed25519_dalek::VerifyingKey::from_bytes(key).map_err(mismatch)?;
    let signature = ed25519_dalek::Signature::from_slice(signature).map_err(mismatch)?;
    key.verify_strict(message, &signature).map_err(mismatch)
}

fn p256(point: &[u8], message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    ecdsa::<p256::NistP256>(point, &Sha256::digest(message), signature)
}

#[cfg(feature = "p384")]
fn p384(point: &[u8], message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    ecdsa::<p384::NistP384>(point, &sha2::Sha384::digest(message), signature)
}

#[cfg(not(feature = "p384"))]
fn p384(_: &[u8], _: &[u8], _: &[u8]) -> Result<(), VerifyError> {
    Err(VerifyError::NotBuilt(Algorithm::EcdsaP384.name()))
}

/// ECDSA (RFC 5656 section 3.1.2): `r` and `s` as numbers, `digest` by the curve's own hash.
fn ecdsa<C>(point: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), VerifyError>
where
    C: PrimeCurve + CurveArithmetic,
    AffinePoint<C>: FromEncodedPoint<C> + ToEncodedPoint<C>,
    FieldBytesSize<C>: ModulusSize,
    SignatureSize<C>: ArrayLength<u8>,
{
    let mut reader = WireReader::new(signature);
    let (r, s) = (reader.mpint(), reader.mpint());
    let (Ok(r), Ok(s), true) = (r, s, reader.is_empty()) else {
        return Err(VerifyError::Mismatch);
    };
    let field = |bytes: &[u8]| {
        let mut field = FieldBytes::<C>::default();
        let leading = field.len().checked_sub(bytes.len()).ok_or(VerifyError::Mismatch)?;
        field[leading..].copy_from_slice(bytes);
        Ok(field)
    };
    let signature = ecdsa::Signature::<C>::from_scalars(field(r)?, field(s)?)
        .map_err(|_| VerifyError::Mismatch)?;
    let key = PublicKey::<C>::from_sec1_bytes(point).map_err(|_| VerifyError::Mismatch)?;
    ecdsa::hazmat::verify_prehashed(&key.to_projective(), &field(digest)?, &signature)
        .map_err(|_| VerifyError::Mismatch)
}

/// RSASSA-PKCS1-v1_5 with SHA-2 (RFC 8332).
#[cfg(feature = "rsa")]
fn rsa(
    name: &str,
    exponent: &[u8],
    modulus: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};
    let number = BigUint::from_bytes_be;
    let key = RsaPublicKey::new_with_max_size(number(modulus), number(exponent), MAX_RSA_BITS)
        .map_err(|_| VerifyError::Mismatch)?;
    match name {
        "rsa-sha2-256" => {
            key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature)
        }
        "rsa-sha2-512" => {
            let digest = sha2::Sha512::digest(message);
            key.verify(Pkcs1v15Sign::new::<sha2::Sha512>(), &digest, signature)
        }
        _ => return Err(VerifyError::Mismatch),
    }
    .map_err(|_| VerifyError::Mismatch)
}

#[cfg(not(feature = "rsa"))]
fn rsa(_: &str, _: &[u8], _: &[u8], _: &[u8], _: &[u8]) -> Result<(), VerifyError> {
    Err(VerifyError::NotBuilt(Algorithm::Rsa.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::put_string;
    use proptest::prelude::*;

    /// A key blob without its name, by its strings.
    fn check(algorithm: Algorithm, parts: &[&[u8]], expected: Option<&KeyError>) {
        let mut blob = Vec::new();
        for part in parts {
            put_string(&mut blob, part);
        }
        let found = Material::read(algorithm, WireReader::new(&blob)).err();
        assert_eq!(found.as_ref(), expected, "{algorithm:?} {parts:?}");
    }

    #[test]
    fn one_encoding_each() {
        use Algorithm::{EcdsaP256, EcdsaP384, Ed25519, Rsa, SkEcdsaP256, SkEd25519};
        let bad = || Some(&KeyError::Malformed);
        let point = |first: u8, length: usize| [vec![first], vec![1; length - 1]].concat();
        check(Ed25519, &[&[1; 32]], None);
        check(Ed25519, &[&[1; 31]], bad());
        check(Ed25519, &[&[1; 33]], bad());
        check(Ed25519, &[&[1; 32], b""], bad());
        check(Ed25519, &[], bad());
        check(EcdsaP256, &[b"nistp256", &point(4, 65)], None);
        check(EcdsaP256, &[b"nistp384", &point(4, 65)], bad());
        check(EcdsaP256, &[b"nistp256", &point(4, 97)], bad());
        for compressed in [2, 3, 5] {
            check(EcdsaP256, &[b"nistp256", &point(compressed, 33)], bad());
        }
        check(EcdsaP256, &[b"nistp256", &[0]], bad());
        check(EcdsaP256, &[b"nistp256", b""], bad());
        check(EcdsaP384, &[b"nistp384", &point(4, 97)], None);
        check(EcdsaP384, &[b"nistp384", &point(4, 65)], bad());
        check(SkEd25519, &[&[1; 32], b"ssh:"], None);
        check(SkEd25519, &[&[1; 32]], bad());
        check(SkEd25519, &[&[1; 32], &[0xff]], bad());
        check(SkEcdsaP256, &[b"nistp256", &point(4, 65), b"ssh:"], None);
        check(SkEcdsaP256, &[b"nistp256", &point(4, 65)], bad());
        let modulus = |bits: usize| [vec![0], vec![0xff; bits / 8]].concat();
        check(Rsa, &[&[1, 0, 1], &modulus(2048)], None);
        check(Rsa, &[&[0, 1, 0, 1], &modulus(2048)], bad());
        check(Rsa, &[&[1, 0, 1], &modulus(2048)[1..]], bad());
        check(Rsa, &[b"", &modulus(2048)], bad());
        check(Rsa, &[&[1, 0, 1], &modulus(2040)], Some(&KeyError::TooShort(2040)));
        check(Rsa, &[&[1, 0, 1], &modulus(16_392)], Some(&KeyError::TooLong(16_392)));
    }

    /// A point of small order: with it, one signature would hold for every message.
    #[test]
    fn weak_keys_verify_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let signature = [identity, [0; 32]].concat();
        let plain = ed25519_dalek::VerifyingKey::from_bytes(&identity).unwrap();
        let as_signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        use ecdsa::signature::Verifier as _;
        assert!(plain.verify(b"any", &as_signature).is_ok(), "the case is not the one meant");
        assert_eq!(ed25519(&identity, b"any", &signature), Err(VerifyError::Mismatch));
    }

    proptest! {
        #[test]
        fn any_key_and_signature_are_refused_or_verified(
            blob: Vec<u8>,
            point in proptest::collection::vec(any::<u8>(), 64),
            signature: Vec<u8>,
        ) {
            for algorithm in Algorithm::ALL {
                if let Ok(material) = Material::read(algorithm, WireReader::new(&blob)) {
                    prop_assert!(material.verify("rsa-sha2-512", b"m", &signature, &[0; 5]).is_err());
                }
            }
            let point = [vec![UNCOMPRESSED], point].concat();
            prop_assert!(p256(&point, b"m", &signature).is_err());
        }
    }
}
