use std::collections::BTreeMap;

use crate::evaluation::evaluate;

#[test]
fn faults_are_told_and_little_else() {
    let began = std::time::Instant::now();
    let seed = std::env::var("SEED").map_or(1, |s| s.parse().unwrap());
    let evaluation = evaluate(seed, 4, 8);
    println!("{:?}", evaluation.faults.iter().filter(|f| f.1 < 0.5).collect::<Vec<_>>());
    println!("{} lines, {:?}", evaluation.lines, began.elapsed());
    let (precision, recall) = evaluation.precision_and_recall(0.5);
    let mut kinds: BTreeMap<_, (u32, u32)> = BTreeMap::new();
    for (kind, score) in &evaluation.faults {
        let kind = kinds.entry(kind).or_default();
        kind.0 += 1;
        kind.1 += u32::from(*score >= 0.5);
    }
    println!("precision {precision:.3} recall {recall:.3}; {kinds:?}; {:?}", evaluation.rates(0.5));
    for (kind, score, right, message) in &evaluation.alarms {
        if *score >= 0.5 {
            println!("{} {kind:?} {score:.2} {message}", if *right { "right" } else { "WRONG" });
        }
    }
    for fault in &evaluation.faults {
        println!("{fault:?}");
    }
    assert!(precision >= 0.9 && recall >= 0.9, "{precision} {recall}");
}
