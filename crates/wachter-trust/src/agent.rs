use std::fmt;
use std::io::{self, Read, Write};

use crate::signer::{SignError, Signer, finish};
use crate::sshsig::to_be_signed;
use crate::wire::{Truncated, WireReader, put_string};
use crate::{Namespace, PublicKey, Signature};

/// OpenSSH's own limit for a message (`AGENT_MAX_LEN`).
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// More identities than any agent holds, so that a reply cannot ask for endless work.
const MAX_IDENTITIES: u32 = 2048;

// Message numbers, draft-ietf-sshm-ssh-agent section 5.1.
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// `SSH_AGENT_RSA_SHA2_512`: without it an agent signs with SHA-1.
const RSA_SHA2_512: u32 = 4;

/// A client of `ssh-agent` (draft-ietf-sshm-ssh-agent) over a stream that the caller opened, most
/// often the Unix socket that `SSH_AUTH_SOCK` names.
///
/// Private keys never come near this program, and security keys and passphrases work as they do for
/// `ssh`. A stream on which an error happened must not be used again.
pub struct Agent<S> {
    stream: S,
}

/// A key that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentIdentity {
    /// The key.
    pub key: PublicKey,
    /// What its owner calls it. From outside: escape before printing.
    pub comment: String,
}

/// One key of an agent.
pub struct AgentSigner<S> {
    agent: Agent<S>,
    key: PublicKey,
}

/// Why an agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The stream.
    #[error("the connection to the agent failed; is ssh-agent still running?")]
    Io(#[source] io::Error),
    /// The agent said no.
    #[error("the agent refused; is the key loaded (`ssh-add -l`), confirmed and touched?")]
    Refused,
    /// Not an answer to what was asked.
    #[error(
        "the agent answered with message {0}, which does not fit the question; is it an ssh-agent?"
    )]
    Unexpected(u8),
    /// An answer that cannot be read.
    #[error("the agent's answer is damaged; restart ssh-agent")]
    Malformed,
    /// An answer or question beyond 256 KiB.
    #[error("a message of {0} bytes is beyond what agents take")]
    TooLarge(usize),
}

impl<S: Read + Write> Agent<S> {
    /// Talks to an agent over `stream`. Set a time limit on it first: an agent may wait for a person.
    pub fn new(stream: S) -> Self {
        Self { stream }
    }

    /// The keys that the agent holds. Keys of algorithms that are not verified here, and
    /// certificates, are left out.
    ///
    /// # Errors
    /// The stream fails, or the agent refuses or answers with something else.
    pub fn identities(&mut self) -> Result<Vec<AgentIdentity>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES], IDENTITIES_ANSWER)?;
        parse_identities(&answer)
    }

    /// Signs with one of the agent's keys. That the agent has it shows only when it signs.
    pub fn into_signer(self, key: PublicKey) -> AgentSigner<S> {
        AgentSigner { agent: self, key }
    }

    fn sign(&mut self, key: &PublicKey, data: &[u8]) -> Result<Vec<u8>, AgentError> {
        let mut request = vec![SIGN_REQUEST];
        put_string(&mut request, key.to_wire());
        put_string(&mut request, data);
        let flags = if key.algorithm() == "ssh-rsa" { RSA_SHA2_512 } else { 0 };
        request.extend(flags.to_be_bytes());
        let answer = self.ask(&request, SIGN_RESPONSE)?;
        parse_signature(&answer)
    }

    /// Sends a request and gives the body of the expected answer.
    fn ask(&mut self, request: &[u8], expected: u8) -> Result<Vec<u8>, AgentError> {
        if request.len() > MAX_MESSAGE_BYTES {
            return Err(AgentError::TooLarge(request.len()));
        }
        let mut message = Vec::new();
        put_string(&mut message, request);
        self.stream.write_all(&message).map_err(AgentError::Io)?;
        self.stream.flush().map_err(AgentError::Io)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(AgentError::Io)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE_BYTES {
            return Err(AgentError::TooLarge(length));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).map_err(AgentError::Io)?;
        match answer.split_first() {
            Some((kind, body)) if *kind == expected => Ok(body.to_vec()),
            Some((&FAILURE, _)) => Err(AgentError::Refused),
            Some((kind, _)) => Err(AgentError::Unexpected(*kind)),
            None => Err(AgentError::Malformed),
        }
    }
}

