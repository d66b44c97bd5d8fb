use std::io::{Read as _, Write as _};

use proptest::prelude::*;
use wachter_secret::{Identity, Named, OpenError, open, recipients, seal};

fn theirs() -> age::x25519::Identity {
    age::x25519::Identity::generate()
}

fn ours(identity: &age::x25519::Identity) -> Identity {
    use age::secrecy::ExposeSecret as _;
    identity.to_string().expose_secret().parse().unwrap()
}

fn open_with_theirs(file: &str, identity: &age::x25519::Identity) -> Vec<u8> {
    let armored = age::armor::ArmoredReader::new(file.as_bytes());
    let decryptor = age::Decryptor::new(armored).unwrap();
    let mut opened = Vec::new();
    decryptor
        .decrypt(std::iter::once(identity as &dyn age::Identity))
        .unwrap()
        .read_to_end(&mut opened)
        .unwrap();
    opened
}

fn seal_with_theirs(text: &[u8], identities: &[&age::x25519::Identity], armor: bool) -> Vec<u8> {
    let recipients: Vec<_> = identities.iter().map(|identity| identity.to_public()).collect();
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).unwrap();
    let format = if armor { age::armor::Format::AsciiArmor } else { age::armor::Format::Binary };
    let armored = age::armor::ArmoredWriter::wrap_output(Vec::new(), format).unwrap();
    let mut writer = encryptor.wrap_output(armored).unwrap();
    writer.write_all(text).unwrap();
    writer.finish().unwrap().finish().unwrap()
}

/// Around the size of a piece, where mistakes are made.
const SIZES: [usize; 8] = [0, 1, 100, 65_535, 65_536, 65_537, 131_072, 200_000];

#[test]
fn files_go_both_ways() {
    let (first, second) = (theirs(), theirs());
    assert_eq!(ours(&first).recipient().to_string(), first.to_public().to_string());
    for size in SIZES {
        let text: Vec<u8> = (0..size).map(|index| u8::try_from(index % 251).unwrap()).collect();
        let file = seal(&text, &[ours(&first).recipient(), ours(&second).recipient()]).unwrap();
        for identity in [&first, &second] {
            assert!(open_with_theirs(&file, identity) == text, "{size}");
            assert!(*open(file.as_bytes(), &[ours(identity)]).unwrap() == text, "{size}");
            assert_eq!(recipients(file.as_bytes()), Some(2));
            for armor in [false, true] {
                let file = seal_with_theirs(&text, &[&first, &second], armor);
                assert!(*open(&file, &[ours(identity)]).unwrap() == text, "{size}");
            }
        }
        let stranger = Identity::generate().unwrap();
        assert_eq!(open(file.as_bytes(), &[stranger]).unwrap_err(), OpenError::Recipient);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bit is changed, and wherever the file is cut: it is not opened.
    #[test]
    fn a_damaged_file_is_not_opened(at: prop::sample::Index, bit in 0u8..8, cut: bool) {
        let identity = theirs();
        let mut file = seal_with_theirs(b"a secret", &[&identity], false);
        let at = at.index(file.len());
        if cut { file.truncate(at) } else { file[at] ^= 1 << bit }
        prop_assert!(open(&file, &[ours(&identity)]).is_err());
    }

    #[test]
    fn any_bytes_are_refused(bytes: Vec<u8>, text: String) {
        let identity = [Identity::generate().unwrap()];
        for head in ["", "age-encryption.org/v1\n", "age-encryption.org/v1\n-> X25519 ", "-----BEGIN AGE ENCRYPTED FILE-----\n"] {
            for rest in [bytes.as_slice(), text.as_bytes()] {
                let file = [head.as_bytes(), rest].concat();
                prop_assert!(open(&file, &identity).is_err());
                // For how many it would be is told without opening it.
                let _ = recipients(&file);
                prop_assert!(Named::of(&file, "a").is_err());
            }
        }
    }
}
