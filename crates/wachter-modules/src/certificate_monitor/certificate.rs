use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

/// What a certificate says of itself (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The first host name that it is for, or whom.
    pub(super) name: String,
    /// Who signed it.
    pub(super) issuer: String,
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
    /// The certificate itself.
    pub(super) der: Vec<u8>,
}

/// The labels of certificates (RFC 7468, and those of older programs).
const LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];

/// All certificates of a file in their order: PEM, between other things such as keys and text, or one in DER.
/// A file with none is one that holds something else. In the place of one that calls itself a certificate and
/// is none there is the reason.
pub(super) fn read(bytes: &[u8]) -> Vec<Result<Certificate, String>> {
    if !bytes.windows(10).any(|window| window == b"-----BEGIN") {
        // Text of another kind is no certificate, and says so by not beginning as one.
        return match bytes.first() {
            Some(0x30) => vec![parse(bytes)],
            _ => Vec::new(),
        };
    }
    let mut certificates = Vec::new();
    for block in Pem::iter_from_buffer(bytes) {
        match block {
            Ok(block) if LABELS.contains(&block.label.as_str()) => {
                certificates.push(parse(&block.contents));
            }
            Ok(_) => {}
            // Where the next begins is not known.
            Err(error) => {
                certificates.push(Err(format!("it is no PEM: {error}")));
                break;
            }
        }
    }
    certificates
}

fn parse(der: &[u8]) -> Result<Certificate, String> {
    // What follows a trusted certificate is how far OpenSSL trusts it.
    let (_, parsed) = X509Certificate::from_der(der)
        .map_err(|error| format!("it holds a damaged certificate: {error}"))?;
    let host = parsed.subject_alternative_name().ok().flatten().and_then(|names| {
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) => Some(plain(name)),
            _ => None,
        })
    });
    Ok(Certificate {
        name: host.unwrap_or_else(|| named(parsed.subject())),
        issuer: named(parsed.issuer()),
        begins: time(parsed.validity().not_before.timestamp()),
        ends: time(parsed.validity().not_after.timestamp()),
        der: der.to_vec(),
    })
}

/// A time in seconds since 1970. The last of the year 9999, by which RFC 5280 means that there is no end, lies
/// some hours beyond the last that a timestamp can be, which stands for it.
fn time(seconds: i64) -> Timestamp {
    let bound = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(bound)
}

/// The common name, or all of the name.
fn named(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().find_map(|name| name.as_str().ok());
    let text = common.map_or_else(|| plain(&name.to_string()), plain);
    if text.is_empty() { "nobody".to_owned() } else { text }
}

/// What goes into a sentence: whoever made the certificate chose it.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(128).collect()
}
