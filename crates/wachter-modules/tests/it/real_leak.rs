//! A real process that leaks as much as it is told to, seen through the real `/proc`. Only the clock is made:
//! each look is a minute after the one before, so that an hour takes seconds.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use wachter_module::host::{Memory, Process, Processes};
use wachter_module::protocol::HostView;
use wachter_module::protocol::module::{Message, parse_line};
use wachter_module::{Finding, Harness};
use wachter_sandbox::{HostRoot, sample};

use crate::modules;

/// Mebibytes, and files, that leak in each minute.
const MEBIBYTES: u64 = 3;
const FILES: u64 = 2;

/// How many files it may have open.
const MOST_FILES: u64 = 400;

/// What the host has left at the beginning, in minutes of this leak.
const MINUTES: u64 = 160;

const LOOKS: u64 = 130;

/// Leaks once for each line that it reads, and says when it has. The memory is written to: what is only
/// promised is not in use.
const PROGRAM: &str = r"
import resource, sys
mebibytes, files, most = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
kept = [open('/dev/null') for _ in range(64)]
print('ready', flush=True)
for line in sys.stdin:
    kept.append(b'x' * (mebibytes << 20))
    kept.extend([open('/dev/null') for _ in range(files)])
    print('leaked', flush=True)
";

struct Leaking {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Leaking {
    fn start() -> Self {
        let mut process = Command::new("python3")
            .args(["-c", PROGRAM])
            .args([MEBIBYTES, FILES, MOST_FILES].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut leaking = Self { process, stdin, stdout };
        assert_eq!(leaking.said(), "ready\n");
        leaking
    }

    fn leak(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
        assert_eq!(self.said(), "leaked\n");
    }

    fn said(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// As a node sees it now, and nothing else; as if it had been started an hour before the first look.
    fn look(&self, minute: u64) -> Processes {
        let views = sample(&BTreeSet::from([HostView::Processes]), &HostRoot::default());
        let mut view = views.get::<Processes>().unwrap();
        view.processes.retain(|process| process.pid == self.process.id());
        for process in &mut view.processes {
            // What group the tests run in, and with what limit, is no matter of this one.
            *process = Process {
                cgroup: None,
                unit: None,
                container: None,
                memory_limit_bytes: None,
                started_milliseconds: 1,
                ..process.clone()
            };
        }
        view.taken.uptime_milliseconds = (60 + minute) * 60_000;
        view.taken.unix_milliseconds = Some(1_800_000_000_000 + minute * 60_000);
        view
    }
}

impl Drop for Leaking {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a look said: findings, and forecasts by kind in minutes.
fn run(view: &Processes, available_bytes: u64, state: &mut Value) -> (Vec<Finding>, Value) {
    let taken = view.taken.clone();
    let memory = Memory { taken, total_bytes: 2 << 30, available_bytes, ..Memory::default() };
    let request = Harness::new().host(view).host(&memory).state(state.clone()).request_text();
    let output = modules(&["resource-monitor"], &request);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = Vec::new();
    let mut growing = Value::Null;
    for line in output.stdout.split(|byte| *byte == b'\n') {
        match parse_line(line).unwrap() {
            Some(Message::Finding(finding)) => found.push(finding),
            Some(Message::Result(result)) => {
                *state = result.state.unwrap();
                growing = result.output["growing"].clone();
            }
            _ => {}
        }
    }
    (found, growing)
}

#[test]
fn a_process_that_leaks_is_told_of_in_time() {
    let mut leaking = Leaking::start();
    let pid = leaking.process.id();
    let mut state = Value::Null;
    let mut told = Vec::new();
    let mut errors: [Vec<f64>; 2] = Default::default();
    for minute in 0..LOOKS {
        leaking.leak();
        let view = leaking.look(minute);
        assert_eq!(view.processes.len(), 1, "the process is seen");
        let left = MINUTES - minute;
        let (found, growing) = run(&view, (left * MEBIBYTES) << 20, &mut state);
        told.extend(found.into_iter().map(|finding| (minute, finding)));
        let open = u64::from(view.processes[0].descriptors.unwrap());
        let files_left = (MOST_FILES - open) / FILES;
        for (errors, (kind, left)) in
            errors.iter_mut().zip([("memory", left), ("descriptors", files_left)])
        {
            let forecast = &growing[format!("{kind}.leak:python3[{pid}]")]["full_in_days"];
            if let Some(days) = forecast.as_f64() {
                let left = f64::from(u32::try_from(left).unwrap());
                errors.push((days * 1_440.0 - left).abs() / left);
            }
        }
    }
    for (kind, errors) in ["memory", "descriptors"].iter().zip(&mut errors) {
        let finding =
            told.iter().find(|(_, finding)| finding.kind.as_str() == format!("{kind}.leak"));
        let (minute, finding) = finding.unwrap_or_else(|| panic!("no {kind}.leak: {told:?}"));
        errors.sort_by(f64::total_cmp);
        let (median, worst) = (errors[errors.len() / 2], errors[errors.len() - 1]);
        println!(
            "{kind}: told of after {minute} min; {} forecasts, error {:.1} % in the middle, {:.1} % at worst; {}",
            errors.len(),
            median * 100.0,
            worst * 100.0,
            finding.message
        );
        assert_eq!(finding.subject, format!("python3[{pid}]"));
        assert!(*minute < 90 && errors.len() > 40, "{kind}: {minute}, {}", errors.len());
        assert!(median < 0.03 && worst < 0.10, "{kind}: {median} {worst}");
    }
}
