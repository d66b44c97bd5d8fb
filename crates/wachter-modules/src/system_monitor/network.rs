use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use wachter_module::Severity;
use wachter_module::host::{Interface, Moment, Network, Traffic};

use super::alarms::{Alarms, Kind};
use super::input::Input;
use super::{Measured, Metric, per_second};
use crate::views::PATIENCE;

pub(super) const NETWORK_ERRORS: Kind = Kind {
    topic: "network.errors",
    severity: Severity::Medium,
    what: "packets a second are damaged or lost",
};

/// The counters of the last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Before {
    taken: Moment,
    interfaces: BTreeMap<String, (Traffic, Traffic)>,
}

impl From<Network> for Before {
    fn from(view: Network) -> Self {
        let counters =
            |interface: Interface| (interface.name, (interface.received, interface.sent));
        let interfaces = view.interfaces.into_iter().map(counters).collect();
        Self { taken: view.taken, interfaces }
    }
}

pub(super) fn measure(
    view: &Network,
    before: Option<&Before>,
    input: &Input,
    alarms: &mut Alarms<'_>,
) -> Measured {
    let mut metrics = Vec::new();
    let mut summary = Map::new();
    for interface in &view.interfaces {
        let Some(rates) = before.and_then(|before| rates(view, interface, before)) else {
            alarms.unknown(NETWORK_ERRORS, &interface.name);
            continue;
        };
        for (name, value) in [
            ("network_received_bytes_per_second", rates.received),
            ("network_sent_bytes_per_second", rates.sent),
            ("network_errors_per_second", rates.errors),
        ] {
            let labels = vec![("interface", interface.name.clone())];
            metrics.push(Metric { name, value, labels });
        }
        alarms.judge(
            NETWORK_ERRORS,
            &interface.name,
            rates.errors,
            input.network_errors_per_second,
        );
        summary.insert(
            interface.name.clone(),
            json!({
                "received_bytes_per_second": rates.received,
                "sent_bytes_per_second": rates.sent,
            }),
        );
    }
    alarms.end_unseen_but(NETWORK_ERRORS, PATIENCE, |_| view.left_out > 0);
    Measured { summary: summary.into(), metrics }
}

struct Rates {
    received: f64,
    sent: f64,
    errors: f64,
}

/// What passed in each second since the last run; none across a boot, for a new interface, and for
/// one that was made anew under its old name.
fn rates(view: &Network, interface: &Interface, before: &Before) -> Option<Rates> {
    let passed = view.taken.since(&before.taken)?;
    let (received, sent) = before.interfaces.get(&interface.name)?;
    let lost = |received: &Traffic, sent: &Traffic| {
        [received.errors, received.dropped, sent.errors, sent.dropped]
            .into_iter()
            .fold(0, u64::saturating_add)
    };
    Some(Rates {
        received: per_second(interface.received.bytes, received.bytes, passed)?,
        sent: per_second(interface.sent.bytes, sent.bytes, passed)?,
        errors: per_second(
            lost(&interface.received, &interface.sent),
            lost(received, sent),
            passed,
        )?,
    })
}