impl<S: Read + Write> Signer for AgentSigner<S> {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&mut self, namespace: Namespace<'_>, message: &[u8]) -> Result<Signature, SignError> {
        let inner = self
            .agent
            .sign(&self.key, &to_be_signed(namespace, message))
            .map_err(|source| SignError::Agent { key: self.key.fingerprint(), source })?;
        finish(&self.key, namespace, message, &inner)
    }
}

fn parse_identities(body: &[u8]) -> Result<Vec<AgentIdentity>, AgentError> {
    let mut reader = WireReader::new(body);
    let count = reader.uint32()?;
    if count > MAX_IDENTITIES {
        return Err(AgentError::Malformed);
    }
    let mut identities = Vec::new();
    for _ in 0..count {
        let (key, comment) = (reader.string()?, reader.string()?);
        if let Ok(key) = PublicKey::from_wire(key) {
            let comment = String::from_utf8_lossy(comment).into_owned();
            identities.push(AgentIdentity { key, comment });
        }
    }
    if reader.is_empty() { Ok(identities) } else { Err(AgentError::Malformed) }
}

fn parse_signature(body: &[u8]) -> Result<Vec<u8>, AgentError> {
    let mut reader = WireReader::new(body);
    let signature = reader.string()?.to_vec();
    if reader.is_empty() { Ok(signature) } else { Err(AgentError::Malformed) }
}

impl From<Truncated> for AgentError {
    fn from(_: Truncated) -> Self {
        Self::Malformed
    }
}

impl<S> fmt::Debug for Agent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agent")
    }
}

impl<S> fmt::Debug for AgentSigner<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentSigner({:?})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An agent that gives the same answer to every question.
    struct Canned {
        answer: io::Cursor<Vec<u8>>,
        asked: Vec<u8>,
    }

    impl Read for Canned {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.answer.read(into)
        }
    }

    impl Write for Canned {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn identities(answer: &[u8]) -> Result<Vec<AgentIdentity>, AgentError> {
        let mut agent =
            Agent::new(Canned { answer: io::Cursor::new(answer.to_vec()), asked: Vec::new() });
        let identities = agent.identities();
        assert_eq!(agent.stream.asked, [0, 0, 0, 1, REQUEST_IDENTITIES]);
        identities
    }

    #[test]
    fn refuses_odd_answers() {
        let check = |answer: &[u8], expected: fn(&AgentError) -> bool| {
            let error = identities(answer).unwrap_err();
            assert!(expected(&error), "{answer:?}: {error:?}");
        };
        check(&[], |error| matches!(error, AgentError::Io(_)));
        check(&[0, 0, 0, 2, 12], |error| matches!(error, AgentError::Io(_)));
        check(&[0, 0, 0, 0], |error| matches!(error, AgentError::Malformed));
        check(&[255, 255, 255, 255], |error| matches!(error, AgentError::TooLarge(0xffff_ffff)));
        check(&[0, 0, 0, 1, FAILURE], |error| matches!(error, AgentError::Refused));
        check(&[0, 0, 0, 1, 14], |error| matches!(error, AgentError::Unexpected(14)));
        check(&[0, 0, 0, 5, 12, 0, 0, 0, 1], |error| matches!(error, AgentError::Malformed));
        check(&[0, 0, 0, 6, 12, 0, 0, 0, 0, 9], |error| matches!(error, AgentError::Malformed));
        check(&[0, 0, 0, 5, 12, 255, 0, 0, 0], |error| matches!(error, AgentError::Malformed));
        assert!(identities(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_answer_is_parsed_or_refused(body: Vec<u8>) {
            let _ = (parse_identities(&body), parse_signature(&body));
        }
    }
}
