use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::{Moment, Sockets, TcpCounters};

use super::alarms::{Alarms, Kind};
use super::input::Input;
use super::{Measured, Metric, float, per_second};

pub(super) const CLOSE_WAIT: Kind = Kind {
    topic: "sockets.close-wait",
    severity: Severity::Medium,
    what: "connections were closed by the other side and not by this host's programs",
};

pub(super) const OVERFLOW: Kind = Kind {
    topic: "sockets.overflow",
    severity: Severity::Medium,
    what: "connections a second are turned away, since programs do not accept them fast enough",
};

pub(super) const TRACKED_FULL: Kind = Kind {
    topic: "sockets.tracked-full",
    severity: Severity::High,
    what: "% of the connections that the packet filter can keep track of",
};

/// The counters of the last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Before {
    taken: Moment,
    counters: Option<TcpCounters>,
}

impl From<Sockets> for Before {
    fn from(view: Sockets) -> Self {
        Self { taken: view.taken, counters: view.counters }
    }
}

pub(super) fn measure(
    view: &Sockets,
    before: Option<&Before>,
    input: &Input,
    alarms: &mut Alarms<'_>,
) -> Measured {
    let mut metrics = Vec::new();
    let mut metric = |name, value, labels| metrics.push(Metric { name, value, labels });
    for (state, count) in &view.tcp {
        metric("tcp_sockets", float(*count), vec![("state", state.clone())]);
    }
    metric("udp_sockets", float(view.udp), vec![]);
    metric("unix_sockets", float(view.unix), vec![]);
    metric("listening_sockets", float(u64::try_from(view.listening.len()).unwrap_or(0)), vec![]);
    let waiting = view.tcp.get("close-wait").copied().unwrap_or(0);
    // Where not all were counted there may be more.
    if view.in_part && float(waiting) < input.close_wait.raise {
        alarms.unknown(CLOSE_WAIT, "tcp");
    } else {
        alarms.judge_lasting(CLOSE_WAIT, "tcp", float(waiting), input.close_wait, input.lasting());
    }
    let rates = before.and_then(|before| {
        let passed = view.taken.since(&before.taken)?;
        let (now, before) = (view.counters?, before.counters?);
        let overflows = per_second(now.listen_overflows, before.listen_overflows, passed)?;
        let sent = now.sent.checked_sub(before.sent)?;
        let again = now.retransmitted.checked_sub(before.retransmitted)?;
        Some((overflows, if sent == 0 { 0.0 } else { float(again) / float(sent) }))
    });
    match rates {
        Some((overflows, again)) => {
            metric("tcp_listen_overflows_per_second", overflows, vec![]);
            metric("tcp_retransmitted_ratio", again, vec![]);
            alarms.judge(OVERFLOW, "tcp", overflows, input.listen_overflows_per_second);
        }
        None => alarms.unknown(OVERFLOW, "tcp"),
    }
    if let Some(tracked) = view.tracked.filter(|tracked| tracked.most > 0) {
        let share = float(tracked.count) / float(tracked.most);
        metric("tracked_connections_ratio", share, vec![]);
        alarms.judge(TRACKED_FULL, "tracked", share * 100.0, input.tracked_connections_percent);
    }
    alarms.end_unseen(TRACKED_FULL);
    let listening: Vec<_> = view
        .listening
        .iter()
        .take(64)
        .map(|one| format!("{} {}:{}", one.protocol, one.address, one.port))
        .collect();
    let summary =
        json!({ "tcp": view.tcp, "udp": view.udp, "unix": view.unix, "listening": listening });
    Measured { summary, metrics }
}
