use wachter_log_analyzer::{Model, Record};

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

fn record(message: &[u8]) -> Record<'_> {
    let (time, host, program, process) = (None, None, None, None);
    Record { source: "a.log", offset: 0, time, host, program, process, message }
}
