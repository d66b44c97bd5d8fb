use jiff::Timestamp;
use jiff::fmt::strtime;
use wachter_log_analyzer::{Anomaly, Model, Record};

use wachter_testkit::fixture;

use crate::loghub::{SETS, grouping_accuracy, read};

/// What Drain3 0.9.11 reaches on these four sets with masks made for each; `cargo bench --bench templates` runs it.
const DRAIN3_WITH_MASKS: f64 = 0.869;

#[test]
fn four_kinds_of_logs_are_grouped_as_people_do_with_one_configuration() {
    let mut accuracies = Vec::new();
    for set in SETS {
        let Some(lines) = read(set) else { return };
        let mut model = Model::default();
        lines.iter().for_each(|line| model.observe(&record(&line.content)));
        let groups: Vec<String> =
            lines.iter().map(|line| model.find(&record(&line.content)).unwrap().text).collect();
        let accuracy = grouping_accuracy(&groups, &lines);
        println!("{set}: {accuracy:.4}");
        accuracies.push(accuracy);
    }
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    println!("mean: {mean:.4}");
    assert!(mean > DRAIN3_WITH_MASKS + 0.1, "{mean} {accuracies:?}");
    assert!(accuracies.iter().all(|accuracy| *accuracy > 0.93), "{accuracies:?}");
}

/// Four days of a public web server, where nobody put a fault: what is told has to be little, and to be true.
#[test]
fn little_is_told_of_a_real_web_server() {
    let Some(path) = fixture("logs/elastic-apache/apache_logs") else { return };
    let text = std::fs::read(path).unwrap();
    let mut model = Model::default();
    let mut hour = 0;
    let mut anomalies: Vec<Anomaly> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let Some((address, (time, request))) =
            line.split_once('[').and_then(|(address, rest)| Some((address, rest.split_once(']')?)))
        else {
            continue;
        };
        let time = strtime::parse("%d/%b/%Y:%H:%M:%S %z", time).unwrap().to_timestamp().unwrap();
        let message = format!("{address}{request}");
        let now = time.as_second() / 3600;
        if now > hour {
            anomalies.extend(model.conclude(Timestamp::from_second(now * 3600).unwrap()));
            hour = now;
        }
        model.observe(&Record { time: Some(time), ..record(message.as_bytes()) });
    }
    for anomaly in &anomalies {
        println!("{:.2} {}", anomaly.score, anomaly.message);
    }
    assert_eq!(model.progress().records, 10_000);
    assert!(anomalies.len() <= 20, "{}", anomalies.len());
    // A crawler took a file of 12 MB where pages have some kilobytes.
    let large = |anomaly: &Anomaly| anomaly.message.contains("wrote \"12241812\" as word 8");
    assert!(anomalies.iter().any(large));
}

fn record(message: &[u8]) -> Record<'_> {
    let (time, host, program, process) = (None, None, None, None);
    Record { source: "a.log", offset: 0, time, host, program, process, message }
}
