use std::fmt::Write as _;
use std::path::Path;

use crate::evaluation::{Evaluation, evaluate};

/// Logs that no threshold was chosen by: those have lower seeds.
const SEEDS: [u64; 3] = [1_001, 1_002, 1_003];

fn evaluated() -> Evaluation {
    let mut all = Evaluation::default();
    SEEDS.into_iter().for_each(|seed| all.add(evaluate(seed, 4, 8)));
    all
}

/// The page's drawing of how many faults are told, and how much else. `WACHTER_UPDATE` writes it.
#[test]
fn faults_are_told_and_little_else_and_the_drawing_is_current() {
    let evaluation = evaluated();
    let (precision, recall) = evaluation.precision_and_recall(0.5);
    println!("precision {precision:.3}, recall {recall:.3}");
    assert!(precision >= 0.85 && recall >= 0.9, "{precision} {recall}");
    let drawing = drawing(&evaluation);
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/images/log-anomalies-roc.svg");
    if std::env::var_os("WACHTER_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &drawing).unwrap();
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(current == drawing, "{} is stale; run cargo xtask generate", path.display());
}

/// A receiver operating characteristic, with what is told wrongly on a logarithmic axis.
fn drawing(evaluation: &Evaluation) -> String {
    const LEFT: f64 = 70.0;
    const WIDTH: f64 = 480.0;
    const TOP: f64 = 20.0;
    const HEIGHT: f64 = 300.0;
    /// The least share that the axis shows, as a power of ten.
    const LEAST: f64 = -5.0;
    let x = |share: f64| LEFT + WIDTH * (1.0 - share.max(1e-5).log10() / LEAST);
    let y = |share: f64| TOP + HEIGHT * (1.0 - share);
    let mut text = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 580 390\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Faults told against hours of templates told wrongly</title>\n\
         <rect width=\"580\" height=\"390\" fill=\"#ffffff\"/>\n",
    );
    let mut put = |line: String| writeln!(text, "{line}").unwrap();
    for power in -5..=0 {
        let at = x(10_f64.powi(power));
        put(format!(r##"<path d="M{at:.1} {TOP}V{:.1}" stroke="#dddddd"/>"##, TOP + HEIGHT));
        let share = match power {
            -5 => "0.001 %",
            -4 => "0.01 %",
            -3 => "0.1 %",
            -2 => "1 %",
            -1 => "10 %",
            _ => "100 %",
        };
        put(format!(
            r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{share}</text>"#,
            TOP + HEIGHT + 18.0
        ));
    }
    for tenth in (0..=10).step_by(2) {
        let at = y(f64::from(tenth) / 10.0);
        put(format!(r##"<path d="M{LEFT} {at:.1}h{WIDTH}" stroke="#dddddd"/>"##));
        put(format!(
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{} %</text>"#,
            LEFT - 8.0,
            at + 4.0,
            tenth * 10
        ));
    }
    let points: Vec<String> = (0..=200)
        .rev()
        .map(|step| {
            let (told, wrong) = evaluation.rates(step as f32 / 200.0 + 1e-4);
            format!("{:.1},{:.1}", x(wrong), y(told))
        })
        .collect();
    put(format!(
        r##"<polyline points="{}" fill="none" stroke="#1f5fa8" stroke-width="2"/>"##,
        points.join(" ")
    ));
    let (told, wrong) = evaluation.rates(0.5);
    put(format!(r##"<circle cx="{:.1}" cy="{:.1}" r="5" fill="#c0392b"/>"##, x(wrong), y(told)));
    put(format!(
        r#"<text x="{:.1}" y="{:.1}">score 0.5: what is told by default</text>"#,
        x(wrong) + 12.0,
        y(told) + 22.0
    ));
    put(format!(
        r#"<text x="{:.1}" y="380" text-anchor="middle">hours of templates told wrongly</text>"#,
        LEFT + WIDTH / 2.0
    ));
    put(format!(
        r#"<text x="16" y="{:.1}" text-anchor="middle" transform="rotate(-90 16 {:.1})">faults told</text>"#,
        TOP + HEIGHT / 2.0,
        TOP + HEIGHT / 2.0
    ));
    text + "</svg>\n"
}
