//! Who uses the most of each resource.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::groups::Sum;
use super::processes::Consumer;
use crate::rates::float;

/// A resource: its key in the output, the unit of its amounts, and what its metric ends with.
struct Resource {
    key: &'static str,
    unit: &'static str,
    metric: &'static str,
    of: fn(&Use) -> Option<f64>,
}

const RESOURCES: [Resource; 4] = [
    Resource { key: "cpu", unit: "cores", metric: "cpu_cores", of: |used| used.cores },
    Resource { key: "memory", unit: "bytes", metric: "memory_bytes", of: |used| Some(used.memory) },
    Resource {
        key: "io",
        unit: "bytes_per_second",
        metric: "io_bytes_per_second",
        of: |used| used.transferred,
    },
    Resource {
        key: "descriptors",
        unit: "open",
        metric: "descriptors",
        of: |used| used.descriptors,
    },
];

/// What something uses of each resource.
pub(super) struct Use {
    cores: Option<f64>,
    memory: f64,
    transferred: Option<f64>,
    descriptors: Option<f64>,
}

impl From<&Consumer<'_>> for Use {
    fn from(consumer: &Consumer<'_>) -> Self {
        Self {
            cores: consumer.cores,
            memory: float(consumer.memory),
            transferred: consumer.transferred,
            descriptors: consumer.process.descriptors.map(f64::from),
        }
    }
}

impl From<&Sum<'_>> for Use {
    fn from(sum: &Sum<'_>) -> Self {
        Self {
            cores: sum.cores,
            memory: float(sum.memory),
            transferred: sum.transferred,
            descriptors: sum.descriptors.map(float),
        }
    }
}

/// The processes that use the most, as a table for people.
pub(super) fn processes(consumers: &[Consumer<'_>], count: usize) -> Value {
    let rows: Vec<(Use, &Consumer<'_>)> =
        consumers.iter().map(|consumer| (Use::from(consumer), consumer)).collect();
    table(&rows, count, |consumer| {
        json!({
            "pid": consumer.process.pid,
            "name": consumer.process.name,
            "group": consumer.group,
        })
    })
}

/// The sums that are the greatest, as a table for people.
pub(super) fn sums(sums: &BTreeMap<String, Sum<'_>>, count: usize) -> Value {
    let rows: Vec<(Use, (&String, &Sum<'_>))> =
        sums.iter().map(|(name, sum)| (Use::from(sum), (name, sum))).collect();
    table(&rows, count, |(name, sum)| json!({ "name": name, "processes": sum.processes }))
}

fn table<T>(rows: &[(Use, T)], count: usize, describe: impl Fn(&T) -> Value) -> Value {
    let mut table = Map::new();
    for Resource { key, unit, of, .. } in &RESOURCES {
        let rows: Vec<Value> = greatest(rows, count, *of)
            .into_iter()
            .map(|(amount, row)| {
                let mut described = describe(row);
                described[*unit] = json!(amount);
                described
            })
            .collect();
        table.insert((*key).to_owned(), Value::Array(rows));
    }
    Value::Object(table)
}

/// Names of metrics without their beginning, whose they are, and values: of each resource the greatest.
pub(super) fn metrics<'a>(
    sums: &'a BTreeMap<String, Sum<'_>>,
    count: usize,
) -> Vec<(&'static str, &'a str, f64)> {
    let rows: Vec<(Use, &str)> =
        sums.iter().map(|(name, sum)| (Use::from(sum), name.as_str())).collect();
    let mut metrics = Vec::new();
    for Resource { metric, of, .. } in &RESOURCES {
        for (amount, name) in greatest(&rows, count, *of) {
            metrics.push((*metric, *name, amount));
        }
    }
    metrics
}

/// The greatest first; what uses nothing is not among them.
fn greatest<T>(rows: &[(Use, T)], count: usize, of: fn(&Use) -> Option<f64>) -> Vec<(f64, &T)> {
    let mut amounts: Vec<(f64, &T)> = rows
        .iter()
        .filter_map(|(used, row)| Some((of(used)?, row)))
        .filter(|(amount, _)| *amount > 0.0)
        .collect();
    amounts.sort_by(|one, other| other.0.total_cmp(&one.0));
    amounts.truncate(count);
    amounts
}
