use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::Memory;

use super::alarms::{Alarms, Kind};
use super::input::Input;
use super::{Measured, Metric, float};

pub(super) const MEMORY_LOW: Kind =
    Kind { topic: "memory.low", severity: Severity::High, what: "% of the memory is in use" };

pub(super) fn measure(view: &Memory, input: &Input, alarms: &mut Alarms<'_>) -> Measured {
    let used = view.total_bytes.saturating_sub(view.available_bytes);
    let used_percent = if view.total_bytes == 0 {
        alarms.unknown(MEMORY_LOW, "memory");
        None
    } else {
        let percent = float(used) / float(view.total_bytes) * 100.0;
        alarms.judge(MEMORY_LOW, "memory", percent, input.memory_used_percent);
        Some(percent)
    };
    let mut metrics: Vec<_> = [
        ("memory_total_bytes", view.total_bytes),
        ("memory_available_bytes", view.available_bytes),
        ("swap_total_bytes", view.swap_total_bytes),
        ("swap_free_bytes", view.swap_free_bytes),
    ]
    .map(|(name, bytes)| Metric { name, value: float(bytes), labels: vec![] })
    .into();
    if let Some(pressure) = view.pressure {
        let value = pressure.some_percent / 100.0;
        metrics.push(Metric { name: "memory_waiting_ratio", value, labels: vec![] });
    }
    let summary = json!({
        "used_percent": used_percent,
        "available_bytes": view.available_bytes,
        "swap_used_bytes": view.swap_total_bytes.saturating_sub(view.swap_free_bytes),
    });
    Measured { summary, metrics }
}
