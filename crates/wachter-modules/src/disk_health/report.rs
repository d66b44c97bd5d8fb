use serde::Deserialize;

/// What `smartctl --json --all` says of a disk, as far as it is of use. What a disk has not is left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    smartctl: Smartctl,
    device: Device,
    model_name: Option<String>,
    serial_number: Option<String>,
    local_time: LocalTime,
    smart_status: Option<Status>,
    temperature: Option<Current>,
    power_on_time: Option<PowerOn>,
    nvme_smart_health_information_log: Option<Nvme>,
    ata_smart_attributes: Option<Attributes>,
    scsi_grown_defect_list: Option<u64>,
    /// Since smartmontools 7.4.
    endurance_used: Option<CurrentPercent>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Smartctl {
    exit_status: u32,
    messages: Vec<Words>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Words {
    string: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Device {
    name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LocalTime {
    time_t: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    passed: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Current {
    current: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct CurrentPercent {
    current_percent: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PowerOn {
    hours: Option<u64>,
}

/// Log page 2 of the NVM Express base specification.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Nvme {
    critical_warning: u64,
    percentage_used: Option<f64>,
    media_errors: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Attributes {
    table: Vec<Attribute>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Attribute {
    id: u32,
    raw: Raw,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    value: u64,
}

/// Attributes that all makers number and count alike.
const REALLOCATED: u32 = 5;
const PENDING: u32 = 197;
const UNCORRECTABLE: u32 = 198;

/// The bits of the exit status that say that the disk was not asked (smartctl(8)): bad arguments, it cannot
/// be opened.
const NOT_ASKED: u32 = 0b011;

/// The bit that says that a command failed, or that something it answered has a wrong checksum. A disk that
/// fails is likely to do so, and the rest of its report counts.
const NOT_ALL_ANSWERED: u32 = 0b100;

/// What a report says about a disk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Health {
    /// As in `sda`, or the report's file.
    pub(super) device: String,
    /// What stays the same when disks change places: model and serial number.
    pub(super) identity: String,
    /// When it was asked, in seconds since 1970.
    pub(super) asked: Option<i64>,
    /// Its own verdict.
    pub(super) passed: Option<bool>,
    /// A command failed, and its verdict or its counters are not in the report.
    pub(super) in_part: bool,
    /// The bits of an NVMe disk's critical warning, in words.
    pub(super) warnings: Vec<&'static str>,
    /// Sectors that were replaced by spare ones.
    pub(super) reallocated: u64,
    /// Sectors that cannot be read, and blocks that are lost.
    pub(super) unreadable: u64,
    /// How much of its life is used up, in percent. It may be more than 100.
    pub(super) worn_percent: Option<f64>,
    pub(super) celsius: Option<f64>,
    pub(super) hours: Option<u64>,
}

/// The meaning of the bits of an NVMe disk's critical warning.
const WARNINGS: [&str; 6] = [
    "its spare space runs out",
    "its temperature is out of range",
    "its reliability is degraded",
    "it can only be read",
    "its volatile memory has lost its backup",
    "its persistent memory can only be read",
];

impl Health {
    /// Reads a report, whose file has a name.
    ///
    /// # Errors
    /// Why it says nothing about a disk.
    pub(super) fn read(bytes: &[u8], file: &str) -> Result<Self, String> {
        let report: Report = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is no report of `smartctl --json --all`: {error}"))?;
        if report.smartctl.exit_status & NOT_ASKED != 0 {
            let words: Vec<_> =
                report.smartctl.messages.iter().map(|words| plain(&words.string)).take(3).collect();
            return Err(format!("smartctl could not ask the disk: {}", words.join("; ")));
        }
        let nvme = report.nvme_smart_health_information_log;
        if report.smart_status.is_none() && nvme.is_none() && report.ata_smart_attributes.is_none()
        {
            return Err("it says nothing of the health of a disk".to_owned());
        }
        let attribute = |id: u32| {
            let table =
                report.ata_smart_attributes.as_ref().map(|attributes| &attributes.table[..]);
            let found = table.unwrap_or_default().iter().find(|attribute| attribute.id == id);
            // The lower half is the count; some makers keep more above it.
            found.map_or(0, |attribute| attribute.raw.value & 0xffff_ffff)
        };
        let counted = nvme.is_some()
            || report.ata_smart_attributes.is_some()
            || report.scsi_grown_defect_list.is_some();
        let in_part = report.smartctl.exit_status & NOT_ALL_ANSWERED != 0
            && (report.smart_status.is_none() || !counted);
        let warning = nvme.as_ref().map_or(0, |nvme| nvme.critical_warning);
        let warnings = WARNINGS.iter().enumerate().filter(|(bit, _)| warning >> bit & 1 == 1);
        let device = report.device.name.as_deref().unwrap_or(file);
        let device = plain(device.strip_prefix("/dev/").unwrap_or(device));
        let parts = [report.model_name.as_deref(), report.serial_number.as_deref()];
        let identity = parts.into_iter().flatten().map(plain).collect::<Vec<_>>().join(" ");
        Ok(Self {
            identity: if report.serial_number.is_some() { identity } else { device.clone() },
            device,
            asked: report.local_time.time_t,
            passed: report.smart_status.map(|status| status.passed),
            in_part,
            warnings: warnings.map(|(_, words)| *words).collect(),
            reallocated: attribute(REALLOCATED)
                .saturating_add(report.scsi_grown_defect_list.unwrap_or(0)),
            unreadable: attribute(PENDING)
                .saturating_add(attribute(UNCORRECTABLE))
                .saturating_add(nvme.as_ref().map_or(0, |nvme| nvme.media_errors)),
            worn_percent: nvme
                .and_then(|nvme| nvme.percentage_used)
                .or(report.endurance_used.map(|endurance| endurance.current_percent)),
            celsius: report.temperature.map(|temperature| temperature.current),
            hours: report.power_on_time.and_then(|time| time.hours),
        })
    }
}

/// What goes into a sentence: the maker of the disk chose it.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(96)
        .collect::<String>()
        .trim()
        .to_owned()
}
