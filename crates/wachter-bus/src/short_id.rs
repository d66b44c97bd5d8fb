//! Short forms of identifiers, by which what led to what is indexed.
//!
//! A B-tree over random identities is dirtied all over by each commit. So an identifier is indexed by
//! its first eight bytes if it is a UUID version 7, which begin with the time: what is written now
//! falls near what was written a moment ago. Others are indexed by a hash. Both may meet by chance,
//! so what is found is compared.

use sha2::{Digest as _, Sha256};

/// The short form of an identifier.
pub(crate) fn short(id: &str) -> i64 {
    let first = match uuid::Uuid::try_parse(id) {
        Ok(id) if id.get_version_num() == 7 => id.as_u64_pair().0,
        _ => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&Sha256::digest(id.as_bytes())[..8]);
            u64::from_be_bytes(bytes)
        }
    };
    first.cast_signed()
}

/// When a UUID version 7 was made, in milliseconds since 1970.
pub(crate) fn made_at(id: &str) -> Option<i64> {
    let id = uuid::Uuid::try_parse(id).ok().filter(|id| id.get_version_num() == 7)?;
    Some((id.as_u64_pair().0 >> 16).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_of_one_time_stand_together() {
        let id = "01932c07-209c-7000-8000-000000000000";
        assert_eq!(made_at(id), Some(0x0193_2c07_209c));
        let later = "01932c07-209d-7000-8000-000000000000";
        assert!(short(id) < short(later));
        assert_eq!(made_at("6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19"), None);
        assert_ne!(short("a"), short("b"));
    }
}
