use serde_json::Value as Json;
use wachter_expression::Expression;

use crate::environment;
use crate::language::Sample;

/// Lines of the blocks ```` ```cel ```` have the form `expression  // → value`, where the value is JSON or
/// `error`, or `refused`.
#[test]
fn the_examples_hold() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/expressions.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (mut inside, mut count) = (false, 0);
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```cel";
            continue;
        }
        if !inside || line.trim().is_empty() {
            continue;
        }
        let (text, expected) =
            line.split_once("// → ").unwrap_or_else(|| panic!("no result beside it: {line}"));
        count += 1;
        let expression = Expression::compile(text.trim(), &environment());
        let found = expression.as_ref().map(|expression| {
            expression.evaluate(&Sample::new()).map(|value| value.to_json().unwrap())
        });
        match (found, expected) {
            (Err(_), "refused") | (Ok(Err(_)), "error") => {}
            (Ok(Ok(found)), _) => {
                let expected: Json = serde_json::from_str(expected)
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(found, expected, "{line}");
            }
            (found, _) => panic!("{line}: {found:?}"),
        }
    }
    assert!(count > 20, "the page has examples");
}
