use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use wachter_trust::{Agent, SignError, Signer as _};

use crate::support::{Bench, KEY_KINDS, file_key, namespace};

const MESSAGE: &[u8] = b"for the agent";

/// A real ssh-agent in the foreground, stopped when dropped.
struct RealAgent(Child);

impl RealAgent {
    fn start(bench: &Bench) -> Self {
        let socket = bench.path("agent");
        let mut command = bench.command("ssh-agent");
        let child =
            command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::piped()).spawn().unwrap();
        let mut agent = Self(child);
        // It prints the socket's name once it listens.
        let mut line = String::new();
        let stdout = agent.0.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        agent
    }
}

impl Drop for RealAgent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn signs_through_a_real_agent() {
    let bench = Bench::new();
    let _agent = RealAgent::start(&bench);
    let connect = || Agent::new(UnixStream::connect(bench.path("agent")).unwrap());
    assert!(connect().identities().unwrap().is_empty());
    for (index, kind) in KEY_KINDS.into_iter().enumerate() {
        let name = format!("key{index}");
        let public = bench.keygen(&name, kind);
        let added =
            bench.command("ssh-add").arg("-q").arg(&name).env("SSH_AUTH_SOCK", "agent").status();
        assert!(added.unwrap().success(), "{kind}");
        let identities = connect().identities().unwrap();
        assert_eq!(identities.len(), index + 1);
        assert!(
            identities.iter().any(|identity| identity.key == public && identity.comment == name)
        );
        let mut signer = connect().into_signer(public.clone());
        // Twice, as a stream serves many requests.
        for namespace_name in ["test", "git"] {
            let signature = signer.sign(namespace(namespace_name), MESSAGE).unwrap();
            assert_eq!(signature.key(), &public);
            bench.write("sig", signature.to_armor());
            let line = format!("ssh-keygen -Y check-novalidate -n {namespace_name} -s sig");
            bench.run(&line, MESSAGE);
        }
    }
    let stranger = file_key(7).public_key().clone();
    let refused = connect().into_signer(stranger).sign(namespace("test"), MESSAGE);
    assert!(matches!(refused, Err(SignError::Agent { .. })), "{refused:?}");
}

/// Keys that cannot be used here are left out, not an error for the whole list.
#[test]
fn leaves_out_unsupported_keys() {
    let bench = Bench::new();
    let _agent = RealAgent::start(&bench);
    bench.run("ssh-keygen -q -N '' -t ecdsa -b 521 -f p521", b"");
    let public = bench.keygen("good", "ed25519");
    for name in ["p521", "good"] {
        let added =
            bench.command("ssh-add").arg("-q").arg(name).env("SSH_AUTH_SOCK", "agent").status();
        assert!(added.unwrap().success(), "{name}");
    }
    let mut agent = Agent::new(UnixStream::connect(bench.path("agent")).unwrap());
    let identities = agent.identities().unwrap();
    assert_eq!(identities.into_iter().map(|identity| identity.key).collect::<Vec<_>>(), [public]);
}
