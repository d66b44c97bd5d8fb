//! Has a module in WebAssembly compiled: in a jail of its own that holds the module and the compiler and
//! nothing else, before any of its code runs.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use wachter_model::{ByteSize, CpuShare, Digest, Duration};
use wachter_protocol::launcher::{End, Launch, RefusalKind};
use wachter_protocol::{Grant, Limits, Mechanism, Profile};

use super::Server;
use crate::authority::{Admitted, Refusal, Signed};
use crate::cgroup::RunGroup;
use crate::check::{Check, Compilation, Step};
use crate::compiled::Compiled;
use crate::folders::Folders;
use crate::jail::plan::{Plan, Program, Request};
use crate::jail::system_calls::Filters;
use crate::jail::{self, Report, system};
use crate::scratch;

/// What the compiler may use, whatever the module may. A component of 18 MB that holds an interpreter
/// is the largest that was tried.
const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(600),
    memory: ByteSize::from_mib(1_024),
    cpu: CpuShare::from_millicores(1_000),
    processes: 8,
    output: ByteSize::from_mib(1),
    disk: ByteSize::from_mib(1),
};

/// The most bytes that are told of what the compiler says.
const WORDS: usize = 1_024;

impl Server {
    /// Begins to compile the module of `launch`; its run begins when that is done.
    pub(super) fn compile(
        &mut self,
        connection: u64,
        launch: Launch,
        signed: Signed,
        admitted: Admitted,
    ) -> Result<(), Refusal> {
        let Program::Wasi { executable, file, .. } = admitted.program else {
            return Err(Refusal::new(RefusalKind::Setup, "only WebAssembly is compiled"));
        };
        let module = signed.digests.digest();
        let compiler = Admitted {
            grant: Grant::of_nothing(module, LIMITS),
            program: Program::Compiler { executable, file },
            ..admitted
        };
        let setup = |fault: &dyn ToString| Refusal::new(RefusalKind::Setup, fault.to_string());
        let slot = self.free_slot()?;
        let user = self.user(compiler.grant.permissions(), slot)?;
        let folders = match self.host.profile == Profile::NoNamespaces {
            true => Folders::make(&self.state, launch.run, &user, &[])
                .map_err(|reason| setup(&reason))?,
            false => Folders::default(),
        };
        let plan = Plan::new(Request {
            grant: &compiler.grant,
            profile: self.host.profile,
            module: &compiler.folder,
            program: compiler.program,
            user,
            scratch: scratch::folder(&self.state, launch.run),
            secrets: None,
            base: &self.base,
            forbidden: &self.forbidden(),
            memory_for_each: !self.host.enforces(Mechanism::CgroupMemory),
            timeout: LIMITS.timeout.to_std(),
        })
        .map_err(|reason| setup(&reason))?;
        // The run itself may get its own group while the kernel still holds this one.
        let name = format!("{}-compile", launch.run);
        let group = self.host.cgroups.make(name, &plan.limits).map_err(|fault| setup(&fault))?;
        let compilation = Compilation { slot, group: group.clone(), _folders: folders };
        let (run, compiled) = (launch.run, self.authority.compiled());
        let work = |_: &Step| {
            compile(&plan, &self.filters, &group, compiled, module)
                .map(|()| None)
                .map_err(|reason| told(&reason))
        };
        let step = Step::Compile(launch, signed);
        let check = Check::begin(connection, step, Some(compilation), work);
        match check {
            Ok(check) => drop(self.checks.insert(run, check)),
            Err(reason) => {
                self.clear(group);
                return Err(setup(&reason));
            }
        }
        Ok(())
    }

    /// Ends what a check still does and removes what it left. Gives what it was about.
    pub(super) fn end_check(&mut self, check: Check) -> Step {
        let (step, compilation) = check.end(&self.authority);
        if let Some(compilation) = compilation {
            compilation.group.end();
            self.clear(compilation.group);
        }
        step
    }
}

fn told(reason: &str) -> String {
    format!("the module cannot be compiled: {reason}")
}

