use serde::{Deserialize, Serialize};
use wachter_model::{ByteSize, CpuShare, Duration};

/// The limits that a manifest asks for, or that an owner sets as the most. Each may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitsAsked {
    /// Wall-clock time of one run; 10m where left out.
    pub timeout: Option<Duration>,
    /// Memory of the whole run; 256MiB where left out.
    pub memory: Option<ByteSize>,
    /// Processor time; one core where left out.
    pub cpu: Option<CpuShare>,
    /// Processes and threads at one time; 64 where left out.
    pub processes: Option<u32>,
    /// What stdout and stderr may bring together; 16MiB where left out.
    pub output: Option<ByteSize>,
    /// What `/tmp` may hold, and by how much all granted folders together may grow; 64MiB where
    /// left out.
    pub disk: Option<ByteSize>,
}

/// The limits of one run, all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Wall-clock time.
    pub timeout: Duration,
    /// Memory of all processes together.
    pub memory: ByteSize,
    /// Processor time.
    pub cpu: CpuShare,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Bytes of stdout and stderr together.
    pub output: ByteSize,
    /// Bytes of `/tmp`, and of growth in granted folders.
    pub disk: ByteSize,
}

impl Limits {
    /// What a run gets when its manifest asks for nothing.
    pub const DEFAULT: Self = Self {
        timeout: Duration::from_secs(600),
        memory: ByteSize::from_mib(256),
        cpu: CpuShare::from_millicores(1_000),
        processes: 64,
        output: ByteSize::from_mib(16),
        disk: ByteSize::from_mib(64),
    };

    /// What a manifest may ask for when the owner of the host says nothing.
    pub const DEFAULT_MOST: Self = Self {
        timeout: Duration::from_secs(3_600),
        memory: ByteSize::from_mib(1_024),
        cpu: CpuShare::from_millicores(1_000),
        processes: 256,
        output: ByteSize::from_mib(64),
        disk: ByteSize::from_mib(1_024),
    };

    /// Fills what `asked` leaves out with `self`.
    #[must_use]
    pub fn filled(&self, asked: &LimitsAsked) -> Self {
        Self {
            timeout: asked.timeout.unwrap_or(self.timeout),
            memory: asked.memory.unwrap_or(self.memory),
            cpu: asked.cpu.unwrap_or(self.cpu),
            processes: asked.processes.unwrap_or(self.processes),
            output: asked.output.unwrap_or(self.output),
            disk: asked.disk.unwrap_or(self.disk),
        }
    }

    /// The names and values that exceed `most`: (name, asked, most).
    pub(crate) fn beyond(&self, most: &Self) -> Vec<(&'static str, String, String)> {
        let mut beyond = Vec::new();
        let mut check = |name, over: bool, asked: &dyn ToString, most: &dyn ToString| {
            if over {
                beyond.push((name, asked.to_string(), most.to_string()));
            }
        };
        check("timeout", self.timeout > most.timeout, &self.timeout, &most.timeout);
        check("memory", self.memory > most.memory, &self.memory, &most.memory);
        check("cpu", self.cpu > most.cpu, &self.cpu, &most.cpu);
        check("processes", self.processes > most.processes, &self.processes, &most.processes);
        check("output", self.output > most.output, &self.output, &most.output);
        check("disk", self.disk > most.disk, &self.disk, &most.disk);
        beyond
    }
}
