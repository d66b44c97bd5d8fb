use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64ct::{Base64, Encoding as _};

/// What precedes the PKCS#1 key in the PKCS#8 form of an RSA key of 2,048 bits: the outer sequence,
/// a version, the algorithm and the head of an octet string, 26 bytes.
const PKCS8_HEAD: usize = 26;

/// An RSA key of 2,048 bits, such as GitHub makes for an App.
#[derive(Clone, Debug)]
pub struct RsaKey {
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

impl RsaKey {
    /// Makes a new one.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn generate() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("the system has random numbers");
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).expect("an RSA key has a PKCS#8 form");
        Self { pkcs8: pkcs8.as_ref().to_vec(), public: key.public_key().as_ref().to_vec() }
    }

    /// The private key as GitHub offers it for download.
    #[must_use]
    pub fn pkcs1_pem(&self) -> String {
        pem("RSA PRIVATE KEY", &self.pkcs8[PKCS8_HEAD..])
    }

    /// The private key as `openssl genpkey` writes it.
    #[must_use]
    pub fn pkcs8_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// Whether `signature` is one of this key over `message`, PKCS#1 v1.5 with SHA-256.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public)
            .verify(message, signature)
            .is_ok()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let mut lines = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.extend(line.iter().map(|byte| char::from(*byte)));
        lines.push('\n');
    }
    lines + &format!("-----END {label}-----\n")
}