/// Compiles, in a process that has nothing else to do.
fn compile(
    plan: &Plan,
    filters: &Filters,
    group: &RunGroup,
    compiled: &Compiled,
    module: Digest,
) -> Result<(), String> {
    let timeout = LIMITS.timeout.to_std();
    let descriptor = group.open();
    let within = descriptor.as_ref().map(AsFd::as_fd);
    let join = |within| group.join(within);
    let begun = jail::begin(plan, filters, timeout, Vec::new(), within, join)
        .map_err(|fault| fault.to_string())?;
    let [stdin, stdout, stderr] = begun.stdio;
    drop(stdin);
    let mut code = compiled.begin().map_err(|error| error.to_string())?;
    let mut words = Words::default();
    let read = read_both(stdout, stderr, &mut code, &mut words);
    let mut end = End::Lost;
    // Until the monitor has closed its side.
    while let Ok((report, _)) = wachter_packet::receive::<Report>(&begun.reports) {
        match report {
            Report::Ready => {}
            Report::Failed(fault) => return Err(fault.to_string()),
            Report::Ended { end: how, .. } => end = how,
        }
    }
    system::wait(begun.monitor.as_raw_nonzero().get(), true);
    let out_of_memory = group.usage().out_of_memory;
    match end {
        End::Code(0) => {
            read.and_then(|()| code.keep(module, compiled)).map_err(|error| error.to_string())
        }
        End::Timeout => Err(format!("that takes longer than {}; make it smaller", LIMITS.timeout)),
        End::Memory | End::Signal(libc::SIGKILL | libc::SIGABRT) if out_of_memory => {
            Err(format!("that takes more memory than {}; make it smaller", LIMITS.memory))
        }
        End::Code(_) if !words.0.is_empty() => Err(words.text()),
        end => Err(format!("the compiler ended before its time ({end:?})")),
    }
}

/// The first of what the compiler says.
#[derive(Default)]
struct Words(Vec<u8>);

impl Words {
    /// One line, as it may be printed: the compiler quotes names that the module chose.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let line = text.trim().replace('\n', "; ");
        line.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
    }
}

impl Write for Words {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = WORDS - self.0.len();
        self.0.extend(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads two pipes to their ends, or the first until what is read can no longer be written.
fn read_both(
    first: OwnedFd,
    second: OwnedFd,
    to_first: &mut impl Write,
    to_second: &mut impl Write,
) -> std::io::Result<()> {
    let (mut first, mut second) = (Some(first), Some(second));
    let mut buffer = vec![0; 64 << 10];
    while first.is_some() || second.is_some() {
        let mut polled: Vec<PollFd<'_>> =
            first.iter().chain(&second).map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
        let ready: Vec<bool> = polled.iter().map(|pipe| !pipe.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        if first.is_some() && ready.next() == Some(true) {
            pass_on(&mut first, &mut buffer, to_first)?;
        }
        if second.is_some() && ready.next() == Some(true) {
            pass_on(&mut second, &mut buffer, to_second)?;
        }
    }
    Ok(())
}

/// Passes on what is there, and closes a pipe that is at its end.
fn pass_on(
    pipe: &mut Option<OwnedFd>,
    buffer: &mut [u8],
    to: &mut impl Write,
) -> std::io::Result<()> {
    let Some(open) = pipe else { return Ok(()) };
    match rustix::io::read(open, &mut *buffer)? {
        0 => *pipe = None,
        read => to.write_all(&buffer[..read])?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pipes_are_read_and_words_are_one_line() {
        let (read_code, mut code) = std::io::pipe().unwrap();
        let (read_words, mut words) = std::io::pipe().unwrap();
        let writer = std::thread::spawn(move || {
            for _ in 0..100 {
                code.write_all(&[7; 5_000]).unwrap();
                words.write_all(b"bad \x1b[31m\nname\n").unwrap();
            }
        });
        let (mut found, mut said) = (Vec::new(), Words::default());
        read_both(read_code.into(), read_words.into(), &mut found, &mut said).unwrap();
        writer.join().unwrap();
        assert_eq!(found, vec![7; 500_000]);
        assert_eq!(said.0.len(), WORDS);
        assert!(said.text().starts_with("bad \u{fffd}[31m; name; bad"), "{}", said.text());
    }

    #[test]
    fn reading_ends_when_there_is_no_room() {
        let (read_code, mut code) = std::io::pipe().unwrap();
        let (read_words, words) = std::io::pipe().unwrap();
        code.write_all(&[7; 50]).unwrap();
        drop(words);
        let mut room = [0_u8; 10];
        let read = read_both(
            read_code.into(),
            read_words.into(),
            &mut room.as_mut_slice(),
            &mut Words::default(),
        );
        assert!(read.is_err());
        // And who writes is told.
        assert!(code.write_all(&[7; 50]).is_err());
    }
}
