use wachter_protocol::module::host::{Fan, Sensors, Temperature};

use super::root::{HostRoot, Missing};

const FOLDER: &str = "sys/class/hwmon";

/// The most chips, and files of one chip, that are looked at. A server of storage has a chip for each disk.
const MAX_CHIPS: usize = 1_024;
const MAX_FILES: usize = 1_024;

/// The most readings in all. Each can cost milliseconds on a slow bus.
const MAX_READINGS: usize = 256;

/// Temperatures and fans. A virtual machine mostly has none.
pub(super) fn sample(root: &HostRoot, missing: &mut Missing<'_>) -> Option<Sensors> {
    let mut chips = missing.or_say(FOLDER, root.names(FOLDER, MAX_CHIPS))?;
    // By number: the same are left out each time.
    chips.sort_by_key(|chip| (chip.len(), chip.clone()));
    let mut sensors = Sensors::default();
    let mut left_out = 0_usize;
    for folder in chips.iter().map(|chip| format!("{FOLDER}/{chip}")) {
        let files = root.names(&folder, MAX_FILES).unwrap_or_default();
        let is_read = |sensor: &&str| sensor.starts_with("temp") || sensor.starts_with("fan");
        let sensors_of_chip = files.iter().filter_map(|file| file.strip_suffix("_input"));
        for sensor in sensors_of_chip.filter(is_read) {
            if sensors.temperatures.len() + sensors.fans.len() == MAX_READINGS {
                left_out += 1;
                continue;
            }
            read(root, &folder, sensor, &mut sensors);
        }
    }
    if left_out > 0 {
        missing.say(format_args!("{left_out} sensors are left out, {MAX_READINGS} are the most"));
    }
    sensors.left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
    Some(sensors)
}

/// One sensor, as the kernel's Documentation/hwmon/sysfs-interface.rst has it. One that cannot be
/// read has nothing plugged in, mostly.
fn read(root: &HostRoot, folder: &str, sensor: &str, sensors: &mut Sensors) {
    let text = |name: &str| {
        let text = root.read(&format!("{folder}/{name}")).ok()?;
        Some(text.trim().chars().take(64).collect::<String>())
    };
    let Some(input) = text(&format!("{sensor}_input")) else { return };
    let chip = text("name").unwrap_or_default();
    let device = std::fs::read_link(root.path(format!("{folder}/device"))).ok();
    let device = device.and_then(|device| {
        let name = device.file_name()?.to_str()?.chars().take(64).collect::<String>();
        // A link that ends in dots has no name.
        (!name.is_empty()).then_some(name)
    });
    let label = text(&format!("{sensor}_label"));
    let label = label.filter(|label| !label.is_empty()).unwrap_or_else(|| sensor.to_owned());
    if sensor.starts_with("temp")
        && let Some(celsius) = degrees(&input)
    {
        let critical_celsius = text(&format!("{sensor}_crit")).as_deref().and_then(degrees);
        sensors.temperatures.push(Temperature { chip, device, label, celsius, critical_celsius });
    } else if sensor.starts_with("fan")
        && let Ok(revolutions_per_minute) = input.parse()
    {
        sensors.fans.push(Fan { chip, device, label, revolutions_per_minute });
    }
}

/// Thousandths of a degree, as a whole number.
fn degrees(text: &str) -> Option<f64> {
    Some(f64::from(text.parse::<i32>().ok()?) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wachter_protocol::HostView;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(FOLDER).join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn chips_are_read() {
        let folder = host(&[
            ("hwmon0/name", "coretemp\n"),
            ("hwmon0/temp1_input", "45500\n"),
            ("hwmon0/temp1_label", "Package id 0\n"),
            ("hwmon0/temp1_crit", "100000\n"),
            ("hwmon0/temp2_input", "cold\n"),
            ("hwmon1/name", "board\n"),
            ("hwmon1/temp1_input", "-5000\n"),
            ("hwmon1/fan1_input", "1200\n"),
            ("hwmon1/in0_input", "3300\n"),
        ]);
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let sensors = sample(&root, &mut Missing::of(HostView::Sensors, &mut missing)).unwrap();
        let temperature = |chip: &str, label: &str, celsius, critical_celsius| Temperature {
            chip: chip.into(),
            device: None,
            label: label.into(),
            celsius,
            critical_celsius,
        };
        assert_eq!(
            sensors.temperatures,
            [
                temperature("coretemp", "Package id 0", 45.5, Some(100.0)),
                temperature("board", "temp1", -5.0, None)
            ]
        );
        let fan = Fan {
            chip: "board".into(),
            label: "fan1".into(),
            revolutions_per_minute: 1_200,
            ..Fan::default()
        };
        assert_eq!(sensors.fans, [fan]);
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn chips_of_one_name_have_devices() {
        let names: Vec<_> = (0..80).map(|number| format!("hwmon{number}/temp1_input")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), "1000")).collect();
        let folder = host(&files);
        for number in 1..80 {
            let link = folder.path().join(FOLDER).join(format!("hwmon{number}/device"));
            std::os::unix::fs::symlink(format!("../../nvme{number}"), link).unwrap();
        }
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let sensors = sample(&root, &mut Missing::of(HostView::Sensors, &mut missing)).unwrap();
        let devices: Vec<_> =
            sensors.temperatures.iter().map(|sensor| sensor.device.as_deref()).collect();
        assert_eq!(devices.len(), 80);
        assert_eq!((devices[0], devices[2], devices[79]), (None, Some("nvme2"), Some("nvme79")));
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn too_many_sensors_are_counted() {
        let names: Vec<_> = (0..300).map(|number| format!("hwmon0/temp{number}_input")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), "1000")).collect();
        let folder = host(&files);
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let sensors = sample(&root, &mut Missing::of(HostView::Sensors, &mut missing)).unwrap();
        assert_eq!((sensors.temperatures.len(), sensors.left_out), (MAX_READINGS, 44));
        assert!(missing[0].contains("44 sensors are left out"), "{missing:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_temperature_or_none(text: String) {
            let _ = degrees(&text);
        }
    }
}
